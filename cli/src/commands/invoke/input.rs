//! Where the request's body comes from.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::time::timeout;

use crate::client::RequestBody;

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// How long the end of a short stdin is waited for, so that `echo hi |` has a `Content-Length`.
const END_LIMIT: Duration = Duration::from_millis(20);

/// What stdin has, unless it is a terminal.
///
/// # Errors
/// When stdin cannot be looked at.
pub(crate) async fn stdin() -> Result<RequestBody> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Ok(RequestBody::empty());
    }
    let file = File::from(stdin.as_fd().try_clone_to_owned().context("stdin is closed")?);
    match remaining(&file) {
        Some(length) => Ok(from_reader(file.take(length), Some(length))),
        None => from_pipe(file).await,
    }
}

/// What a file has.
///
/// # Errors
/// When it cannot be opened.
pub(crate) fn file(path: &Path) -> Result<RequestBody> {
    let file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(match remaining(&file) {
        Some(length) => from_reader(file.take(length), Some(length)),
        None => from_reader(file, None),
    })
}

/// The bytes from here to the end of a regular file.
fn remaining(mut file: &File) -> Option<u64> {
    let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let position = file.stream_position().ok()?;
    metadata.len().checked_sub(position)
}

/// A short body that is there at once is sent as what it is, anything else as it comes.
async fn from_pipe(reader: impl Read + Send + 'static) -> Result<RequestBody> {
    let mut chunks = read_on_thread(reader);
    let Some(first) = chunks.recv().await else { return Ok(RequestBody::empty()) };
    let first = first.context("reading stdin")?;
    let (sender, body) = RequestBody::channel(None);
    let second = match timeout(END_LIMIT, chunks.recv()).await {
        Ok(None) => return Ok(RequestBody::full(first)),
        Ok(Some(second)) => Some(second),
        Err(_) => None,
    };
    tokio::spawn(async move {
        let mut next = Some(Ok(first));
        let mut after = second;
        while let Some(chunk) = next {
            if sender.send(chunk).await.is_err() {
                return; // the response is complete, and nobody wants the rest
            }
            next = match after.take() {
                Some(chunk) => Some(chunk),
                None => chunks.recv().await,
            };
        }
    });
    Ok(body)
}

fn from_reader(reader: impl Read + Send + 'static, length: Option<u64>) -> RequestBody {
    let (sender, body) = RequestBody::channel(length);
    std::thread::spawn(move || read_into(reader, &sender));
    body
}

/// Reads on a thread of its own: a read of stdin cannot be called off, and must not keep the
/// process from ending when the response is complete.
fn read_on_thread(reader: impl Read + Send + 'static) -> tokio::sync::mpsc::Receiver<io::Result<Bytes>> {
    let (sender, chunks) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || read_into(reader, &sender));
    chunks
}

fn read_into(mut reader: impl Read, sender: &tokio::sync::mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut buffer = vec![0; CHUNK_BYTES];
        let chunk = match reader.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                buffer.truncate(length);
                Ok(Bytes::from(buffer))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = chunk.is_err();
        if sender.blocking_send(chunk).is_err() || failed {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body;
    use http_body_util::BodyExt;
    use std::io::{Seek, Write};

    #[tokio::test]
    async fn a_short_pipe_has_a_length() {
        let body = from_pipe(&b"hi"[..]).await.unwrap();
        assert_eq!(body.size_hint().exact(), Some(2));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "hi");
        assert!(from_pipe(io::empty()).await.unwrap().is_end_stream());
    }

    #[tokio::test]
    async fn a_pipe_that_stays_open_is_sent_as_it_comes() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"one").unwrap();
        let mut body = from_pipe(reader).await.unwrap();
        assert_eq!(body.size_hint().exact(), None);
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
        writer.write_all(b"two").unwrap();
        drop(writer);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "two");
    }

    #[tokio::test]
    async fn a_file_is_sent_from_where_it_stands() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![1; 3 * CHUNK_BYTES]).unwrap();
        file.seek(io::SeekFrom::Start(1)).unwrap();
        let length = remaining(&file).unwrap();
        let body = from_reader(file, Some(length));
        assert_eq!(body.size_hint().exact(), Some(3 * CHUNK_BYTES as u64 - 1));
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 3 * CHUNK_BYTES - 1);
    }
}
