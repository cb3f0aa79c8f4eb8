//! Writing a response to stdout.

use std::io::{self, Read, Write};

use crate::environment::process_variable;
use crate::response::{Body, Response};
use crate::stdio;

/// Whether the output begins with status and headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The body and nothing else.
    Plain,
    /// CGI headers, an empty line, the body.
    Cgi,
}

impl Form {
    /// What the platform expects. Any value but `cgi` is the plain form, which needs no reader.
    pub(crate) fn of_this_process() -> Self {
        match process_variable("BRAMBLE_OUTPUT").as_deref() {
            Some("cgi") => Self::Cgi,
            _ => Self::Plain,
        }
    }
}

/// Up to here a body is copied behind its headers, so that both go out in one write: the copy is
/// cheaper than a second call of the host.
const JOINED_MAX_BYTES: usize = 16 << 10;

/// How much of a stream is in memory at once.
const CHUNK_BYTES: usize = 16 << 10;

/// Writes the response; `false` when it is a failure that only the exit code can tell.
pub(crate) fn write(mut response: Response, form: Form, out: &mut impl Write) -> io::Result<bool> {
    if let Some(fault) = fault(&response) {
        log(&fault);
        response = Response::text("the function failed\n").with_status(500);
    }
    let mut head = match form {
        Form::Plain => Vec::new(),
        Form::Cgi => head(&response),
    };
    match response.body {
        Body::Bytes(body) if head.is_empty() => out.write_all(&body)?,
        Body::Bytes(body) if body.len() <= JOINED_MAX_BYTES => {
            head.extend_from_slice(&body);
            out.write_all(&head)?;
        }
        Body::Bytes(body) => {
            out.write_all(&head)?;
            out.write_all(&body)?;
        }
        Body::Stream(stream) => {
            out.write_all(&head)?;
            copy(stream, out)?;
        }
    }
    let told = form == Form::Cgi || (200..300).contains(&response.status);
    if !told {
        log(&format!(
            "status {}: the output has no place for it without `bramble.output: cgi`",
            response.status
        ));
    }
    Ok(told)
}

/// A line for the function's log. There is nowhere to report that the log is gone.
pub(crate) fn log(line: &str) {
    let _ = Stderr.write_all(format!("{line}\n").as_bytes());
}

/// Why this response must not be sent.
fn fault(response: &Response) -> Option<String> {
    if !(200..600).contains(&response.status) {
        return Some(format!("{} is no status of a response", response.status));
    }
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let refused = response.headers.iter().find(|(name, value)| {
        let valid_name = !name.is_empty() && name.bytes().all(token) && !name.eq_ignore_ascii_case("status");
        !valid_name || value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t')
    })?;
    Some(format!("{:?}: {:?} is no header", refused.0, refused.1))
}

fn head(response: &Response) -> Vec<u8> {
    let headers: usize = response.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    let joined = match &response.body {
        Body::Bytes(body) if body.len() <= JOINED_MAX_BYTES => body.len(),
        _ => 0,
    };
    let mut head = Vec::with_capacity("Status: 200\r\n\r\n".len() + headers + joined);
    head.extend_from_slice(b"Status: ");
    head.extend_from_slice(response.status.to_string().as_bytes());
    for (name, value) in &response.headers {
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
    }
    head.extend_from_slice(b"\r\n\r\n");
    head
}

fn copy(mut stream: Box<dyn Read>, out: &mut impl Write) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(length) => out.write_all(&chunk[..length])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Stdout without std's buffer, which would hold back what follows the last line break and take a
/// second write for it.
#[derive(Debug)]
pub(crate) struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        stdio::write_stdout(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        stdio::write_stderr(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps each write by itself.
    #[derive(Default)]
    struct Writes(Vec<Vec<u8>>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(response: Response, form: Form) -> (bool, Vec<Vec<u8>>) {
        let mut writes = Writes::default();
        let told = write(response, form, &mut writes).unwrap();
        (told, writes.0)
    }

    #[test]
    fn cgi_is_headers_an_empty_line_and_the_body_in_one_write() {
        let response = Response::text("gone").with_status(410).with_header("X-A", "1");
        let expected = "Status: 410\r\nContent-Type: text/plain; charset=utf-8\r\nX-A: 1\r\n\r\ngone";
        assert_eq!(written(response, Form::Cgi), (true, vec![expected.into()]));
    }

    #[test]
    fn plain_is_the_body_and_a_verdict() {
        assert_eq!(written("ok".into(), Form::Plain), (true, vec![b"ok".to_vec()]));
        let response = Response::text("gone").with_status(410);
        assert_eq!(written(response, Form::Plain), (false, vec![b"gone".to_vec()]));
    }

    #[test]
    fn a_long_body_is_not_copied() {
        let (_, writes) = written(Response::new(vec![0; JOINED_MAX_BYTES + 1]), Form::Cgi);
        assert_eq!(writes.iter().map(Vec::len).collect::<Vec<_>>(), [15, JOINED_MAX_BYTES + 1]);
    }

    #[test]
    fn a_stream_goes_out_in_chunks() {
        let stream = io::repeat(b'x').take(CHUNK_BYTES as u64 + 1);
        let (told, writes) = written(Response::stream(stream), Form::Cgi);
        assert!(told);
        assert_eq!(writes.iter().map(Vec::len).collect::<Vec<_>>(), [15, CHUNK_BYTES, 1]);
    }

    #[test]
    fn what_http_forbids_becomes_a_500() {
        let forged = [
            Response::text("x").with_header("X-A", "1\r\nSet-Cookie: a=b"),
            Response::text("x").with_header("X A", "1"),
            Response::text("x").with_header("", "1"),
            Response::text("x").with_header("Status", "200"),
            Response::text("x").with_status(99),
            Response::text("x").with_status(600),
        ];
        for response in forged {
            let (_, writes) = written(response, Form::Cgi);
            let text = String::from_utf8(writes.concat()).unwrap();
            assert!(text.starts_with("Status: 500\r\n") && text.ends_with("the function failed\n"), "{text}");
        }
    }
}
