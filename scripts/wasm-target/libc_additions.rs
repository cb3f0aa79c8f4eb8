//! What the standard library of a current Rust expects of wasi-libc, and Debian 12's, of 2022, lacks.
//!
//! Linked into the start code by `scripts/wasm-target.sh`, so every program gets it without a flag.
#![no_std]
#![feature(thread_local)]

use core::arch::wasm32::{memory_grow, memory_size};
use core::ffi::{c_char, c_int, c_void};
use core::ptr;

// Values of wasi's errno.
const ENOMEM: c_int = 48;
const ENOTSUP: c_int = 58;

unsafe extern "C" {
    #[thread_local]
    static mut errno: c_int;
    /// The end of the memory that the linker asked for: the first byte of a page.
    static __heap_end: u8;
}

/// Where `errno` is. Newer headers reach it this way.
#[unsafe(no_mangle)]
extern "C" fn __errno_location() -> *mut c_int {
    &raw mut errno
}

// There are no threads: std turns this answer into `ErrorKind::Unsupported`.

#[unsafe(no_mangle)]
extern "C" fn pthread_create(
    _thread: *mut c_void,
    _attributes: *const c_void,
    _start: *const c_void,
    _argument: *mut c_void,
) -> c_int {
    ENOTSUP
}

#[unsafe(no_mangle)]
extern "C" fn pthread_join(_thread: *mut c_void, _result: *mut *mut c_void) -> c_int {
    ENOTSUP
}

#[unsafe(no_mangle)]
extern "C" fn pthread_detach(_thread: *mut c_void) -> c_int {
    ENOTSUP
}

#[unsafe(no_mangle)]
extern "C" fn pthread_attr_init(_attributes: *mut c_void) -> c_int {
    0
}

#[unsafe(no_mangle)]
extern "C" fn pthread_attr_destroy(_attributes: *mut c_void) -> c_int {
    0
}

#[unsafe(no_mangle)]
extern "C" fn pthread_attr_setstacksize(_attributes: *mut c_void, _bytes: usize) -> c_int {
    0
}

// WASI has no file modes.

#[unsafe(no_mangle)]
extern "C" fn chmod(_path: *const c_char, _mode: u32) -> c_int {
    not_supported(-1)
}

#[unsafe(no_mangle)]
extern "C" fn fchmod(_file: c_int, _mode: u32) -> c_int {
    not_supported(-1)
}

#[unsafe(no_mangle)]
extern "C" fn realpath(_path: *const c_char, _resolved: *mut c_char) -> *mut c_char {
    not_supported(ptr::null_mut())
}

fn not_supported<T>(result: T) -> T {
    set_errno(ENOTSUP);
    result
}

fn set_errno(value: c_int) {
    // SAFETY: a wasm program of this target has one thread, and libc's own code only stores to it.
    unsafe { errno = value }
}

static mut ASKED: bool = false;

/// Gives the allocator more memory.
///
/// Replaces libc's, which answers the first question, where the heap ends, with the end of memory.
/// The allocator then takes all from the linker's `__heap_base` to there. In a component that is wrong:
/// by then the adapter to WASI 0.2 has grown memory for its own state, and both would write to it.
/// So the first answer is the end that the linker laid out, and later memory is what was grown.
#[unsafe(no_mangle)]
extern "C" fn sbrk(increment: isize) -> *mut c_void {
    const PAGE_BYTES: usize = 65536;
    if increment == 0 {
        // SAFETY: one thread, and no reference to the static is made.
        if !unsafe { ASKED } {
            // SAFETY: as above.
            unsafe { ASKED = true };
            return (&raw const __heap_end).cast_mut().cast();
        }
        return ptr::without_provenance_mut(memory_size(0) * PAGE_BYTES);
    }
    let grown = match usize::try_from(increment) {
        Ok(bytes) if bytes % PAGE_BYTES == 0 => memory_grow(0, bytes / PAGE_BYTES),
        _ => usize::MAX,
    };
    if grown == usize::MAX {
        set_errno(ENOMEM);
        return ptr::without_provenance_mut(usize::MAX);
    }
    ptr::without_provenance_mut(grown * PAGE_BYTES)
}
