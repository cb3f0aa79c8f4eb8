//! Asynchronous invocations: accepted, durable, and run by workers of this process.
//!
//! In: accepting, workers, retries, callbacks, dead letters, what is told of calls. Out: HTTP and JSON
//! (`api`), how a function is invoked (`invoke`).
//! The properties that must hold: what was accepted is on the disk and is run at least once, or is a
//! dead letter with the reason; a call that may have run before is run with `X-Retry` only.

mod book;
pub(crate) mod call;
mod callback;
mod config;
mod disk;
mod metrics;
mod refusal;
pub(crate) mod retry;
mod spool;
mod upload;
mod work;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use bramble_provider::{FunctionName, ProviderError};
use bytes::Bytes;
use parking_lot::Mutex;
use prometheus::Registry;
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;

use crate::error::{GatewayError, causes};
use crate::store::record::unix_nanos;

use book::{Book, Cancelled, Ended};
pub(crate) use book::{CallView, DeadLetters, Depth, Totals};
use call::{BodyPlace, Call, Death};
pub(crate) use callback::CallbackUrl;
use callback::Callbacks;
pub use config::QueueConfig;
use disk::{Change, Disk};
use metrics::QueueMetrics;
pub(crate) use spool::INLINE_BYTES;
use spool::Spool;
pub(crate) use upload::Uploaded;
pub(crate) use work::{Workers, start};

/// The queue's directory inside the data directory.
const DIRECTORY: &str = "queue";

/// Most large bodies that are on their way in at once.
const MAX_SPOOLING: usize = 64;

/// Longest wait for the disk at the end of the gateway.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// The queue.
#[derive(Debug)]
pub struct Queue {
    config: QueueConfig,
    book: Arc<Mutex<Book>>,
    disk: Disk,
    spool: Spool,
    spooling: Semaphore,
    /// Something may be there to be run.
    wake: Notify,
    /// What must not end half way because somebody hung up.
    tasks: TaskTracker,
    metrics: QueueMetrics,
    callbacks: Callbacks,
    /// By function, the last instant of its schedule that was seen to before this start.
    schedules: Mutex<HashMap<String, i64>>,
}

/// The body of a call on its way into the queue.
#[derive(Debug)]
pub(crate) enum NewBody {
    /// All of it.
    Inline(Bytes),
    /// In a file.
    File(Uploaded),
}

/// A call on its way into the queue.
#[derive(Debug)]
pub(crate) struct NewCall {
    /// What is known of it but for where its body is.
    pub(crate) call: Call,
    /// Its body.
    pub(crate) body: NewBody,
    /// The instant of the function's schedule that this is the run of, in Unix seconds.
    pub(crate) scheduled_for: Option<i64>,
}

impl Queue {
    /// Opens the queue below `data_dir` and reads what waits in it. A callback may take as long as an invocation,
    /// which it may be. Blocking.
    ///
    /// # Errors
    /// A text that names the file and the cause.
    pub fn open(
        config: QueueConfig,
        upstream_timeout: Duration,
        data_dir: &Path,
        registry: &Registry,
    ) -> anyhow::Result<Arc<Self>> {
        let callbacks = Callbacks::new(config.callback_ca.as_deref(), upstream_timeout)?;
        let directory = data_dir.join(DIRECTORY);
        let bodies = directory.join("bodies");
        let in_bodies = || format!("cannot use the directory of queued bodies {}", bodies.display());
        let spool = Spool::open(&bodies).with_context(in_bodies)?;
        let mut book = Book::new(config.limits());
        let mut named = HashSet::new();
        let (disk, schedules) = Disk::open(&directory, spool.clone(), |found| {
            named.extend(found.call.body.file().map(str::to_owned));
            let times = (instant_of(found.not_before_unix_nanos), Instant::now());
            book.restore(found.sequence, &found.call, found.starts, found.death, times);
        })?;
        spool.clear(&named).with_context(in_bodies)?;
        let book = Arc::new(Mutex::new(book));
        let metrics = QueueMetrics::register(registry, &book).context("cannot set up the queue's metrics")?;
        let (calls, dead) = {
            let book = book.lock();
            (book.totals().calls, book.dead_letters())
        };
        tracing::info!(calls, dead, "restored the queue");
        Ok(Arc::new(Self {
            config,
            book,
            disk,
            spool,
            spooling: Semaphore::new(MAX_SPOOLING),
            wake: Notify::new(),
            tasks: TaskTracker::new(),
            metrics,
            callbacks,
            schedules: Mutex::new(schedules),
        }))
    }

