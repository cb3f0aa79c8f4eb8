//! The one engine of the process: sized to the machine, and said aloud.

use std::hash::{Hash, Hasher};

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::address_space::AddressSpace;
use crate::config::HostConfig;
use crate::error::HostError;
use crate::memory_budget::{MemoryBudget, RESIDENT_SHARE_PERCENT};

/// Addresses that one memory reserves, so that the compiler can leave bounds checks to the kernel.
const MEMORY_RESERVATION_BYTES: u64 = 4 << 30;
/// Unmapped addresses behind each memory, for accesses with a static offset.
const MEMORY_GUARD_BYTES: u64 = 32 << 20;
/// Stack of a guest's own frames.
const WASM_STACK_BYTES: usize = 512 << 10;
/// Stack of the fiber that a guest and its host calls run on.
const FIBER_STACK_BYTES: usize = 1 << 20;
/// Tables that a slot has room for.
const TABLES_PER_SLOT: u32 = 2;
/// Table elements kept resident between invocations, in bytes for each table.
const TABLE_RESIDENT_BYTES: usize = 8 << 10;
/// Components may have several core instances and memories; commands have one.
const CORE_INSTANCES_PER_SLOT: u32 = 4;
/// Addresses behind a memory that is allocated on demand, in which it grows without being moved.
const GROWTH_RESERVATION_BYTES: u64 = 1 << 20;
/// Fewest slots worth having; below that the pool gives way to allocation on demand.
const MIN_SLOTS: u32 = 4;

/// The word of [`EngineInfo::allocator`] for an engine with a pool.
const POOLING: &str = "pooling";

/// What the engine settled on; in `/system/info` and logged at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// `pooling`, or `on-demand` where not even a small pool fits.
    pub allocator: &'static str,
    /// Most instances at once.
    pub slots: u32,
    /// Instances that were asked for.
    pub slots_wanted: u32,
    /// Addresses that one memory reserves, in bytes.
    pub memory_reservation_bytes: u64,
    /// Memory of a slot that stays resident between invocations, in bytes.
    pub keep_resident_bytes: u64,
    /// Bits of a user address on this kernel.
    pub address_bits: u32,
    /// Whether only dirty pages are reset.
    pub pagemap_scan: bool,
    /// Why the engine is smaller than asked for, when it is.
    pub reason: Option<String>,
}

impl EngineInfo {
    /// Whether its slots are reserved beforehand.
    pub(crate) fn is_pooled(&self) -> bool {
        self.allocator == POOLING
    }
}

/// How many slots a pool is to have, and why they are fewer than was asked for.
fn pool_size(config: &HostConfig, space: AddressSpace, memory: MemoryBudget) -> (u32, Option<String>) {
    let resident =
        config.keep_resident_bytes as u64 + u64::from(TABLES_PER_SLOT) * TABLE_RESIDENT_BYTES as u64;
    let addressable = space.slots(MEMORY_RESERVATION_BYTES + MEMORY_GUARD_BYTES);
    let kept = memory.slots(resident);
    let slots = config.pool_slots.min(addressable).min(kept).max(1);
    let reason = match slots < config.pool_slots {
        false => None,
        true if kept < addressable => Some(format!(
            "slots keep {} KiB each, and {RESIDENT_SHARE_PERCENT}% of {} MiB of memory hold no more than {slots}",
            resident >> 10,
            memory.bytes >> 20
        )),
        true => Some(format!("{} GiB of address space hold no more than {slots} slots", space.bytes >> 30)),
    };
    (slots, reason)
}

/// Makes the engine. Never fails for want of address space: sizes the pool down, then does without.
pub(crate) fn build(config: &HostConfig) -> Result<(Engine, EngineInfo), HostError> {
    if config.pagemap_scan && swap_is_on() {
        return Err(HostError::SwapIsOn);
    }
    let space = AddressSpace::probe();
    let (mut slots, mut reason) = pool_size(config, space, MemoryBudget::probe());
    let info = |allocator, slots, memory_reservation_bytes, reason| EngineInfo {
        allocator,
        slots,
        slots_wanted: config.pool_slots,
        memory_reservation_bytes,
        keep_resident_bytes: config.keep_resident_bytes as u64,
        address_bits: space.bits,
        pagemap_scan: config.pagemap_scan,
        reason,
    };
    while slots >= MIN_SLOTS.min(config.pool_slots) {
        match Engine::new(&engine_config(config, Some(slots))) {
            Ok(engine) => return Ok((engine, info(POOLING, slots, MEMORY_RESERVATION_BYTES, reason))),
            Err(error) => {
                reason = Some(format!("a pool of {slots} slots was refused: {error:#}"));
                tracing::debug!(slots, %error, "pool refused, trying half");
                slots /= 2;
            }
        }
    }
    let engine = Engine::new(&engine_config(config, None)).map_err(HostError::Engine)?;
    // As many as have room when each takes what a function may by default.
    let slots = config.pool_slots.min(space.slots(config.default_memory_bytes)).max(1);
    Ok((engine, info("on-demand", slots, 0, reason)))
}

