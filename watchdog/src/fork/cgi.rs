//! `output=cgi`: what a program writes before the body (RFC 3875, section 6).

use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Most that the headers may take.
pub(crate) const CGI_HEAD_MAX_BYTES: usize = 64 << 10;

/// Headers that belong to the connection, or that the server works out itself.
const NOT_PASSED: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TRAILER,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// The head of a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CgiHead {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Where the body begins.
    pub(crate) body_at: usize,
}

/// Output that does not begin with headers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CgiError {
    #[error("the function wrote no headers, which output=cgi asks for")]
    Empty,
    #[error("the function wrote no empty line after its headers within {CGI_HEAD_MAX_BYTES} bytes")]
    TooLong,
    #[error(
        "the function wrote {0:?}, which is no header line: output=cgi asks for headers, an empty line and the body"
    )]
    NoHeader(String),
    #[error(
        "the function wrote {0:?}, which is no status: write a number from 200 to 599, as in `Status: 404`"
    )]
    NoStatus(String),
}

/// Reads the head from the beginning of a program's output; `None` when more of it has to come.
///
/// Lines end with `\n` or `\r\n`. `ended` says that `output` is all there is: then the headers may end it.
///
/// # Errors
/// [`CgiError`] naming the line.
pub(crate) fn parse_cgi(output: &[u8], ended: bool) -> Result<Option<CgiHead>, CgiError> {
    let mut head = CgiHead { status: StatusCode::OK, headers: HeaderMap::new(), body_at: 0 };
    let mut status = None;
    loop {
        let rest = &output[head.body_at..];
        let line = match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => &rest[..end],
            None if output.len() > CGI_HEAD_MAX_BYTES => return Err(CgiError::TooLong),
            None if !ended => return Ok(None),
            None if output.is_empty() => return Err(CgiError::Empty),
            None => rest,
        };
        head.body_at = (head.body_at + line.len() + 1).min(output.len());
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        let (name, value) = header_of(line)?;
        if name == "status" {
            status = Some(status_of(&value)?);
        } else if !NOT_PASSED.contains(&name) {
            head.headers.append(name, value);
        }
    }
    let implied =
        if head.headers.contains_key(header::LOCATION) { StatusCode::FOUND } else { StatusCode::OK };
    head.status = status.unwrap_or(implied);
    Ok(Some(head))
}

fn header_of(line: &[u8]) -> Result<(HeaderName, HeaderValue), CgiError> {
    let refuse = || CgiError::NoHeader(shortened(line));
    let colon = line.iter().position(|byte| *byte == b':').ok_or_else(refuse)?;
    let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| refuse())?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).map_err(|_| refuse())?;
    Ok((name, value))
}

/// A final status: what only tells of a coming one has no body to go with.
fn status_of(value: &HeaderValue) -> Result<StatusCode, CgiError> {
    let refuse = || CgiError::NoStatus(shortened(value.as_bytes()));
    let code = value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
    let status = StatusCode::from_bytes(code).map_err(|_| refuse())?;
    if (200..=599).contains(&status.as_u16()) { Ok(status) } else { Err(refuse()) }
}

fn shortened(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(80)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(output: &str) -> Result<CgiHead, CgiError> {
        parse_cgi(output.as_bytes(), true).map(|head| head.expect("it has ended"))
    }

    #[test]
    fn reads_status_headers_and_where_the_body_begins() {
        let output =
            "Status: 404 Not Found\r\nContent-Type: text/plain\nset-cookie: a\nSet-Cookie: b\n\nbody";
        let head = whole(output).unwrap();
        assert_eq!(head.status, StatusCode::NOT_FOUND);
        assert_eq!(head.headers[header::CONTENT_TYPE], "text/plain");
        assert_eq!(head.headers.get_all(header::SET_COOKIE).iter().count(), 2);
        assert_eq!(&output[head.body_at..], "body");
    }

    #[test]
    fn a_location_alone_redirects_and_the_connections_headers_are_dropped() {
        let head = whole("Location: /x\nContent-Length: 9\nConnection: close\n\n").unwrap();
        assert_eq!((head.status, head.headers.len()), (StatusCode::FOUND, 1));
        assert_eq!(whole("Location: /x\nStatus: 201\n").unwrap().status, StatusCode::CREATED);
    }

    #[test]
    fn waits_for_the_empty_line() {
        assert_eq!(parse_cgi(b"Status: 200\nX-A: b", false), Ok(None));
        assert_eq!(parse_cgi(b"", false), Ok(None));
        assert_eq!(parse_cgi(&[b'x'; CGI_HEAD_MAX_BYTES + 1], false), Err(CgiError::TooLong));
    }

    #[test]
    fn refuses_what_is_no_header() {
        assert_eq!(whole(""), Err(CgiError::Empty));
        for bad in ["hello\n", "a b: c\n\n", ": x\n\n", "X: a\u{1}\n\n"] {
            assert!(matches!(whole(bad), Err(CgiError::NoHeader(_))), "{bad:?}");
        }
        for bad in ["Status: abc\n\n", "Status: 99\n\n", "Status: 101\n\n", "Status:\n\n", "Status: 2000\n\n"]
        {
            assert!(matches!(whole(bad), Err(CgiError::NoStatus(_))), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(output: Vec<u8>, ended: bool) {
            let _ = parse_cgi(&output, ended);
        }
    }
}