    /// Most bytes of one body.
    pub(crate) fn max_body_bytes(&self) -> u64 {
        self.config.max_bytes
    }

    /// Whether a call of this function with so many bytes would be taken now. A sender is told before its body is read.
    ///
    /// # Errors
    /// [`GatewayError::QueueFull`].
    pub(crate) fn has_room(&self, function: &FunctionName, bytes: u64) -> Result<(), GatewayError> {
        self.book.lock().has_room(function, bytes).map_err(|full| refusal::full(full, &self.config))
    }

    /// Takes a call. Once this has answered, it is run, whatever happens to the process. Goes on when
    /// the future is dropped.
    ///
    /// # Errors
    /// [`GatewayError::QueueFull`]; [`ProviderError::OutOfStorage`] and [`ProviderError::Unavailable`]
    /// when the disk does not take it. It is then not run.
    pub(crate) async fn accept(self: &Arc<Self>, new: NewCall) -> Result<(), GatewayError> {
        let queue = self.clone();
        let accepted = self.tasks.spawn(async move { queue.accept_now(new).await }).await;
        accepted.unwrap_or_else(|panic| Err(ProviderError::internal("queueing an invocation", panic).into()))
    }

    async fn accept_now(
        &self,
        NewCall { mut call, body, scheduled_for }: NewCall,
    ) -> Result<(), GatewayError> {
        let (inline, file) = match body {
            NewBody::Inline(bytes) => {
                call.body = BodyPlace::Inline { bytes: bytes.len() as u64 };
                (bytes, None)
            }
            NewBody::File(file) => {
                call.body = file.place();
                (Bytes::new(), Some(file))
            }
        };
        // Room for a body in a file is kept already.
        let bytes = call.size() - file.as_ref().map_or(0, Uploaded::bytes);
        let reserved = self.book.lock().reserve(&call.function, bytes);
        let sequence = reserved.map_err(|full| refusal::full(full, &self.config))?;
        let mut changes = vec![Change::Add { sequence, call: call.encode(), body: inline }];
        changes.extend(
            scheduled_for
                .map(|unix_seconds| Change::Mark { function: call.function.to_string(), unix_seconds }),
        );
        if let Err(refused) = self.disk.write(changes).await {
            self.book.lock().give_up(bytes);
            return Err(refusal::not_written(&refused));
        }
        if let Some(file) = file {
            file.stored();
        }
        self.book.lock().add(sequence, &call, Instant::now());
        self.wake.notify_one();
        Ok(())
    }

    /// The newest call of an id.
    pub(crate) fn call(&self, id: &str) -> Option<CallView> {
        self.book.lock().call(id, Instant::now())
    }

    /// Dead letters, or the calls that are not over, in order of arrival.
    pub(crate) fn list(&self, dead: bool, function: Option<&FunctionName>, most: usize) -> Vec<CallView> {
        self.book.lock().list(dead, function, most, Instant::now())
    }

    /// The sums over all calls, and how many dead letters there are.
    pub(crate) fn totals(&self) -> (Totals, usize) {
        let book = self.book.lock();
        (book.totals(), book.dead_letters())
    }

    /// What waits and runs of each function.
    pub(crate) fn depths(&self) -> Vec<Depth> {
        self.book.lock().depths(SystemTime::now())
    }

    /// Takes a call out that has not begun, or a dead letter where those may go. Answers false when it runs
    /// already: it is then stopped, not run again, and its callback not sent. Goes on when the future is dropped.
    ///
    /// # Errors
    /// [`GatewayError::UnknownCall`]; [`GatewayError::CallEnded`]; what the disk says: it may then be
    /// run after a restart.
    pub(crate) async fn cancel(self: &Arc<Self>, id: &str, dead: DeadLetters) -> Result<bool, GatewayError> {
        let cancelled = self.book.lock().cancel(id, dead, (Instant::now(), SystemTime::now()));
        match cancelled {
            Cancelled::Unknown => Err(GatewayError::UnknownCall(crate::error::excerpt(id))),
            Cancelled::TooLate => Err(GatewayError::CallEnded(crate::error::excerpt(id))),
            Cancelled::Running => Ok(false),
            Cancelled::Out { sequence, file } => {
                self.metrics.completed(metrics::Outcome::Cancelled);
                let queue = self.clone();
                let change = Change::End { sequence, file };
                let written = self.tasks.spawn(async move { queue.disk.write(vec![change]).await }).await;
                match written {
                    Ok(Ok(_)) => Ok(true),
                    Ok(Err(refused)) => Err(refusal::not_written(&refused)),
                    Err(panic) => Err(ProviderError::internal("cancelling an invocation", panic).into()),
                }
            }
        }
    }