/// Whether pages can be swapped out; yes when that cannot be told.
fn swap_is_on() -> bool {
    // The first line is a heading; each other is a device or file in use.
    std::fs::read_to_string("/proc/swaps").map_or(true, |swaps| swaps.lines().count() > 1)
}

/// A text that changes whenever compiled code of another engine could not be loaded into this one.
pub(crate) fn fingerprint(engine: &Engine) -> String {
    /// FNV-1a, 64 bits: the standard library's hashers promise no stable value over releases.
    struct Fnv(u64);
    impl Hasher for Fnv {
        fn finish(&self) -> u64 {
            self.0
        }
        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
            }
        }
    }
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// An engine that makes code for one with a pool, or without, and runs none: it reserves nothing.
pub(crate) fn for_compiling(pooled: bool) -> wasmtime::Result<Engine> {
    Engine::new(&code_config(pooled))
}

fn engine_config(config: &HostConfig, slots: Option<u32>) -> Config {
    let mut engine = code_config(slots.is_some());
    engine.allocation_strategy(match slots {
        Some(slots) => InstanceAllocationStrategy::Pooling(pool(config, slots)),
        None => InstanceAllocationStrategy::OnDemand,
    });
    engine
}

/// What compiled code depends on.
fn code_config(pooled: bool) -> Config {
    let mut engine = Config::new();
    engine
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        .async_stack_zeroing(false)
        // Images come from memory, not from a file on an SD card.
        .force_memory_init_memfd(true)
        .generate_address_map(false)
        .native_unwind_info(false)
        .wasm_backtrace_max_frames(None)
        .wasm_component_model(true);
    match pooled {
        true => engine
            .memory_reservation(MEMORY_RESERVATION_BYTES)
            .memory_guard_size(MEMORY_GUARD_BYTES)
            .memory_may_move(false),
        // Where no pool fits, reserving that much for each memory would leave room for one or none.
        false => engine
            .memory_reservation(0)
            .memory_reservation_for_growth(GROWTH_RESERVATION_BYTES)
            .memory_guard_size(0)
            .memory_may_move(true),
    };
    engine
}

fn pool(config: &HostConfig, slots: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_memories(slots)
        .total_tables(slots.saturating_mul(TABLES_PER_SLOT))
        .total_stacks(slots)
        .total_core_instances(slots.saturating_mul(CORE_INSTANCES_PER_SLOT))
        .total_component_instances(slots)
        .max_memory_size(usize::try_from(MEMORY_RESERVATION_BYTES).unwrap_or(usize::MAX))
        .max_memories_per_component(8)
        .max_tables_per_component(8)
        .max_core_instances_per_component(32)
        // JavaScript and Python engines have tables of tens of thousands of functions.
        .table_elements(100_000)
        .max_core_instance_size(4 << 20)
        .max_component_instance_size(4 << 20)
        .linear_memory_keep_resident(config.keep_resident_bytes)
        .table_keep_resident(TABLE_RESIDENT_BYTES)
        .max_unused_warm_slots(slots)
        .pagemap_scan(if config.pagemap_scan { Enabled::Yes } else { Enabled::No });
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_as_large_as_addresses_and_memory_allow() {
        let size = |bits: u32, memory_bytes: u64, keep_resident_bytes: usize| {
            let config = HostConfig { keep_resident_bytes, ..HostConfig::in_dir("") };
            let space = AddressSpace { bits, bytes: 1 << bits };
            pool_size(&config, space, MemoryBudget { bytes: memory_bytes })
        };
        assert_eq!(size(47, 8 << 30, 128 << 10), (512, None));
        let (slots, reason) = size(39, 8 << 30, 128 << 10);
        assert!((90..=126).contains(&slots) && reason.unwrap().contains("address space"), "{slots}");
        let (slots, reason) = size(47, 1 << 30, 4 << 20);
        assert!((60..=64).contains(&slots) && reason.unwrap().contains("1024 MiB of memory"), "{slots}");
        let (slots, reason) = size(39, 1 << 30, 4 << 20);
        assert!((60..=64).contains(&slots) && reason.unwrap().contains("memory"), "the tighter one is told");
    }
}
