//! The load generator: prebuilt HTTP/1.1 requests over keep-alive connections, no pipelining.
//!
//! In: a closed loop (each connection sends as soon as it was answered) and an open one (requests
//! on a schedule, latency from the instant each was due, so a stall is not hidden). Out: what is
//! asked of whom. The property that must hold: it costs no more processor time for a request than
//! the system calls it needs, because on a small machine it runs beside what it measures.

mod closed;
mod connection;
mod open;
mod response;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;

use crate::machine::cores;
use crate::stats::Latencies;

pub(crate) use response::ResponseReader;

/// Longest wait without any progress: a server that hangs stops the bench, not the night.
const STALL: Duration = Duration::from_secs(10);

/// Bytes taken from a socket at once.
const READ_BYTES: usize = 256 << 10;

/// What is asked, and of whom.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Where.
    pub(crate) address: SocketAddr,
    /// Whole requests, sent in turn.
    pub(crate) requests: Arc<[Bytes]>,
    /// Length of each answer's body.
    pub(crate) answer_bytes: u64,
}

/// How much is asked at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    /// Threads that send; the connections are shared out among them.
    pub(crate) threads: usize,
    pub(crate) duration: Duration,
    pub(crate) pace: Pace,
}

/// When the next request is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// As soon as its connection is free.
    Closed,
    /// By a schedule of so many in a second over all connections.
    Open(f64),
}

impl std::fmt::Display for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("closed loop"),
            Self::Open(rate) => write!(f, "{rate:.0} in a second"),
        }
    }
}

/// Threads to send from: as few as keep up, because what is measured needs the cores.
pub(crate) fn default_threads() -> usize {
    1 + cores().saturating_sub(1) / 4
}

/// The error of a server that answered, but not by 200: it would not or could not do what was asked.
/// Anything else that goes wrong, such as an answer of another length, is no such thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: u16,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "answered {} instead of 200", self.status)
    }
}

impl std::error::Error for Refused {}

/// The error of an answer that is not the right one; whatever else was measured then means nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrongAnswer(pub(crate) String);

impl std::fmt::Display for WrongAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "wrong answer: {}", self.0)
    }
}

impl std::error::Error for WrongAnswer {}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// From sending (closed loop) or from the instant due (open loop) to the last byte.
    pub(crate) latencies: Latencies,
    pub(crate) requests_per_second: f64,
    /// Requests that were due and could not be sent in time (open loop).
    pub(crate) unsent: u64,
}

impl Target {
    /// A target that is always sent the same `POST`.
    pub(crate) fn post(address: SocketAddr, path: &str, body: &[u8]) -> Self {
        let requests = [post(address, path, body)].into();
        Self { address, requests, answer_bytes: body.len() as u64 }
    }
}

/// A whole request.
pub(crate) fn post(address: SocketAddr, path: &str, body: &[u8]) -> Bytes {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/octet-stream\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat().into()
}

/// Sends load and measures, on threads of its own.
///
/// # Errors
/// When a connection fails, or an answer is not 200 or not as long as it should be.
pub(crate) fn run(target: &Target, load: Load) -> Result<Outcome> {
    ensure!(load.connections > 0, "at least one connection is needed");
    let threads = load.threads.clamp(1, load.connections);
    let started = Instant::now();
    let parts = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || share(target, load, thread, threads))).collect();
        let join =
            |thread: std::thread::ScopedJoinHandle<'_, _>| thread.join().expect("a sender does not panic");
        threads.into_iter().map(join).collect::<Result<Vec<Share>>>()
    })?;
    let mut latencies = Latencies::new();
    parts.iter().for_each(|part| latencies.add(&part.latencies));
    let last = parts.iter().map(|part| part.ended).max().unwrap_or(started);
    let first = parts.iter().map(|part| part.started).min().unwrap_or(started);
    Ok(Outcome {
        requests_per_second: latencies.percentiles().count as f64 / (last - first).as_secs_f64(),
        unsent: parts.iter().map(|part| part.unsent).sum(),
        latencies,
    })
}

/// What one thread did.
#[derive(Debug)]
struct Share {
    latencies: Latencies,
    unsent: u64,
    started: Instant,
    ended: Instant,
}

fn share(target: &Target, load: Load, thread: usize, threads: usize) -> Result<Share> {
    let connections = load.connections / threads + usize::from(thread < load.connections % threads);
    // Threads begin at different places, so that few functions are asked for twice at once.
    let requests = target.requests.iter().cycle().skip(thread * target.requests.len() / threads).cloned();
    let connections = connection::open(target, connections)?;
    match load.pace {
        Pace::Closed => closed::run(connections, requests, load.duration),
        Pace::Open(rate) => open::run(connections, requests, rate / threads as f64, load.duration),
    }
}
