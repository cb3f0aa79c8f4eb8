//! WASI 0.1 for commands: our own stdio, arguments, environment, clocks and random numbers, the
//! library's implementation for everything else.
//!
//! A function spends its host calls on reading stdin and writing stdout. The library serves these
//! through a resource table, boxed streams and pieces of 4 KiB; here bytes go straight between the
//! instance's memory and the request or response. Files (the secrets) and polling go to the
//! library, whose state is made only when a guest asks for it. Both see the same streams.

use std::task::Poll;
use std::time::SystemTime;

use rand::RngCore;
use wasmtime::{Caller, Linker};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p1::wasi_snapshot_preview1 as library;
use wiggle::GuestMemory;

use crate::call::Call;
use crate::clock;
use crate::guest::CommandGuest;
use crate::inspect::WASI_P1;
use crate::output::OverLimit;
use crate::stderr;

type Errno = i32;
const SUCCESS: Errno = 0;
const ERRNO_BADF: Errno = 8;
const ERRNO_FAULT: Errno = 21;
const ERRNO_INVAL: Errno = 28;
const ERRNO_IO: Errno = 29;

/// Most iovecs one call may bring, as POSIX's `IOV_MAX`.
const MAX_IOVECS: u32 = 1_024;
/// Most random bytes one call may ask for.
pub(crate) const MAX_RANDOM_BYTES: u32 = 64 << 20;

const STDIN: i32 = 0;
const STDOUT: i32 = 1;
const STDERR: i32 = 2;
/// Descriptors from here on are the library's: preopened directories and what is opened below them.
const FIRST_FILE: i32 = 3;

/// Defines everything that a WASI 0.1 command may import.
pub(crate) fn add_to_linker(linker: &mut Linker<CommandGuest>) -> wasmtime::Result<()> {
    wasmtime_wasi::p1::add_to_linker_async(linker, CommandGuest::wasi)?;
    linker.allow_shadowing(true);
    linker.func_wrap_async(WASI_P1, "fd_read", |caller, (fd, iovs, len, read): (i32, i32, i32, i32)| {
        Box::new(fd_read(caller, fd, iovs, len, read))
    })?;
    linker.func_wrap_async(
        WASI_P1,
        "fd_write",
        |caller, (fd, iovs, len, written): (i32, i32, i32, i32)| {
            Box::new(fd_write(caller, fd, iovs, len, written))
        },
    )?;
    linker.func_wrap(WASI_P1, "environ_sizes_get", environ_sizes_get)?;
    linker.func_wrap(WASI_P1, "environ_get", environ_get)?;
    linker.func_wrap(WASI_P1, "args_sizes_get", args_sizes_get)?;
    linker.func_wrap(WASI_P1, "args_get", args_get)?;
    linker.func_wrap(WASI_P1, "clock_time_get", clock_time_get)?;
    linker.func_wrap(WASI_P1, "random_get", random_get)?;
    linker.func_wrap(WASI_P1, "proc_exit", proc_exit)?;
    linker.func_wrap(WASI_P1, "fd_prestat_get", fd_prestat_get)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// An instance's memory and what its host calls work on.
fn parts<'a>(caller: &'a mut Caller<'_, CommandGuest>) -> Option<(&'a mut [u8], &'a mut CommandGuest)> {
    let memory = match caller.data().memory {
        Some(memory) => memory,
        None => {
            let export = caller.data().memory_export;
            let memory = caller.get_module_export(&export)?.into_memory()?;
            caller.data_mut().memory = Some(memory);
            memory
        }
    };
    Some(memory.data_and_store_mut(caller))
}

/// Where something lies in the instance's memory: `len` bytes at `at`.
#[derive(Debug, Clone, Copy)]
struct Span {
    at: usize,
    len: usize,
}

impl Span {
    fn new(at: i32, len: u32) -> Self {
        Self { at: at.cast_unsigned() as usize, len: len as usize }
    }

    fn of(self, memory: &[u8]) -> Result<&[u8], Errno> {
        memory.get(self.at..self.at.wrapping_add(self.len)).ok_or(ERRNO_FAULT)
    }

