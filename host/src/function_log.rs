//! What functions print on stderr: the last of it, in memory, with the call id.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::time::SystemTime;

use bramble_provider::{CallId, FunctionName, LogLine, LogQuery, LogStream};
use parking_lot::Mutex;
use tokio::sync::watch;

/// Longest line that is kept whole; a longer one is broken.
const MAX_LINE_BYTES: usize = 8 << 10;
/// What a line costs beside its text.
const LINE_OVERHEAD_BYTES: usize = 96;

/// The log of one function, bounded in bytes: the oldest lines go first.
#[derive(Debug)]
pub(crate) struct FunctionLog {
    name: FunctionName,
    limit_bytes: usize,
    ring: Mutex<Ring>,
    /// The number of the next line: tells followers that there is more.
    grown: watch::Sender<u64>,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
    /// Number of the line that `lines` begins with, counted from the function's first.
    first: u64,
}

#[derive(Debug, Clone)]
struct Line {
    call_id: CallId,
    timestamp: SystemTime,
    text: Box<str>,
}

impl FunctionLog {
    pub(crate) fn new(name: FunctionName, limit_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            name,
            limit_bytes,
            ring: Mutex::default(),
            grown: watch::channel(0).0,
            closed: AtomicBool::new(false),
        })
    }

    /// Adds one line; a longer one than fits is broken into several.
    pub(crate) fn push(&self, call_id: &CallId, text: &str) {
        let timestamp = SystemTime::now();
        let mut ring = self.ring.lock();
        ring.bytes += text.len() + LINE_OVERHEAD_BYTES;
        ring.lines.push_back(Line { call_id: call_id.clone(), timestamp, text: text.into() });
        while ring.bytes > self.limit_bytes && ring.lines.len() > 1 {
            let gone = ring.lines.pop_front().expect("there is more than one");
            ring.bytes -= gone.text.len() + LINE_OVERHEAD_BYTES;
            ring.first += 1;
        }
        let next = ring.first + ring.lines.len() as u64;
        drop(ring);
        self.grown.send_replace(next);
    }

    /// Ends every follower once it has read what there is: the function is gone.
    pub(crate) fn close(&self) {
        self.closed.store(true, Release);
        self.grown.send_modify(|_| ());
    }

    /// The lines that a query asks for.
    pub(crate) fn read(self: &Arc<Self>, query: LogQuery) -> HostLogs {
        let ring = self.ring.lock();
        let wanted = |line: &&Line| query.matches(line);
        let skip = match query.tail {
            Some(tail) => ring.lines.iter().filter(wanted).count().saturating_sub(tail),
            None => 0,
        };
        // The position of the first wanted line after those that the tail leaves out.
        let mut left_out = 0;
        let start = ring.lines.iter().position(|line| {
            let counts = query.matches(line);
            left_out += usize::from(counts);
            counts && left_out > skip
        });
        let next = ring.first + start.unwrap_or(ring.lines.len()) as u64;
        drop(ring);
        HostLogs { grown: query.follow.then(|| self.grown.subscribe()), log: Arc::clone(self), query, next }
    }
}

trait Matches {
    fn matches(&self, line: &Line) -> bool;
}

impl Matches for LogQuery {
    fn matches(&self, line: &Line) -> bool {
        self.since.is_none_or(|since| line.timestamp >= since)
            && self.instance.as_deref().is_none_or(|instance| line.call_id.as_str() == instance)
    }
}

/// Lines of a wasm function's log.
#[derive(Debug)]
pub struct HostLogs {
    log: Arc<FunctionLog>,
    query: LogQuery,
    next: u64,
    grown: Option<watch::Receiver<u64>>,
}

impl HostLogs {
    fn next_ready(&mut self) -> Option<LogLine> {
        let ring = self.log.ring.lock();
        loop {
            // Lines that were dropped before they were read are gone.
            self.next = self.next.max(ring.first);
            let line = ring.lines.get(usize::try_from(self.next - ring.first).ok()?)?;
            self.next += 1;
            if self.query.matches(line) {
                return Some(LogLine {
                    name: self.log.name.clone(),
                    instance: line.call_id.to_string(),
                    timestamp: line.timestamp,
                    text: line.text.to_string(),
                });
            }
        }
    }
}

