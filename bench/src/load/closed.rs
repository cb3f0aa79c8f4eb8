//! The closed loop: the most that so many connections can get through.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use mio::Events;

use super::connection::Connections;
use super::{READ_BYTES, STALL, Share};
use crate::stats::Latencies;

/// Keeps one request on its way on each connection until the time is over.
///
/// What is on its way then is waited for, and counted.
pub(super) fn run(
    mut connections: Connections,
    mut requests: impl Iterator<Item = Bytes>,
    duration: Duration,
) -> Result<Share> {
    let mut buffer = vec![0; READ_BYTES];
    let mut events = Events::with_capacity(connections.all.len());
    let mut latencies = Latencies::new();
    let started = Instant::now();
    let end = started + duration;
    let mut next = || requests.next().expect("the requests go round for ever");
    for connection in &mut connections.all {
        connection.send(next(), Instant::now())?;
    }
    let mut busy = connections.all.len();
    let mut now = started;
    while busy > 0 {
        connections.poll.poll(&mut events, Some(STALL))?;
        ensure!(!events.is_empty(), "no answer for {STALL:?}");
        for event in &events {
            let connection = &mut connections.all[event.token().0];
            let Some(since) = connection.proceed(&mut buffer)? else { continue };
            now = Instant::now();
            latencies.record(now - since);
            match now < end {
                true => connection.send(next(), now)?,
                false => busy -= 1,
            }
        }
    }
    Ok(Share { latencies, unsent: 0, started, ended: now })
}