    fn of_mut(self, memory: &mut [u8]) -> Result<&mut [u8], Errno> {
        memory.get_mut(self.at..self.at.wrapping_add(self.len)).ok_or(ERRNO_FAULT)
    }
}

fn load_u32(memory: &[u8], at: i32) -> Result<u32, Errno> {
    let bytes = Span::new(at, 4).of(memory)?;
    Ok(u32::from_le_bytes(bytes.try_into().expect("the span has four bytes")))
}

fn store(memory: &mut [u8], at: i32, bytes: &[u8]) -> Result<(), Errno> {
    let len = u32::try_from(bytes.len()).map_err(|_| ERRNO_INVAL)?;
    Span::new(at, len).of_mut(memory)?.copy_from_slice(bytes);
    Ok(())
}

fn store_u32(memory: &mut [u8], at: i32, value: usize) -> Result<(), Errno> {
    store(memory, at, &u32::try_from(value).map_err(|_| ERRNO_INVAL)?.to_le_bytes())
}

/// The first iovec that is not empty; `None` when all are.
fn first_iovec(memory: &[u8], iovs: i32, len: i32) -> Result<Option<Span>, Errno> {
    let len = len.cast_unsigned();
    if len > MAX_IOVECS {
        return Err(ERRNO_INVAL);
    }
    for at in (0..len).map(|entry| iovs.wrapping_add_unsigned(8 * entry)) {
        let span = Span::new(load_u32(memory, at)?.cast_signed(), load_u32(memory, at.wrapping_add(4))?);
        if span.len > 0 {
            span.of(memory)?;
            return Ok(Some(span));
        }
    }
    Ok(None)
}

/// Turns an inner result into what WASI returns.
fn errno(result: Result<(), Errno>) -> Errno {
    result.err().unwrap_or(SUCCESS)
}

async fn fd_read(
    mut caller: Caller<'_, CommandGuest>,
    fd: i32,
    iovs: i32,
    len: i32,
    read: i32,
) -> wasmtime::Result<Errno> {
    let Some((memory, guest)) = parts(&mut caller) else { return Ok(ERRNO_FAULT) };
    if fd >= FIRST_FILE {
        return library::fd_read(guest.wasi(), &mut GuestMemory::Unshared(memory), fd, iovs, len, read).await;
    }
    if fd != STDIN {
        return Ok(ERRNO_BADF);
    }
    let span = match first_iovec(memory, iovs, len) {
        Ok(Some(span)) => span,
        Ok(None) => return Ok(errno(store_u32(memory, read, 0))),
        Err(errno) => return Ok(errno),
    };
    let buffer = match span.of_mut(memory) {
        Ok(buffer) => buffer,
        Err(errno) => return Ok(errno),
    };
    let call = &guest.call;
    let count = std::future::poll_fn(|cx| call.input.lock().poll_read(cx, buffer)).await;
    Ok(match count {
        Ok(count) => errno(store_u32(memory, read, count)),
        Err(_) => ERRNO_IO,
    })
}

async fn fd_write(
    mut caller: Caller<'_, CommandGuest>,
    fd: i32,
    iovs: i32,
    len: i32,
    written: i32,
) -> wasmtime::Result<Errno> {
    let Some((memory, guest)) = parts(&mut caller) else { return Ok(ERRNO_FAULT) };
    if fd >= FIRST_FILE {
        return library::fd_write(guest.wasi(), &mut GuestMemory::Unshared(memory), fd, iovs, len, written)
            .await;
    }
    if fd != STDOUT && fd != STDERR {
        return Ok(ERRNO_BADF);
    }
    let span = match first_iovec(memory, iovs, len) {
        Ok(Some(span)) => span,
        Ok(None) => return Ok(errno(store_u32(memory, written, 0))),
        Err(errno) => return Ok(errno),
    };
    let bytes = match span.of(memory) {
        Ok(bytes) => bytes,
        Err(errno) => return Ok(errno),
    };
    let call = &guest.call;
    let count = std::future::poll_fn(|_| write(call, fd, bytes)).await?;
    Ok(errno(store_u32(memory, written, count)))
}

