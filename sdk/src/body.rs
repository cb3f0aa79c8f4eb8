//! The request's body.

use std::io::{self, Read};

use crate::stdio;

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

    /// Reads to the end of the body. With the right length announced that is one allocation and two
    /// reads; a wrong one costs time and loses nothing.
    pub(crate) fn read_announced(&mut self, announced: Option<usize>) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // One more, so that the read that finds the end has a place and the buffer need not grow.
        let reserved = announced.map_or(STEP_BYTES, |announced| announced.min(MAX_RESERVED_BYTES) + 1);
        bytes.try_reserve_exact(reserved)?;
        while self.read_some(&mut bytes)? > 0 {}
        Ok(bytes)
    }

    /// One read, behind what `bytes` has; 0 at the end.
    fn read_some(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        if bytes.len() == bytes.capacity() {
            bytes.try_reserve(STEP_BYTES.max(bytes.len()))?;
        }
        match &mut self.0 {
            Source::Stdin => stdio::read_spare(bytes),
            Source::Given(given) => given.read_to_end(bytes),
        }
    }
}

impl Read for RequestBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Source::Stdin => stdio::read(buffer),
            Source::Given(given) => given.read(buffer),
        }
    }

    fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let before = bytes.len();
        while self.read_some(bytes)? > 0 {}
        Ok(bytes.len() - before)
    }
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
    fn an_announced_length_is_not_believed() {
        for announced in [0, 1, 3, 5] {
            let mut body = RequestBody::given(b"abc".to_vec());
            assert_eq!(body.read_announced(Some(announced)).unwrap(), b"abc", "{announced}");
        }
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
