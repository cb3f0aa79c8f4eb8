//! What a handler answers.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};

/// A response: a status, headers and a body.
///
/// A handler may also answer with what becomes one: a [`String`] or [`str`] (as text), bytes, or `()`.
#[derive(Debug)]
pub struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    pub(crate) body: Body,
}

pub(crate) enum Body {
    Bytes(Cow<'static, [u8]>),
    Stream(Box<dyn Read>),
}

impl Response {
    /// Status 200 with these bytes, and no content type: the function's setting gives it.
    pub fn new(body: impl Into<Cow<'static, [u8]>>) -> Self {
        Self { status: 200, headers: Vec::new(), body: Body::Bytes(body.into()) }
    }

    /// Status 200 with `text/plain`.
    pub fn text(body: impl Into<Cow<'static, str>>) -> Self {
        Self::typed("text/plain; charset=utf-8", body.into())
    }

    /// Status 200 with `text/html`.
    pub fn html(body: impl Into<Cow<'static, str>>) -> Self {
        Self::typed("text/html; charset=utf-8", body.into())
    }

    /// Status 200 with `application/json`; `body` is JSON already.
    pub fn json(body: impl Into<Cow<'static, str>>) -> Self {
        Self::typed("application/json", body.into())
    }

    /// Status 200 with what is read from `body` while it is sent.
    ///
    /// The status is out before the first read: when a read fails, the caller gets a body cut short.
    pub fn stream(body: impl Read + 'static) -> Self {
        Self { status: 200, headers: Vec::new(), body: Body::Stream(Box::new(body)) }
    }

    fn typed(content_type: &'static str, body: Cow<'static, str>) -> Self {
        let body = match body {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Self::new(body).with_header("Content-Type", content_type)
    }

    /// Sets the status. One that no response can have, below 200 or above 599, is sent as a 500.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Sets a header, in place of one of that name.
    ///
    /// A name or value that HTTP does not allow, such as one with a line break, makes the response a
    /// 500: an answer with text of a caller's in its headers would be the caller's to forge.
    #[must_use]
    pub fn with_header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (name, value) = (name.into(), value.into());
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
        self.headers.push((name, value));
        self
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// A header's value, whatever the case of `name`.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_ref())
    }

    /// The body, read to its end if it is a stream; for tests of a handler.
    ///
    /// # Errors
    /// The stream's.
    pub fn into_bytes(self) -> io::Result<Vec<u8>> {
        match self.body {
            Body::Bytes(bytes) => Ok(bytes.into_owned()),
            Body::Stream(mut stream) => {
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes)?;
                Ok(bytes)
            }
        }
    }
}

impl From<()> for Response {
    fn from((): ()) -> Self {
        Self::new(&[][..])
    }
}

impl From<&'static str> for Response {
    fn from(text: &'static str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Response {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<&'static [u8]> for Response {
    fn from(bytes: &'static [u8]) -> Self {
        Self::new(bytes)
    }
}

impl From<Vec<u8>> for Response {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Stream(_) => f.write_str("a stream"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_a_type_and_bytes_have_none() {
        let text = Response::from("x");
        assert_eq!((text.status(), text.header("content-type")), (200, Some("text/plain; charset=utf-8")));
        assert_eq!(Response::from(vec![1]).header("content-type"), None);
        assert_eq!(Response::from(()).into_bytes().unwrap(), b"");
    }

    #[test]
    fn a_header_is_set_once() {
        let response = Response::text("x").with_header("content-type", "text/css").with_header("X-A", "1");
        assert_eq!(response.header("Content-Type"), Some("text/css"));
        assert_eq!(response.headers.len(), 2);
    }

    #[test]
    fn a_stream_is_read_to_its_end() {
        assert_eq!(Response::stream(&b"abc"[..]).into_bytes().unwrap(), b"abc");
    }
}
