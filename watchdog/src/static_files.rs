//! `mode=static`: the files of a directory.
//!
//! GET and HEAD; `index.html` for a directory, whose list is never shown; one byte range; validation by date.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::log::log;
use crate::payload::{Aborted, Payload, plain};
use crate::sniff::sniff;

/// Most that is read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Types by extension; the rest is sniffed.
const TYPES: [(&str, &str); 22] = [
    ("html", "text/html; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("map", "application/json"),
    ("xml", "text/xml; charset=utf-8"),
    ("txt", "text/plain; charset=utf-8"),
    ("md", "text/markdown; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("ico", "image/x-icon"),
    ("pdf", "application/pdf"),
    ("wasm", "application/wasm"),
    ("woff2", "font/woff2"),
    ("woff", "font/woff"),
];

/// Serves files.
#[derive(Debug)]
pub(crate) struct StaticFiles {
    root: PathBuf,
    write_timeout: Option<Duration>,
}

/// An open file and what is to be said of it.
struct Found {
    file: File,
    length: u64,
    modified: SystemTime,
    mime: &'static str,
}

impl StaticFiles {
    /// Serves what is below `root`; links out of it are followed, `..` is not.
    pub(crate) fn new(root: PathBuf, write_timeout: Option<Duration>) -> Self {
        Self { root, write_timeout }
    }

    /// Answers one request, whose head was read at `started`.
    pub(crate) async fn respond<B>(&self, request: &Request<B>, started: Instant) -> Response<Payload> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "static files take GET and HEAD\n");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let Some(path) = self.file_of(request.uri().path()) else { return not_found() };
        let is_directory = tokio::fs::metadata(&path).await.is_ok_and(|file| file.is_dir());
        if is_directory && !request.uri().path().ends_with('/') {
            return redirect(&format!("{}/", request.uri().path()));
        }
        let path = if is_directory { path.join("index.html") } else { path };
        match open(&path).await {
            Ok(found) => serve(found, request, self.write_timeout.map(|timeout| started + timeout)).await,
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                plain(StatusCode::FORBIDDEN, "403 forbidden\n")
            }
            Err(_) => not_found(),
        }
    }

    /// The file a path stands for, if it stays below the root.
    fn file_of(&self, path: &str) -> Option<PathBuf> {
        let path = String::from_utf8(crate::fork::percent_decoded(path)).ok()?;
        let mut file = self.root.clone();
        for segment in path.split('/').filter(|segment| !segment.is_empty() && *segment != ".") {
            if segment == ".." || segment.contains('\0') {
                return None;
            }
            file.push(segment);
        }
        Some(file)
    }
}

fn not_found() -> Response<Payload> {
    plain(StatusCode::NOT_FOUND, "404 page not found\n")
}

fn redirect(path: &str) -> Response<Payload> {
    // `//host/` would lead away from here.
    let path = format!("/{}", path.trim_start_matches('/'));
    let mut response = plain(StatusCode::MOVED_PERMANENTLY, "");
    if let Ok(location) = HeaderValue::from_str(&path) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

async fn open(path: &Path) -> std::io::Result<Found> {
    let mut file = File::open(path).await?;
    let about = file.metadata().await?;
    if !about.is_file() {
        return Err(std::io::ErrorKind::NotFound.into());
    }
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let mime = match TYPES.iter().find(|(known, _)| extension.eq_ignore_ascii_case(known)) {
        Some((_, mime)) => mime,
        None => {
            let mut start = BytesMut::with_capacity(512);
            file.read_buf(&mut start).await?;
            file.rewind().await?;
            sniff(&start)
        }
    };
    // HTTP's dates have no fractions; with them a file would always look newer.
    let modified = about.modified().unwrap_or(UNIX_EPOCH).duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Found {
        file,
        length: about.len(),
        modified: UNIX_EPOCH + Duration::from_secs(modified.as_secs()),
        mime,
    })
}

