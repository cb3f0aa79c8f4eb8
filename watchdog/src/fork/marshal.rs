//! `marshal_request`: stdin as `{"header":{"Name":["value"]},"body":{"raw":"base64"}}`, made piece by piece.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use hyper::HeaderMap;

use super::environment::canonical;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The encoder: needs memory for one piece, not for the body.
#[derive(Debug)]
pub(crate) struct Marshal {
    /// What stands before the body; empty once it is out.
    head: String,
    /// Bytes that are waiting to make three.
    carry: Vec<u8>,
}

impl Marshal {
    /// An encoder for a request with these headers.
    pub(crate) fn new(headers: &HeaderMap) -> Self {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in headers {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            values.entry(canonical(name.as_str(), '-')).or_default().push(value);
        }
        let mut head = String::from(r#"{"header":{"#);
        for (index, (name, values)) in values.iter().enumerate() {
            head.push_str(if index > 0 { "," } else { "" });
            push_string(&mut head, name);
            head.push_str(":[");
            for (index, value) in values.iter().enumerate() {
                head.push_str(if index > 0 { "," } else { "" });
                push_string(&mut head, value);
            }
            head.push(']');
        }
        head.push_str(r#"},"body":{"raw":""#);
        Self { head, carry: Vec::new() }
    }

    /// Encodes the next piece of the body; `last` closes the object.
    pub(crate) fn encode(&mut self, piece: &[u8], last: bool) -> Bytes {
        let mut out = std::mem::take(&mut self.head).into_bytes();
        self.carry.extend_from_slice(piece);
        let whole = if last { self.carry.len() } else { self.carry.len() / 3 * 3 };
        out.reserve(whole.div_ceil(3) * 4 + 3);
        for group in self.carry[..whole].chunks(3) {
            out.extend_from_slice(&base64(group));
        }
        self.carry.drain(..whole);
        if last {
            out.extend_from_slice(br#""}}"#);
        }
        out.into()
    }
}

/// One to three bytes as four characters.
fn base64(group: &[u8]) -> [u8; 4] {
    let at = |index: usize| group.get(index).copied().unwrap_or(0);
    let bits = [at(0) >> 2, (at(0) & 3) << 4 | at(1) >> 4, (at(1) & 15) << 2 | at(2) >> 6, at(2) & 63];
    let mut text = bits.map(|bits| ALPHABET[usize::from(bits)]);
    text[group.len() + 1..].fill(b'=');
    text
}

fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(pieces: &[&[u8]]) -> String {
        let mut marshal = Marshal::new(&HeaderMap::new());
        let mut out = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            out.extend_from_slice(&marshal.encode(piece, index + 1 == pieces.len()));
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes_the_originals_object() {
        for (body, raw) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(whole(&[body.as_bytes()]), format!(r#"{{"header":{{}},"body":{{"raw":"{raw}"}}}}"#));
        }
        let mut headers = HeaderMap::new();
        headers.append("x-b", "say \"a\\b\"\tc".parse().unwrap());
        headers.append("accept", "one".parse().unwrap());
        headers.append("accept", "two".parse().unwrap());
        let text = Marshal::new(&headers).encode(b"", true);
        let expected =
            r#"{"header":{"Accept":["one","two"],"X-B":["say \"a\\b\"\u0009c"]},"body":{"raw":""}}"#;
        assert_eq!(text, expected);
    }

    proptest! {
        #[test]
        fn the_pieces_do_not_matter(body: Vec<u8>, cut in 0usize..20) {
            let (left, right) = body.split_at(cut.min(body.len()));
            prop_assert_eq!(whole(&[&body]), whole(&[left, right, b""]));
        }
    }
}
