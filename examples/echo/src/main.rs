//! Answers with the request's body, piece by piece as it comes.
//!
//! A body of up to 32 KiB is one read and one write. std's `stdin` and `stdout` would do as well; they
//! hold two buffers more, and search all that is written for a line break.

use std::io;
use std::sync::Mutex;

use rustix::io::{read, write};
use rustix::stdio::{stdin, stdout};

/// In a static, the buffer is memory that a fresh instance has as zeros and does not touch.
static BUFFER: Mutex<[u8; 32 << 10]> = Mutex::new([0; 32 << 10]);

fn main() -> io::Result<()> {
    let mut buffer = BUFFER.lock().expect("this is the only thread");
    loop {
        let length = read(stdin(), &mut buffer[..])?;
        if length == 0 {
            return Ok(());
        }
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            rest = &rest[write(stdout(), rest)?..];
        }
    }
}