fn write(call: &Call, fd: i32, bytes: &[u8]) -> Poll<Result<usize, OverLimit>> {
    if fd == STDERR {
        return stderr::poll_write(call, bytes);
    }
    let count = call.output.lock().poll_write(bytes);
    if call.revision.settings.write_debug
        && let Poll::Ready(Ok(count)) = count
    {
        call.print(&bytes[..count]);
    }
    count
}

fn environ_sizes_get(mut caller: Caller<'_, CommandGuest>, count: i32, size: i32) -> Errno {
    let Some((memory, guest)) = parts(&mut caller) else { return ERRNO_FAULT };
    let strings = guest.environment();
    errno(store_u32(memory, count, strings.count).and_then(|()| store_u32(memory, size, strings.block.len())))
}

fn environ_get(mut caller: Caller<'_, CommandGuest>, pointers: i32, block: i32) -> Errno {
    let Some((memory, guest)) = parts(&mut caller) else { return ERRNO_FAULT };
    errno(store_strings(memory, pointers, block, guest.environment()))
}

fn args_sizes_get(mut caller: Caller<'_, CommandGuest>, count: i32, size: i32) -> Errno {
    let Some((memory, guest)) = parts(&mut caller) else { return ERRNO_FAULT };
    let strings = &guest.call.revision.arguments;
    errno(store_u32(memory, count, strings.count).and_then(|()| store_u32(memory, size, strings.block.len())))
}

fn args_get(mut caller: Caller<'_, CommandGuest>, pointers: i32, block: i32) -> Errno {
    let Some((memory, guest)) = parts(&mut caller) else { return ERRNO_FAULT };
    errno(store_strings(memory, pointers, block, &guest.call.revision.arguments))
}

fn store_strings(
    memory: &mut [u8],
    pointers: i32,
    block: i32,
    strings: &crate::environ::Strings,
) -> Result<(), Errno> {
    store(memory, block, &strings.block)?;
    let ends = strings.block.iter().enumerate().filter(|(_, byte)| **byte == 0).map(|(at, _)| at + 1);
    let starts = std::iter::once(0).chain(ends).take(strings.count);
    for (entry, start) in (0u32..).zip(starts) {
        let address = (block.cast_unsigned() as usize).wrapping_add(start);
        store_u32(memory, pointers.wrapping_add_unsigned(4 * entry), address)?;
    }
    Ok(())
}

fn clock_time_get(mut caller: Caller<'_, CommandGuest>, clock: i32, _precision: i64, time: i32) -> Errno {
    let elapsed = match clock {
        0 => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
        1 => clock::since_start(),
        _ => return ERRNO_INVAL,
    };
    let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
    let Some((memory, _)) = parts(&mut caller) else { return ERRNO_FAULT };
    errno(store(memory, time, &nanos.to_le_bytes()))
}

fn random_get(mut caller: Caller<'_, CommandGuest>, at: i32, len: i32) -> Errno {
    let len = len.cast_unsigned();
    if len > MAX_RANDOM_BYTES {
        return ERRNO_INVAL;
    }
    let Some((memory, _)) = parts(&mut caller) else { return ERRNO_FAULT };
    errno(Span::new(at, len).of_mut(memory).map(|bytes| rand::rng().fill_bytes(bytes)))
}

fn proc_exit(_: Caller<'_, CommandGuest>, code: i32) -> wasmtime::Result<()> {
    Err(I32Exit(code).into())
}

fn fd_prestat_get(mut caller: Caller<'_, CommandGuest>, fd: i32, prestat: i32) -> wasmtime::Result<Errno> {
    let Some((memory, guest)) = parts(&mut caller) else { return Ok(ERRNO_FAULT) };
    // The C library asks at every start; without secrets there is nothing to find.
    if fd < FIRST_FILE || guest.call.revision.secrets.is_none() {
        return Ok(ERRNO_BADF);
    }
    library::fd_prestat_get(guest.wasi(), &mut GuestMemory::Unshared(memory), fd, prestat)
}
