//! CGI output (RFC 3875 section 6): headers, an empty line, the body.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// Longest block of headers that is read.
pub(crate) const MAX_HEAD_BYTES: usize = 64 << 10;

/// The head of a CGI response.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Bytes up to and with the empty line.
    pub(crate) len: usize,
}

/// Headers that belong to the connection; a function cannot set them.
const CONNECTION_HEADERS: [&str; 5] =
    ["connection", "content-length", "keep-alive", "transfer-encoding", "upgrade"];

/// Reads a head; `None` when its empty line has not come yet.
///
/// # Errors
/// In words for the function's author, when the block is no CGI head.
pub(crate) fn parse(output: &[u8]) -> Result<Option<Head>, String> {
    let mut head = Head::default();
    let mut rest = output;
    loop {
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return match output.len() > MAX_HEAD_BYTES {
                true => Err(format!("no empty line ends its CGI headers within {MAX_HEAD_BYTES} bytes")),
                false => Ok(None),
            };
        };
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        rest = &rest[end + 1..];
        if line.is_empty() {
            head.len = output.len() - rest.len();
            return Ok(Some(head));
        }
        header(line, &mut head)?;
    }
}

fn header(line: &[u8], head: &mut Head) -> Result<(), String> {
    let refuse =
        || format!("{:?} is no CGI header line", String::from_utf8_lossy(&line[..line.len().min(80)]));
    let colon = line.iter().position(|byte| *byte == b':').ok_or_else(refuse)?;
    let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| refuse())?;
    let value = line[colon + 1..].trim_ascii();
    if name == "status" {
        // `404 Not Found`: the reason is ours to choose.
        let code = value.split(|byte| *byte == b' ').next().unwrap_or_default();
        head.status = StatusCode::from_bytes(code).map_err(|_| refuse())?;
        if head.status.is_informational() {
            return Err(format!("status {} is not a final one", head.status.as_u16()));
        }
    } else if !CONNECTION_HEADERS.contains(&name.as_str()) {
        head.headers.append(name, HeaderValue::from_bytes(value).map_err(|_| refuse())?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_status_and_headers() {
        let output = b"Status: 404 Not Found\r\nContent-Type: text/html\nX-A: 1\nX-A: 2\n\nbody";
        let head = parse(output).unwrap().unwrap();
        assert_eq!(head.status, StatusCode::NOT_FOUND);
        assert_eq!(head.headers["content-type"], "text/html");
        assert_eq!(head.headers.get_all("x-a").iter().count(), 2);
        assert_eq!(&output[head.len..], b"body");
    }

    #[test]
    fn an_empty_block_is_a_plain_200() {
        assert_eq!(parse(b"\nhi").unwrap().unwrap().status, StatusCode::OK);
    }

    #[test]
    fn waits_for_the_empty_line_but_not_for_ever() {
        assert_eq!(parse(b"Status: 200\nContent-").unwrap(), None);
        assert!(parse(&vec![b'x'; MAX_HEAD_BYTES + 1]).is_err());
    }

    #[test]
    fn refuses_what_is_no_header() {
        for bad in ["hello\n\n", "Status: abc\n\n", "Status: 101\n\n", "a b: c\n\n", "X-A: \u{1}\n\n"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn does_not_let_a_function_frame_the_response() {
        let head =
            parse(b"Content-Length: 3\nTransfer-Encoding: chunked\nConnection: x\n\n").unwrap().unwrap();
        assert!(head.headers.is_empty());
    }
}
