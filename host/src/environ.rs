//! A guest's environment and arguments, as the classic watchdog gives them.
//!
//! Built only when a guest asks: most never look at a request's headers.

use std::borrow::Cow;

use bramble_provider::Invocation;
use bramble_provider::invoke::{CALL_ID, START_TIME};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HOST, HeaderName, TRANSFER_ENCODING};

/// Strings in the form WASI 0.1 wants them: one block, each ended by a NUL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Strings {
    pub(crate) block: Vec<u8>,
    pub(crate) count: usize,
}

impl Strings {
    pub(crate) fn push(&mut self, parts: &[&str]) {
        for part in parts {
            // A NUL would cut the string short, and what follows would be read as another.
            self.block.extend(part.bytes().filter(|byte| *byte != 0));
        }
        self.block.push(0);
        self.count += 1;
    }

    /// The strings as pairs split at their first `=`.
    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        self.iter()
            .map(|text| match text.split_once('=') {
                Some((key, value)) => (key.to_owned(), value.to_owned()),
                None => (text, String::new()),
            })
            .collect()
    }

    /// The strings one by one.
    pub(crate) fn iter(&self) -> impl Iterator<Item = String> + '_ {
        let ended = self.block.strip_suffix(b"\0").unwrap_or_default();
        ended.split(|byte| *byte == 0).take(self.count).map(|text| String::from_utf8_lossy(text).into_owned())
    }
}

/// `%2F` and the like as what they stand for, as the watchdogs give a path; what is no such code stays.
fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let hex = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (mut decoded, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [byte, tail @ ..] = rest {
        let code = match (byte, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        decoded.push(code.unwrap_or(*byte));
        rest = if code.is_some() { &tail[2..] } else { tail };
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

/// Adds the variables of one request to a function's own.
pub(crate) fn with_request<B>(own: &Strings, invocation: &Invocation<B>) -> Strings {
    let mut strings = own.clone();
    let request = &invocation.request;
    strings.push(&["Http_Method=", request.method.as_str()]);
    strings.push(&["Http_Path=", &percent_decoded(invocation.path())]);
    if let Some(query) = invocation.query().filter(|query| !query.is_empty()) {
        strings.push(&["Http_Query=", query]);
    }
    let host = text(&request.headers, &HOST).or_else(|| request.uri.authority().map(|host| host.as_str()));
    strings.push(&["Http_Host=", host.unwrap_or_default()]);
    // The original says -1 when the length is not known, and has both spellings.
    let unknown = if request.headers.contains_key(TRANSFER_ENCODING) { "-1" } else { "0" };
    let length = text(&request.headers, &CONTENT_LENGTH).unwrap_or(unknown);
    strings.push(&["Http_ContentLength=", length]);
    strings.push(&["Http_Content_Length=", length]);
    for name in request.headers.keys() {
        if [HOST, CONTENT_LENGTH, CALL_ID, START_TIME].contains(name) {
            continue;
        }
        if let Some(value) = text(&request.headers, name) {
            strings.push(&["Http_", &variable_name(name), "=", value]);
        }
    }
    for (name, value) in invocation.added_headers() {
        if let Ok(value) = value.to_str() {
            strings.push(&["Http_", &variable_name(&name), "=", value]);
        }
    }
    strings
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
}

/// `x-foo-bar` as `X_Foo_Bar`.
fn variable_name(name: &HeaderName) -> String {
    let mut start = true;
    name.as_str()
        .chars()
        .map(|c| {
            let c = if start { c.to_ascii_uppercase() } else { c };
            start = c == '-';
            if start { '_' } else { c }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bramble_provider::{Body, CallId};

    fn environment(request: http::request::Builder, path_offset: usize) -> Vec<(String, String)> {
        let (request, ()) = request.body(()).unwrap().into_parts();
        let call_id = CallId::from_random(0);
        let mut own = Strings::default();
        own.push(&["OWN=", "x=y"]);
        let (body, started_at) = (Body::empty(), std::time::SystemTime::UNIX_EPOCH);
        let peer = Some(([127, 0, 0, 1], 4711).into());
        with_request(&own, &Invocation { call_id, request, path_offset, body, peer, started_at }).pairs()
    }

    #[test]
    fn gives_a_request_as_the_classic_watchdog_does() {
        let request = http::Request::builder()
            .method("POST")
            .uri("/function/echo/a/b?x=1")
            .header("host", "pi:8080")
            .header("x-foo-bar", "one")
            .header("x-foo-bar", "two")
            .header("content-length", "12");
        let environment = environment(request, "/function/echo".len());
        let get = |key: &str| environment.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        assert_eq!(get("OWN"), Some("x=y"));
        assert_eq!(get("Http_Method"), Some("POST"));
        assert_eq!(get("Http_Path"), Some("/a/b"));
        assert_eq!(get("Http_Query"), Some("x=1"));
        assert_eq!(get("Http_Host"), Some("pi:8080"));
        assert_eq!(get("Http_X_Foo_Bar"), Some("one"));
        assert_eq!(get("Http_ContentLength"), Some("12"));
        assert_eq!(get("Http_Content_Length"), Some("12"));
        assert_eq!(get("Http_X_Call_Id"), Some("00000000-0000-4000-8000-000000000000"));
        assert_eq!(get("Http_X_Start_Time"), Some("0"));
        assert_eq!(get("Http_X_Forwarded_For"), Some("127.0.0.1:4711"));
        assert_eq!(get("Http_X_Forwarded_Host"), Some("pi:8080"));
    }

    #[test]
    fn the_path_is_decoded_as_watchdogs_do() {
        for (path, decoded) in [("/a%20b", "/a b"), ("/%", "/%"), ("/%zz%2f", "/%zz/"), ("/%ff", "/\u{fffd}")]
        {
            assert_eq!(percent_decoded(path), decoded);
        }
    }

    #[test]
    fn an_unknown_length_is_minus_one() {
        let request = http::Request::builder().uri("/").header("transfer-encoding", "chunked");
        assert!(environment(request, 0).contains(&("Http_ContentLength".into(), "-1".into())));
    }
}
