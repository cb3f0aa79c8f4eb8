//! Logs of functions, as the Swarm keeps them: one stream over all replicas.

use std::time::{Duration, SystemTime};

use bramble_provider::{FunctionName, LogLine, LogQuery, LogStream};
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::FUNCTION_LABEL;
use crate::docker::{Docker, DockerError};

/// Docker puts this before each piece: the stream's number, three zeros, the length.
const HEADER_BYTES: usize = 8;
/// Longest line that is kept; the rest of it is left out.
const MAX_LINE_BYTES: usize = 1 << 20;
/// A log that is not followed ends by itself; Swarm may wait for a node that is gone.
const QUIET_AT_MOST: Duration = Duration::from_secs(5);
/// The detail that names the replica.
const TASK_DETAIL: &str = "com.docker.swarm.task.id=";

/// The lines of a function in containers.
#[derive(Debug)]
pub struct ContainerLogs {
    name: FunctionName,
    query: LogQuery,
    body: Option<Incoming>,
    buffer: BytesMut,
}

impl ContainerLogs {
    pub(crate) async fn open(
        docker: &Docker,
        service: &str,
        name: FunctionName,
        query: LogQuery,
    ) -> Result<Self, DockerError> {
        let source = match &query.instance {
            None => format!("services/{service}"),
            // A replica that is the function's, or was.
            Some(task) if is_of(docker, task, &name).await? => format!("tasks/{task}"),
            Some(_) => return Ok(Self { name, query, body: None, buffer: BytesMut::new() }),
        };
        let mut path = format!(
            "/{source}/logs?stdout=1&stderr=1&timestamps=1&details=1&follow={}",
            u8::from(query.follow)
        );
        if let Some(tail) = query.tail {
            path.push_str(&format!("&tail={tail}"));
        }
        if let Some(since) = query.since.and_then(|since| since.duration_since(SystemTime::UNIX_EPOCH).ok()) {
            path.push_str(&format!("&since={}.{:09}", since.as_secs(), since.subsec_nanos()));
        }
        Self::at(docker, &path, name, query).await
    }

    /// The last line of one task on each of its streams.
    pub(crate) async fn last_of_task(
        docker: &Docker,
        task: &str,
        name: FunctionName,
    ) -> Result<Self, DockerError> {
        let path = format!("/tasks/{task}/logs?stdout=1&stderr=1&timestamps=1&details=1&tail=1");
        Self::at(docker, &path, name, LogQuery::default()).await
    }

    async fn at(
        docker: &Docker,
        path: &str,
        name: FunctionName,
        query: LogQuery,
    ) -> Result<Self, DockerError> {
        let body = docker.get(path).await?;
        Ok(Self { name, query, body: Some(body), buffer: BytesMut::new() })
    }

    /// More bytes; false at the end.
    async fn fill(&mut self) -> bool {
        let Some(body) = &mut self.body else { return false };
        let frame = match self.query.follow {
            true => body.frame().await,
            false => tokio::time::timeout(QUIET_AT_MOST, body.frame()).await.ok().flatten(),
        };
        match frame.and_then(Result::ok) {
            Some(frame) => {
                if let Ok(data) = frame.into_data() {
                    self.buffer.extend_from_slice(&data);
                }
                true
            }
            None => {
                self.body = None;
                false
            }
        }
    }

    /// The next whole piece that Docker sent.
    async fn piece(&mut self) -> Option<Bytes> {
        loop {
            if let Some(header) = self.buffer.first_chunk::<HEADER_BYTES>() {
                let [.., a, b, c, d] = *header;
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                if length > MAX_LINE_BYTES {
                    return None;
                }
                if self.buffer.len() >= HEADER_BYTES + length {
                    self.buffer.advance(HEADER_BYTES);
                    return Some(self.buffer.split_to(length).freeze());
                }
            }
            if !self.fill().await {
                return None;
            }
        }
    }
}

/// Whether a task is a function's.
async fn is_of(docker: &Docker, task: &str, name: &FunctionName) -> Result<bool, DockerError> {
    if !task.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(false);
    }
    let label = format!("{FUNCTION_LABEL}={name}");
    let found = docker.tasks(&[("id", task), ("label", &label)]).await?;
    // The filter takes the beginning of an id too.
    Ok(found.iter().any(|found| found.id == task))
}

impl LogStream for ContainerLogs {
    async fn next(&mut self) -> Option<LogLine> {
        loop {
            let piece = self.piece().await?;
            let Some((timestamp, instance, text)) = parse(&piece) else { continue };
            if self.query.instance.as_deref().is_none_or(|wanted| wanted == instance) {
                let instance = instance.to_owned();
                return Some(LogLine { name: self.name.clone(), instance, timestamp, text });
            }
        }
    }
}

/// `TIME DETAILS TEXT`.
fn parse(piece: &[u8]) -> Option<(SystemTime, &str, String)> {
    let space = |bytes: &[u8]| bytes.iter().position(|byte| *byte == b' ');
    let end = space(piece)?;
    let (time, rest) = (&piece[..end], &piece[end + 1..]);
    let time: jiff::Timestamp = std::str::from_utf8(time).ok()?.parse().ok()?;
    let end = space(rest)?;
    let details = std::str::from_utf8(&rest[..end]).ok()?;
    let task = details.split(',').find_map(|detail| detail.strip_prefix(TASK_DETAIL)).unwrap_or_default();
    let text = rest[end + 1..].strip_suffix(b"\n").unwrap_or(&rest[end + 1..]);
    Some((time.into(), task, String::from_utf8_lossy(text).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_its_time_and_its_replica() {
        let line = b"2026-11-20T12:00:00.000000001Z com.docker.swarm.node.id=n,com.docker.swarm.task.id=t1 hello you\n";
        let (time, instance, text) = parse(line).unwrap();
        assert_eq!((instance, text.as_str()), ("t1", "hello you"));
        assert_eq!(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos(), 1);
        assert!(parse(b"garbage").is_none());
    }
}