async fn serve<B>(mut found: Found, request: &Request<B>, deadline: Option<Instant>) -> Response<Payload> {
    let modified = HeaderValue::from_str(&httpdate::fmt_http_date(found.modified));
    let asked = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let since = asked(header::IF_MODIFIED_SINCE).and_then(|date| httpdate::parse_http_date(date).ok());
    let mut response = Response::new(Payload::whole(Bytes::new()));
    if let Ok(modified) = modified {
        response.headers_mut().insert(header::LAST_MODIFIED, modified);
    }
    if since.is_some_and(|since| found.modified <= since) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    let unchanged = asked(header::IF_RANGE)
        .is_none_or(|date| httpdate::parse_http_date(date).is_ok_and(|date| date == found.modified));
    let range = asked(header::RANGE).filter(|_| unchanged).and_then(|range| parse_range(range, found.length));
    let (first, length) = match range {
        None => (0, found.length),
        Some(Err(())) => {
            let mut response = plain(StatusCode::RANGE_NOT_SATISFIABLE, "no such range\n");
            set(&mut response, header::CONTENT_RANGE, &format!("bytes */{}", found.length));
            return response;
        }
        Some(Ok((first, last))) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            set(&mut response, header::CONTENT_RANGE, &format!("bytes {first}-{last}/{}", found.length));
            (first, last - first + 1)
        }
    };
    response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(found.mime));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if request.method() == Method::HEAD || length == 0 {
        return response;
    }
    if first > 0 && found.file.seek(SeekFrom::Start(first)).await.is_err() {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read\n");
    }
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(send_file(found.file, length, sender, deadline));
    response.map(|_| Payload::pieces(receiver, Some(length)))
}

fn set(response: &mut Response<Payload>, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// One range of a file of `length` bytes: first and last byte. `None` when it is to be ignored, an error when
/// the file has no such bytes.
fn parse_range(text: &str, length: u64) -> Option<Result<(u64, u64), ()>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first.trim(), last.trim()) {
        ("", suffix) => (length.saturating_sub(suffix.parse().ok()?), length.checked_sub(1)),
        (first, "") => (first.parse().ok()?, length.checked_sub(1)),
        (first, last) => {
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            if first > last {
                return None;
            }
            (first, length.checked_sub(1).map(|end| end.min(last)))
        }
    };
    Some(match range {
        (first, Some(last)) if first <= last => Ok((first, last)),
        _ => Err(()),
    })
}

/// Sends the file until `deadline`, and then breaks off.
async fn send_file(
    file: File,
    length: u64,
    sender: mpsc::Sender<Result<Bytes, Aborted>>,
    deadline: Option<Instant>,
) {
    let sent = send_pieces(file, length, &sender);
    let Some(deadline) = deadline else { return sent.await };
    if timeout_at(deadline, sent).await.is_err() {
        log!("Gave up the sending of a file: write_timeout.");
        let _ = sender.send(Err(Aborted)).await;
    }
}

async fn send_pieces(file: File, length: u64, sender: &mpsc::Sender<Result<Bytes, Aborted>>) {
    let mut file = file.take(length);
    let mut left = length;
    while left > 0 {
        let mut buffer = BytesMut::with_capacity(CHUNK_BYTES);
        let piece = match file.read_buf(&mut buffer).await {
            Ok(1..) => Ok(buffer.freeze()),
            // Cut off while it was read.
            Ok(0) | Err(_) => Err(Aborted),
        };
        left -= piece.as_ref().map_or(left, |piece| piece.len() as u64);
        if sender.send(piece).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leaves_the_root() {
        let files = StaticFiles::new("/srv".into(), None);
        assert_eq!(files.file_of("/a//./b%20c"), Some("/srv/a/b c".into()));
        for bad in ["/../etc/passwd", "/a/%2e%2e/b", "/a/..%2fb", "/a%00b", "/%ff"] {
            assert_eq!(files.file_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn reads_one_range() {
        for (text, range) in [
            ("bytes=0-4", Some(Ok((0, 4)))),
            ("bytes=5-", Some(Ok((5, 9)))),
            ("bytes=-3", Some(Ok((7, 9)))),
            ("bytes=-30", Some(Ok((0, 9)))),
            ("bytes=5-99", Some(Ok((5, 9)))),
            ("bytes=10-", Some(Err(()))),
            ("bytes=-0", Some(Err(()))),
            ("bytes=4-2", None),
            ("bytes=0-1,3-4", None),
            ("lines=1-2", None),
        ] {
            assert_eq!(parse_range(text, 10), range, "{text}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Some(Err(())));
    }
}
