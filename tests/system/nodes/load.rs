//! Clients that call a function while something happens to the nodes: who failed, and when.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::support::{Gateway, Wire, wait};

/// Clients at a time.
pub(super) const CLIENTS: usize = 8;
/// A client that was told that there is no Docker tries again a little later.
const BETWEEN_TRIES: Duration = Duration::from_millis(20);
/// Most failures that are kept: more tell nothing new.
const MAX_FAILURES: usize = 50;

/// What the clients got.
#[derive(Debug, Default)]
pub(super) struct Served {
    pub(super) count: usize,
    pub(super) answers: BTreeSet<String>,
    /// All but those in `unavailable`.
    pub(super) failures: Vec<Failure>,
    /// Requests that were told at once that there is no Docker and no replica (503).
    pub(super) unavailable: usize,
    /// The longest time that a request took.
    pub(super) slowest: Duration,
}

/// A request that was not served.
#[derive(Debug)]
pub(super) struct Failure {
    /// When the client was told.
    pub(super) at: Instant,
    #[expect(dead_code, reason = "shown when a test fails")]
    pub(super) text: String,
}

impl Served {
    #[track_caller]
    pub(super) fn without_failures(&self) {
        let Self { count, failures, unavailable, .. } = self;
        assert!(
            failures.is_empty() && *unavailable == 0,
            "of {count}: {unavailable} unavailable, {failures:#?}"
        );
    }
}

/// Lets [`CLIENTS`] clients call a function, each one request after the other, for as long as `work` goes on.
pub(super) fn under_load<T>(gateway: &Gateway, name: &str, work: impl FnOnce() -> T) -> (Served, T) {
    let (stop, count, seen) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(Served::default()));
    let client = || {
        let mut wire = gateway.wire();
        while !stop.load(SeqCst) {
            let asked = Instant::now();
            let outcome = ask(&mut wire, name);
            let mut seen = seen.lock();
            seen.slowest = seen.slowest.max(asked.elapsed());
            match outcome {
                Ok((200, text)) => {
                    seen.answers.insert(text.trim().to_owned());
                }
                Ok((503, text)) if text.contains("\"unavailable\"") => {
                    seen.unavailable += 1;
                    drop(seen);
                    wait::pause(BETWEEN_TRIES);
                    continue;
                }
                _ if seen.failures.len() >= MAX_FAILURES => {}
                failed => {
                    if failed.is_err() {
                        wire = gateway.wire();
                    }
                    let text = format!("after {:?}: {failed:?}", asked.elapsed());
                    seen.failures.push(Failure { at: Instant::now(), text });
                }
            }
            drop(seen);
            count.fetch_add(1, SeqCst);
        }
    };
    let done = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        // Ends the clients also when the work panics.
        let stopping = Stopping(&stop);
        wait::until("the clients are served", || count.load(SeqCst) >= 2 * CLIENTS);
        let done = work();
        // What the work led to is seen by the requests after it.
        let after = count.load(SeqCst);
        wait::until("the clients go on", || count.load(SeqCst) >= after + 4 * CLIENTS);
        drop(stopping);
        clients.into_iter().for_each(|client| client.join().unwrap());
        done
    });
    (Served { count: count.into_inner(), ..seen.into_inner() }, done)
}

fn ask(wire: &mut Wire, name: &str) -> io::Result<(u16, String)> {
    let head = format!("GET /function/{name} HTTP/1.1\r\nhost: test\r\n\r\n");
    wire.write(head.as_bytes())?;
    let status = wire.try_response()?.status.as_u16();
    let mut body = Vec::new();
    while let Some(piece) = wire.piece()? {
        body.extend(piece);
    }
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

struct Stopping<'s>(&'s AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}
