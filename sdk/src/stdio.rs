//! Stdin, stdout and stderr.
//!
//! With the feature `rustix`, which is on unless it is switched off, each call here is one call of the
//! platform and no buffer of std's lies between. Without it the crate depends on nothing, which is how
//! the function templates of the `bramble` command carry it, at the cost of a copy through std's buffers.

#[cfg(feature = "rustix")]
pub(crate) use direct::{read, read_spare, write_stderr, write_stdout};
#[cfg(not(feature = "rustix"))]
pub(crate) use through_std::{read, read_spare, write_stderr, write_stdout};

#[cfg(feature = "rustix")]
mod direct {
    use std::io;

    use rustix::buffer::spare_capacity;
    use rustix::io::{retry_on_intr, write};
    use rustix::stdio::{stderr, stdin, stdout};

    /// Reads from stdin; 0 at its end.
    pub(crate) fn read(buffer: &mut [u8]) -> io::Result<usize> {
        retry_on_intr(|| rustix::io::read(stdin(), &mut *buffer)).map_err(io::Error::from)
    }

    /// Reads from stdin behind what `bytes` has, into the capacity it has left; 0 at the end.
    pub(crate) fn read_spare(bytes: &mut Vec<u8>) -> io::Result<usize> {
        retry_on_intr(|| rustix::io::read(stdin(), spare_capacity(bytes))).map_err(io::Error::from)
    }

    /// Writes to stdout as much as it takes at once.
    pub(crate) fn write_stdout(bytes: &[u8]) -> io::Result<usize> {
        Ok(write(stdout(), bytes)?)
    }

    /// Writes to stderr as much as it takes at once.
    pub(crate) fn write_stderr(bytes: &[u8]) -> io::Result<usize> {
        Ok(write(stderr(), bytes)?)
    }
}

#[cfg(not(feature = "rustix"))]
mod through_std {
    use std::io::{self, Read, Write};

    /// Reads from stdin; 0 at its end.
    pub(crate) fn read(buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match io::stdin().lock().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    /// Reads from stdin behind what `bytes` has, into the capacity it has left; 0 at the end.
    pub(crate) fn read_spare(bytes: &mut Vec<u8>) -> io::Result<usize> {
        let start = bytes.len();
        bytes.resize(bytes.capacity(), 0);
        let done = read(&mut bytes[start..]);
        bytes.truncate(start + done.as_ref().copied().unwrap_or(0));
        done
    }

    /// Writes to stdout as much as it takes at once; nothing of that stays in a buffer.
    pub(crate) fn write_stdout(bytes: &[u8]) -> io::Result<usize> {
        let mut stdout = io::stdout().lock();
        let written = stdout.write(bytes)?;
        stdout.flush()?;
        Ok(written)
    }

    /// Writes to stderr as much as it takes at once.
    pub(crate) fn write_stderr(bytes: &[u8]) -> io::Result<usize> {
        io::stderr().write(bytes)
    }
}
