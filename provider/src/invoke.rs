//! One request to one function.

use std::fmt;
use std::net::SocketAddr;
use std::time::SystemTime;

use http::header::{HOST, HeaderName, HeaderValue};
use http::request::Parts;

use crate::body::Body;

/// The id of an invocation: the `X-Call-Id` header, the log's `call_id`.
///
/// Ours are UUIDs (RFC 9562, version 4) of 36 characters; a caller may bring any id that is a
/// header value of at most [`CallId::MAX_BYTES`] bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CallId(HeaderValue);

impl CallId {
    /// Longest id a caller may bring.
    pub const MAX_BYTES: usize = 128;

    /// Makes a version 4 UUID from 128 random bits.
    pub fn from_random(bits: u128) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let bits = bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        let mut text = [b'-'; 36];
        let mut nibbles = (0..32).rev().map(|at| HEX[(bits >> (4 * at)) as usize & 15]);
        for (at, place) in text.iter_mut().enumerate() {
            if !matches!(at, 8 | 13 | 18 | 23) {
                *place = nibbles.next().expect("36 places less 4 hyphens are 32 nibbles");
            }
        }
        let value = HeaderValue::from_bytes(&text).expect("hexadecimal digits are visible ASCII");
        Self(value)
    }

    /// Takes an id that the caller brought; `None` when it is empty, too long or not visible ASCII.
    pub fn from_header(value: &HeaderValue) -> Option<Self> {
        let usable = !value.is_empty() && value.len() <= Self::MAX_BYTES && value.to_str().is_ok();
        usable.then(|| Self(value.clone()))
    }

    /// The id as a header value.
    pub fn header(&self) -> &HeaderValue {
        &self.0
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One request to one function, as a provider gets it; `Invocation<()>` is one whose body was taken.
#[derive(Debug)]
pub struct Invocation<B = Body> {
    /// Its id.
    pub call_id: CallId,
    /// Method, URI and headers as the client sent them, hop-by-hop headers taken out.
    pub request: Parts,
    /// Where in the URI's path the function's own path begins: `/function/echo/a/b` has it at `/a/b`.
    pub path_offset: usize,
    /// The request's body.
    pub body: B,
    /// Who sent it, when it came over the network.
    pub peer: Option<SocketAddr>,
    /// When it arrived.
    pub started_at: SystemTime,
}

/// The header that carries a [`CallId`].
pub const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");
/// The header that tells when an invocation arrived, in nanoseconds since 1970.
pub const START_TIME: HeaderName = HeaderName::from_static("x-start-time");

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

impl Invocation {
    /// Takes the body off.
    pub fn into_parts(self) -> (Invocation<()>, Body) {
        let Self { call_id, request, path_offset, body, peer, started_at } = self;
        (Invocation { call_id, request, path_offset, body: (), peer, started_at }, body)
    }
}

impl<B> Invocation<B> {
    /// The arrival in nanoseconds since 1970.
    pub fn start_nanos(&self) -> u128 {
        self.started_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos()
    }

    /// The headers that the platform adds to what the client sent: made only for a function that looks.
    ///
    /// `X-Forwarded-For` carries the peer's port too, as in the original; it and `X-Forwarded-Host`
    /// are left alone when the client brought them.
    pub fn added_headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let headers = &self.request.headers;
        let text = |text: String| HeaderValue::try_from(text).ok();
        let peer = self.peer.filter(|_| !headers.contains_key(FORWARDED_FOR));
        let host = headers.get(HOST).filter(|_| !headers.contains_key(FORWARDED_HOST));
        [
            (CALL_ID, Some(self.call_id.header().clone())),
            (START_TIME, text(self.start_nanos().to_string())),
            (FORWARDED_FOR, peer.and_then(|peer| text(peer.to_string()))),
            (FORWARDED_HOST, host.cloned()),
        ]
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| (name, value)))
    }

    /// The path as the function sees it: `/` when the request named none.
    pub fn path(&self) -> &str {
        match self.request.uri.path().get(self.path_offset..) {
            None | Some("") => "/",
            Some(path) => path,
        }
    }

    /// The query without its `?`, when there is one.
    pub fn query(&self) -> Option<&str> {
        self.request.uri.query()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_id_is_a_version_4_uuid() {
        assert_eq!(CallId::from_random(0).as_str(), "00000000-0000-4000-8000-000000000000");
        assert_eq!(CallId::from_random(u128::MAX).as_str(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn keeps_a_callers_id_only_when_it_is_usable() {
        let take = |text: &[u8]| CallId::from_header(&HeaderValue::from_bytes(text).unwrap());
        assert_eq!(take(b"abc").unwrap().as_str(), "abc");
        assert!(take(b"").is_none());
        assert!(take(&[b'a'; 129]).is_none());
        assert!(take(b"\xff").is_none());
    }
}
