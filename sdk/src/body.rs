//! The request's body.

use std::io::{self, Read};

use rustix::buffer::spare_capacity;
use rustix::stdio::stdin;

/// A request's body as a stream.
///
/// Reads go to the platform one by one and are not buffered: give them a buffer of some size, or wrap
/// this in a [`std::io::BufReader`].
#[derive(Debug)]
pub struct RequestBody(Source);

#[derive(Debug)]
enum Source {
    Stdin,
    Given(io::Cursor<Vec<u8>>),
}

/// What an announced length may reserve at once; a longer body grows its buffer as it comes.
const MAX_RESERVED_BYTES: usize = 64 << 20;

/// The step by which a buffer grows, at least, when the length is not known.
const STEP_BYTES: usize = 8 << 10;

impl RequestBody {
    pub(crate) fn of_this_process() -> Self {
        Self(Source::Stdin)
    }

    pub(crate) fn given(bytes: Vec<u8>) -> Self {
        Self(Source::Given(io::Cursor::new(bytes)))
    }

    /// Reads to the end of the body, or to `announced` bytes: with the right length that is one
    /// allocation and one read.
    pub(crate) fn read_announced(&mut self, announced: Option<usize>) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if let Some(announced) = announced {
            bytes.try_reserve_exact(announced.min(MAX_RESERVED_BYTES))?;
        }
        while announced.is_none_or(|announced| bytes.len() < announced) && self.read_some(&mut bytes)? > 0 {}
        Ok(bytes)
    }

    /// One read, behind what `bytes` has; 0 at the end.
    fn read_some(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        if bytes.len() == bytes.capacity() {
            bytes.try_reserve(STEP_BYTES.max(bytes.len()))?;
        }
        match &mut self.0 {
            Source::Stdin => retried(|| rustix::io::read(stdin(), spare_capacity(bytes))),
            Source::Given(given) => given.read_to_end(bytes),
        }
    }
}

impl Read for RequestBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Source::Stdin => retried(|| rustix::io::read(stdin(), &mut *buffer)),
            Source::Given(given) => given.read(buffer),
        }
    }

    fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let before = bytes.len();
        while self.read_some(bytes)? > 0 {}
        Ok(bytes.len() - before)
    }
}

fn retried<T>(call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    rustix::io::retry_on_intr(call).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_all_and_then_nothing() {
        let mut body = RequestBody::given(b"abc".to_vec());
        assert_eq!(body.read_announced(None).unwrap(), b"abc");
        assert_eq!(body.read_announced(None).unwrap(), b"");
    }

    #[test]
    fn reads_what_was_announced_and_believes_a_short_end() {
        let mut body = RequestBody::given(b"abc".to_vec());
        assert_eq!(body.read_announced(Some(3)).unwrap(), b"abc");
        let mut body = RequestBody::given(b"abc".to_vec());
        assert_eq!(body.read_announced(Some(5)).unwrap(), b"abc");
    }

    #[test]
    fn reads_in_parts() {
        let mut body = RequestBody::given(b"abcde".to_vec());
        let mut part = [0; 2];
        assert_eq!(body.read(&mut part).unwrap(), 2);
        let mut rest = Vec::new();
        assert_eq!(body.read_to_end(&mut rest).unwrap(), 3);
        assert_eq!((&part, rest.as_slice()), (b"ab", &b"cde"[..]));
    }
}
