//! The idle connections to one replica.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::connection::Connection;

/// How many connections are kept; the oldest goes when there is one more.
const MAX_IDLE: usize = 64;
/// How long a connection is kept without a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// After this a connection is asked whether it was closed, for the price of one read. Before, the
/// reactor has told of it, or the close is still on its way and cannot be seen.
const LOOK_AFTER: Duration = Duration::from_millis(1);

/// Idle connections; the one that was used last is taken first.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Idle>);

#[derive(Debug, Default)]
struct Idle {
    /// In the order of their last use.
    connections: VecDeque<(Instant, Connection)>,
    /// A task closes those that nobody uses.
    is_swept: bool,
}

impl Pool {
    /// A connection whose next poll will tell whether it is still open.
    pub(super) fn take(&self) -> Option<Connection> {
        let (since, connection) = self.0.lock().connections.pop_back()?;
        let idle_for = since.elapsed();
        if idle_for >= IDLE_TIMEOUT {
            // All others are older.
            let expired = std::mem::take(&mut self.0.lock().connections);
            drop(expired);
            return None;
        }
        if idle_for >= LOOK_AFTER {
            connection.look();
        }
        Some(connection)
    }

    /// Keeps a connection, if its exchange is complete; else closes it.
    pub(super) fn put(self: &Arc<Self>, mut connection: Connection) {
        if !connection.rest() {
            return;
        }
        let mut idle = self.0.lock();
        let surplus = if idle.connections.len() < MAX_IDLE { None } else { idle.connections.pop_front() };
        idle.connections.push_back((Instant::now(), connection));
        let begin = !std::mem::replace(&mut idle.is_swept, true);
        drop(idle);
        drop(surplus);
        if begin {
            Self::begin_sweeping(self);
        }
    }

    /// Whether no connection is idle.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().connections.is_empty()
    }

    fn begin_sweeping(self: &Arc<Self>) {
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(sweep(Arc::downgrade(self)))),
            Err(_) => self.0.lock().is_swept = false,
        }
    }

    /// Closes what was idle for too long; false when nothing is left.
    fn close_expired(&self) -> bool {
        let mut idle = self.0.lock();
        let kept = idle.connections.partition_point(|(since, _)| since.elapsed() >= IDLE_TIMEOUT);
        let expired: Vec<_> = idle.connections.drain(..kept).collect();
        idle.is_swept = !idle.connections.is_empty();
        let goes_on = idle.is_swept;
        drop(idle);
        drop(expired);
        goes_on
    }
}

/// Closes the connections that nobody uses, until there is none or the replica is gone.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(IDLE_TIMEOUT).await;
        if !pool.upgrade().is_some_and(|pool| pool.close_expired()) {
            return;
        }
    }
}
