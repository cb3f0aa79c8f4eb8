//! How much address space there is to reserve.
//!
//! An instance's memory reserves 4 GiB of addresses, whatever it uses. Stock 64-bit kernels of a
//! Raspberry Pi 3 and 4 give a process 2^39 bytes, room for about a hundred; x86 gives 2^47.

use rustix::process::{Resource, getrlimit};

/// Share of the address space that instance pools may reserve, in percent. The rest is for stacks,
/// code, modules and the allocator.
const POOL_SHARE_PERCENT: u64 = 80;

/// What the process may reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AddressSpace {
    /// Bits of a user address on this kernel.
    pub(crate) bits: u32,
    /// Bytes that may be mapped in all: the kernel's limit, or `RLIMIT_AS` where that is lower.
    pub(crate) bytes: u64,
}

impl AddressSpace {
    /// Reads the kernel's and the process's limit.
    pub(crate) fn probe() -> Self {
        // The stack lies at the top of the user's addresses, so its address tells their width.
        let on_stack = 0u8;
        let bits = usize::BITS - (std::ptr::from_ref(&on_stack) as usize).leading_zeros();
        let kernel = 1u64 << bits.min(63);
        let bytes = getrlimit(Resource::As).current.map_or(kernel, |limit| limit.min(kernel));
        Self { bits, bytes }
    }

    /// How many slots of `slot_bytes` fit beside everything else.
    pub(crate) fn slots(self, slot_bytes: u64) -> u32 {
        let share = self.bytes / 100 * POOL_SHARE_PERCENT;
        u32::try_from(share / slot_bytes.max(1)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stock_pi_kernel_has_room_for_a_hundred_slots() {
        let pi = AddressSpace { bits: 39, bytes: 1 << 39 };
        let slots = pi.slots((4 << 30) + (32 << 20));
        assert!((90..=126).contains(&slots), "{slots}");
    }

    #[test]
    fn the_probe_finds_a_plausible_width() {
        let here = AddressSpace::probe();
        assert!((32..=57).contains(&here.bits), "{here:?}");
        assert!(here.bytes <= 1 << here.bits);
    }
}
