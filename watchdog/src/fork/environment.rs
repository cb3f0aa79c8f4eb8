//! The variables that describe a request to its process, as the classic watchdog names them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use hyper::body::{Body as _, Incoming};
use hyper::{Request, header};

/// The variables of one request: `Http_…`.
///
/// A header gives its first value. The names that describe the request itself come last, so that a
/// header called `Path` or `Method` cannot take their place.
///
/// # Errors
/// The path holds `%00`, which no variable can.
pub(crate) fn request_variables(request: &Request<Incoming>) -> Result<Vec<(OsString, OsString)>, NulInPath> {
    let headers = request.headers();
    let mut variables = Vec::with_capacity(headers.keys_len() + 8);
    for name in headers.keys() {
        if let Some(value) = headers.get(name)
            && name != header::HOST
            && name != header::TRANSFER_ENCODING
        {
            let name = OsString::from(format!("Http_{}", canonical(name.as_str(), '_')));
            variables.push((name, OsStr::from_bytes(value.as_bytes()).to_owned()));
        }
    }
    let mut add = |name: &str, value: OsString| variables.push((name.into(), value));
    let length =
        request.body().size_hint().exact().map_or_else(|| "-1".to_owned(), |length| length.to_string());
    add("Http_ContentLength", OsString::from(&length));
    add("Http_Content_Length", length.into());
    if let Some(encoding) = headers.get(header::TRANSFER_ENCODING) {
        add("Http_Transfer_Encoding", OsStr::from_bytes(encoding.as_bytes()).to_owned());
    }
    add("Http_Method", request.method().as_str().into());
    if let Some(query) = request.uri().query().filter(|query| !query.is_empty()) {
        add("Http_Query", query.into());
    }
    let path = percent_decoded(request.uri().path());
    if path.contains(&0) {
        return Err(NulInPath);
    }
    add("Http_Path", OsString::from_vec(path));
    let host = headers.get(header::HOST).map(|host| OsStr::from_bytes(host.as_bytes()).to_owned());
    let host = host.or_else(|| request.uri().authority().map(|authority| authority.as_str().into()));
    add("Http_Host", host.unwrap_or_default());
    Ok(variables)
}

/// A path with `%00` in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NulInPath;

/// A header's name as Go writes it (`x-call-id` is `X-Call-Id`), with its own mark between the words.
pub(crate) fn canonical(name: &str, mark: char) -> String {
    let mut start = true;
    name.chars()
        .map(|c| {
            let written = match c {
                '-' => mark,
                c if start => c.to_ascii_uppercase(),
                c => c.to_ascii_lowercase(),
            };
            start = c == '-';
            written
        })
        .collect()
}

/// `%2F` and the like as the bytes they stand for; what is no such code stays as it is.
pub(crate) fn percent_decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let code = match (byte, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        out.push(code.unwrap_or(*byte));
        rest = if code.is_some() { &tail[2..] } else { tail };
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_headers_like_go() {
        assert_eq!(canonical("x-foo-bar", '_'), "X_Foo_Bar");
        assert_eq!(canonical("USER-agent", '_'), "User_Agent");
        assert_eq!(canonical("x-call-id", '-'), "X-Call-Id");
    }

    #[test]
    fn decodes_what_is_a_code_and_keeps_the_rest() {
        assert_eq!(percent_decoded("/a%20b%2Fc"), b"/a b/c");
        assert_eq!(percent_decoded("/100%/%zz%4"), b"/100%/%zz%4");
        assert_eq!(percent_decoded("%C3%bc"), "ü".as_bytes());
    }
}