    /// Has a dead letter run once more.
    ///
    /// # Errors
    /// [`GatewayError::UnknownCall`]; what the disk says.
    pub(crate) async fn replay(self: &Arc<Self>, id: &str) -> Result<(), GatewayError> {
        let unknown = || GatewayError::UnknownCall(crate::error::excerpt(id));
        let (sequence, starts) = self.book.lock().dead_letter(id).ok_or_else(unknown)?;
        let queue = self.clone();
        let revived = self.tasks.spawn(async move {
            let written = queue.disk.write(vec![Change::Revive { sequence, starts }]).await;
            let revived = written.is_ok() && queue.book.lock().revive(sequence, Instant::now());
            queue.wake.notify_one();
            written.map(|_| revived).map_err(|refused| refusal::not_written(&refused))
        });
        let revived =
            revived.await.map_err(|panic| ProviderError::internal("replaying a dead letter", panic))??;
        if revived { Ok(()) } else { Err(unknown()) }
    }

    /// By function, up to when its schedule was seen to before this start, in Unix seconds. Once.
    pub(crate) fn take_schedules(&self) -> HashMap<String, i64> {
        std::mem::take(&mut self.schedules.lock())
    }

    /// Remembers that a schedule was seen to up to this instant, or forgets it.
    pub(crate) async fn mark_schedule(&self, function: &str, unix_seconds: Option<i64>) {
        let function = function.to_owned();
        let change = match unix_seconds {
            Some(unix_seconds) => Change::Mark { function, unix_seconds },
            None => Change::Unmark { function },
        };
        self.disk.write_later(change).await;
    }

    /// Waits until what was begun is on the disk. For the end of the gateway.
    pub(crate) async fn flush(&self) {
        match tokio::time::timeout(FLUSH_LIMIT, self.disk.write(Vec::new())).await {
            Ok(Ok(_)) => {}
            Ok(Err(refused)) => {
                tracing::error!(error = causes(&*refused), "the queue's last changes are not on the disk");
            }
            Err(_) => {
                tracing::error!(?FLUSH_LIMIT, "the queue's last changes did not reach the disk in time")
            }
        }
    }

    /// A call has ended.
    async fn end(&self, sequence: u64, status: Option<u16>, how: Ended) {
        let outcome = match how {
            Ended::Done => metrics::Outcome::Done,
            Ended::Cancelled => metrics::Outcome::Cancelled,
        };
        self.metrics.completed(outcome);
        let file = self.book.lock().end(sequence, status, how, (Instant::now(), SystemTime::now()));
        self.disk.write_later(Change::End { sequence, file }).await;
        self.wake.notify_one();
    }

    /// A call becomes a dead letter.
    async fn bury(&self, sequence: u64, status: Option<u16>, reason: String) {
        self.metrics.completed(metrics::Outcome::Dead);
        let death = Death { reason, status, at_unix_nanos: unix_nanos(SystemTime::now()) };
        self.disk.write_later(Change::bury(sequence, &death)).await;
        self.book.lock().bury(sequence, death);
        self.wake.notify_one();
    }
}

/// When a time of the wall clock is; `None` when it is past.
fn instant_of(unix_nanos: u64) -> Option<Instant> {
    let at = UNIX_EPOCH + Duration::from_nanos(unix_nanos);
    let wait = at.duration_since(SystemTime::now()).ok().filter(|wait| !wait.is_zero())?;
    // A clock that went back must not hold a call for longer than any retry waits.
    Some(Instant::now() + wait.min(Duration::from_secs(24 * 60 * 60)))
}

#[cfg(test)]
mod tests;
