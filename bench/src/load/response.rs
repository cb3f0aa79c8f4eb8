//! Reads one HTTP/1.1 response after another, as little of it as counting needs.

use anyhow::{Context, Result, bail, ensure};

/// Longest head that is taken.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// Reads responses to requests that were sent one at a time.
#[derive(Debug)]
pub(crate) struct ResponseReader {
    state: State,
    /// A head that came in pieces.
    head: Vec<u8>,
    status: u16,
    body_bytes: u64,
    /// The body, when somebody wants it.
    kept: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    /// So many bytes of a body are to come.
    Sized(u64),
    /// In the line that tells a chunk's size: the size so far, and whether an extension began.
    ChunkSize(u64, bool),
    /// So many bytes of a chunk are to come.
    ChunkData(u64),
    /// In the empty line behind a chunk.
    ChunkEnd,
    /// In the lines behind the last chunk; how long the current one is.
    Trailer(usize),
}

impl ResponseReader {
    /// Forgets bodies.
    pub(crate) fn new() -> Self {
        Self { state: State::Head, head: Vec::new(), status: 0, body_bytes: 0, kept: None }
    }

    /// Keeps each body until it is taken.
    pub(crate) fn keeping() -> Self {
        Self { kept: Some(Vec::new()), ..Self::new() }
    }

    /// The status of the response that was read last.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// The length of the body that was read last.
    pub(crate) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// The body that was read last, when bodies are kept.
    pub(crate) fn take_body(&mut self) -> Vec<u8> {
        self.kept.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes what came from the server; whether the response is complete now.
    ///
    /// # Errors
    /// When it is no HTTP, or goes on behind its end.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<bool> {
        while !bytes.is_empty() {
            let used = match self.state {
                State::Head => self.take_head(bytes)?,
                State::Sized(left) | State::ChunkData(left) => self.take_data(bytes, left),
                State::ChunkSize(..) | State::ChunkEnd | State::Trailer(_) => self.take_framing(bytes)?,
            };
            bytes = &bytes[used..];
            if self.state == State::Sized(0) {
                ensure!(bytes.is_empty(), "{} bytes came behind the end of a response", bytes.len());
                self.state = State::Head;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn take_head(&mut self, bytes: &[u8]) -> Result<usize> {
        if self.head.is_empty()
            && let Some(end) = head_end(bytes)
        {
            self.read_head(&bytes[..end])?;
            return Ok(end);
        }
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let Some(end) = head_end(&self.head) else {
            ensure!(self.head.len() <= MAX_HEAD_BYTES, "a response's head is over {MAX_HEAD_BYTES} bytes");
            return Ok(bytes.len());
        };
        let head = std::mem::take(&mut self.head);
        self.read_head(&head[..end])?;
        Ok(end - before)
    }

    fn read_head(&mut self, head: &[u8]) -> Result<()> {
        let text = std::str::from_utf8(head).context("a response's head is no text")?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
        self.status =
            status.with_context(|| format!("no HTTP/1.1 status line: {:?}", text.lines().next()))?;
        self.body_bytes = 0;
        // 204 and 304 have no body whatever they say (RFC 9112 section 6.3).
        if matches!(self.status, 204 | 304) {
            self.state = State::Sized(0);
            return Ok(());
        }
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                let length = value.trim().parse().with_context(|| format!("content-length {value:?}"))?;
                self.state = State::Sized(length);
                return Ok(());
            }
            if name.eq_ignore_ascii_case("transfer-encoding") && value.trim() == "chunked" {
                self.state = State::ChunkSize(0, false);
                return Ok(());
            }
        }
        bail!("a response of unknown length: {text:?}")
    }

    fn take_data(&mut self, bytes: &[u8], left: u64) -> usize {
        let used = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let rest = left - used as u64;
        self.body_bytes += used as u64;
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(&bytes[..used]);
        }
        self.state = match self.state {
            State::ChunkData(_) if rest == 0 => State::ChunkEnd,
            State::ChunkData(_) => State::ChunkData(rest),
            _ => State::Sized(rest),
        };
        used
    }

    /// Takes the framing between chunks, a byte at a time: there is little of it.
    fn take_framing(&mut self, bytes: &[u8]) -> Result<usize> {
        for (at, &byte) in bytes.iter().enumerate() {
            self.state = match (self.state, byte) {
                (State::ChunkSize(0, _), b'\n') => State::Trailer(0),
                (State::ChunkSize(size, _), b'\n') => State::ChunkData(size),
                (State::ChunkSize(size, _), b';' | b'\r') => State::ChunkSize(size, true),
                (State::ChunkSize(size, true), _) => State::ChunkSize(size, true),
                (State::ChunkSize(size, false), digit) => {
                    let value = char::from(digit).to_digit(16).context("a chunk's size is no number")?;
                    ensure!(size < 1 << 56, "a chunk is too large");
                    State::ChunkSize(size << 4 | u64::from(value), false)
                }
                (State::ChunkEnd, b'\n') => State::ChunkSize(0, false),
                (State::Trailer(0), b'\n') => State::Sized(0),
                (State::Trailer(_), b'\n') => State::Trailer(0),
                (State::Trailer(length), byte) if byte != b'\r' => State::Trailer(length + 1),
                (state, b'\r') => state,
                (state, byte) => bail!("byte {byte} in {state:?}"),
            };
            if matches!(self.state, State::ChunkData(_) | State::Sized(_)) {
                return Ok(at + 1);
            }
        }
        Ok(bytes.len())
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    const CHUNKED: &[u8] =
        b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=1\r\nlo\r\n0\r\nt: 1\r\n\r\n";

    fn check(piece_bytes: usize) {
        let mut reader = ResponseReader::keeping();
        for (response, status) in [(SIZED, 200), (CHUNKED, 500), (SIZED, 200)] {
            let mut pieces = response.chunks(piece_bytes).peekable();
            while let Some(piece) = pieces.next() {
                assert_eq!(reader.feed(piece).unwrap(), pieces.peek().is_none());
            }
            assert_eq!((reader.status(), reader.body_bytes()), (status, 5));
            assert_eq!(reader.take_body(), b"hello");
        }
    }

    #[test]
    fn reads_responses_in_pieces_of_any_size() {
        (1..=CHUNKED.len()).for_each(check);
    }

    #[test]
    fn a_response_without_a_body_ends_with_its_head() {
        for head in ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"]
        {
            assert!(ResponseReader::new().feed(head.as_bytes()).unwrap());
        }
    }

    #[test]
    fn refuses_what_is_no_response() {
        for bytes in [&b"SSH-2.0-x\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\n\r\n", &[SIZED, b"x"].concat()] {
            assert!(ResponseReader::new().feed(bytes).is_err());
        }
    }
}