impl LogStream for HostLogs {
    async fn next(&mut self) -> Option<LogLine> {
        loop {
            if let Some(grown) = &mut self.grown {
                grown.mark_unchanged();
            }
            if let Some(line) = self.next_ready() {
                return Some(line);
            }
            if self.log.closed.load(Acquire) {
                return None;
            }
            self.grown.as_mut()?.changed().await.ok()?;
        }
    }
}

/// Splits what one invocation prints into lines of its function's log.
#[derive(Debug)]
pub(crate) struct LineWriter {
    log: Arc<FunctionLog>,
    call_id: CallId,
    partial: Vec<u8>,
}

impl LineWriter {
    pub(crate) fn new(log: Arc<FunctionLog>, call_id: CallId) -> Self {
        Self { log, call_id, partial: Vec::new() }
    }

    /// Takes bytes as they are printed; whole lines go to the log at once.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            for piece in part.chunks(MAX_LINE_BYTES) {
                self.partial.extend_from_slice(piece);
                if piece.ends_with(b"\n") || self.partial.len() >= MAX_LINE_BYTES {
                    self.flush();
                }
            }
        }
    }

    fn flush(&mut self) {
        let text = String::from_utf8_lossy(&self.partial);
        self.log.push(&self.call_id, text.trim_end_matches(['\n', '\r']));
        self.partial.clear();
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        if !self.partial.is_empty() {
            self.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(text: &str) -> CallId {
        CallId::from_header(&http::HeaderValue::from_str(text).unwrap()).unwrap()
    }

    fn log(limit: usize) -> Arc<FunctionLog> {
        FunctionLog::new(FunctionName::parse("f").unwrap(), limit)
    }

    fn texts(mut lines: HostLogs) -> Vec<String> {
        std::iter::from_fn(|| lines.next_ready()).map(|line| line.text).collect()
    }

    #[test]
    fn splits_lines_and_keeps_the_last_without_an_end() {
        let log = log(1 << 20);
        let mut writer = LineWriter::new(Arc::clone(&log), call("a"));
        writer.write(b"one\ntw");
        writer.write(b"o\r\nthree");
        drop(writer);
        assert_eq!(texts(log.read(LogQuery::default())), ["one", "two", "three"]);
    }

    #[test]
    fn is_bounded_however_much_is_printed() {
        let log = log(10_000);
        let mut writer = LineWriter::new(Arc::clone(&log), call("a"));
        for _ in 0..1_000 {
            writer.write(&[b'x'; 3_000]);
        }
        assert!(log.ring.lock().bytes <= 10_000 + MAX_LINE_BYTES + LINE_OVERHEAD_BYTES);
    }

    #[test]
    fn answers_tail_and_instance() {
        let log = log(1 << 20);
        for at in 0..10 {
            log.push(&call(if at % 2 == 0 { "even" } else { "odd" }), &at.to_string());
        }
        let tail = LogQuery { tail: Some(2), ..LogQuery::default() };
        assert_eq!(texts(log.read(tail)), ["8", "9"]);
        let odd = LogQuery { tail: Some(2), instance: Some("odd".into()), ..LogQuery::default() };
        assert_eq!(texts(log.read(odd)), ["7", "9"]);
        let none = LogQuery { tail: Some(0), ..LogQuery::default() };
        assert!(texts(log.read(none)).is_empty());
    }

    #[tokio::test]
    async fn follows_new_lines_until_the_log_is_gone() {
        let log = log(1 << 20);
        let mut lines = log.read(LogQuery { follow: true, ..LogQuery::default() });
        let waiting = tokio::spawn(async move { lines.next().await.map(|line| line.text) });
        tokio::task::yield_now().await;
        log.push(&call("a"), "hello");
        assert_eq!(waiting.await.unwrap().as_deref(), Some("hello"));
        let mut lines = log.read(LogQuery { tail: Some(0), follow: true, ..LogQuery::default() });
        let waiting = tokio::spawn(async move { lines.next().await });
        tokio::task::yield_now().await;
        log.close();
        assert_eq!(waiting.await.unwrap(), None);
    }
}
