//! The threads that serve connections, each with a runtime of its own.
//!
//! A request stays on one thread from its first byte to its last, so nothing of it wakes another
//! thread: with a shared runtime that costs about 20 µs of 150. More than one thread is needed because
//! starting a process blocks its thread until the new program is loaded.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

/// How long blocking work, which only `mode=static` has, is waited for at the end.
const END_PATIENCE: Duration = Duration::from_millis(100);
/// Far more than the deepest call needs.
const STACK_BYTES: usize = 512 << 10;

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The threads. Dropping them ends what still runs on them.
#[derive(Debug)]
pub(crate) struct Workers(Vec<Worker>);

struct Worker {
    /// `None` once it is to end. What waits in it is bounded by the callers.
    jobs: Option<mpsc::UnboundedSender<Job>>,
    open: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

/// A runtime for one thread.
///
/// # Errors
/// The kernel refuses an `epoll`.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().max_blocking_threads(4).enable_all().build()
}

impl Workers {
    /// Starts so many threads.
    ///
    /// # Errors
    /// The kernel refuses one.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        (0..count).map(|_| Worker::start()).collect::<io::Result<_>>().map(Self)
    }

    /// Runs a job on the thread with the fewest.
    pub(crate) fn spawn(&self, job: impl Future<Output = ()> + Send + 'static) {
        let Some(worker) = self.0.iter().min_by_key(|worker| worker.open.load(Ordering::Relaxed)) else {
            return;
        };
        let place = Place::take(&worker.open);
        let job = Box::pin(async move {
            job.await;
            drop(place);
        });
        if let Some(jobs) = &worker.jobs {
            // Fails only when the thread has died, which the missing answer tells.
            let _ = jobs.send(job);
        }
    }
}

impl Worker {
    fn start() -> io::Result<Self> {
        let runtime = runtime()?;
        let (jobs, mut waiting) = mpsc::unbounded_channel::<Job>();
        let serve = move || {
            runtime.block_on(async {
                while let Some(job) = waiting.recv().await {
                    tokio::spawn(job);
                }
            });
            runtime.shutdown_timeout(END_PATIENCE);
        };
        let thread =
            std::thread::Builder::new().name("worker".to_owned()).stack_size(STACK_BYTES).spawn(serve)?;
        Ok(Self { jobs: Some(jobs), open: Arc::default(), thread: Some(thread) })
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.0 {
            worker.jobs = None;
        }
        for thread in self.0.iter_mut().filter_map(|worker| worker.thread.take()) {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("open", &self.open).finish_non_exhaustive()
    }
}

/// One job's place on its thread, given back when it is dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
