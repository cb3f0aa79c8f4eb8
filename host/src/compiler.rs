//! Compiling off the request path: few modules at once, at low priority, in a process of its own where there is one.

pub(crate) mod process;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bramble_provider::ProviderError;
use bytes::Bytes;
use tokio::sync::Semaphore;
use wasmtime::Engine;

use crate::error::HostError;
use crate::inspect::GuestKind;
use process::Processes;

/// Niceness of the compiling threads: they take what running functions leave over.
const NICENESS: i32 = 15;

/// Longest wait for a turn: several large modules on a small board.
const TURN_WAIT: Duration = Duration::from_secs(5 * 60);
/// When a client whose module had no turn may try again.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Threads that compile, and a bound on how many modules they are given at once.
pub(crate) struct Compiler {
    threads: Arc<rayon::ThreadPool>,
    jobs: Arc<Semaphore>,
    turn_wait: Duration,
    processes: Option<Arc<Processes>>,
}

/// Why a module has no code.
#[derive(Debug)]
enum NoCode {
    /// The compiler refused it.
    Refused(String),
    /// The process that compiled it did not come to an end.
    Ended(String),
}

impl Compiler {
    /// Starts the threads, one for two cores. Linux lets even a nice thread run to the end of its slice,
    /// some 3 ms, before one that woke gets its core. On the cores that have none nobody waits.
    ///
    /// `program` is what is started with [`process::VERB`] to compile for the engine of this fingerprint, which
    /// has a pool or not; without one this process compiles.
    pub(crate) fn start(
        jobs: usize,
        program: Option<PathBuf>,
        (pooled, fingerprint): (bool, &str),
    ) -> Result<Self, HostError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = (cores / 2).max(1);
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|at| format!("compile-{at}"))
            .start_handler(|_| lower_priority())
            // Without one a panic here would end the process; who waits learns of it from what was dropped.
            .panic_handler(|_| tracing::error!("a thread that compiles panicked"))
            .build()
            .map_err(|error| HostError::Thread(std::io::Error::other(error)))?;
        let processes = program.map(|program| Arc::new(Processes::new(program, pooled, fingerprint, count)));
        let jobs = Arc::new(Semaphore::new(jobs.max(1)));
        Ok(Self { threads: Arc::new(threads), jobs, turn_wait: TURN_WAIT, processes })
    }

    /// Compiles a module or component to code for this engine. Waits its turn.
    ///
    /// # Errors
    /// Those of [`Self::run`], and [`ProviderError::InvalidModule`].
    pub(crate) async fn compile(
        &self,
        engine: &Engine,
        wasm: Bytes,
        kind: GuestKind,
    ) -> Result<Vec<u8>, ProviderError> {
        let (engine, processes) = (engine.clone(), self.processes.clone());
        let code = self.run("compiling a module", move || {
            let elsewhere = processes.and_then(|processes| processes.compile(&wasm, kind));
            let here =
                || precompile(&engine, &wasm, kind).map_err(|error| NoCode::Refused(format!("{error:#}")));
            elsewhere.unwrap_or_else(here)
        });
        code.await?.map_err(|no_code| match no_code {
            NoCode::Refused(reason) => {
                ProviderError::InvalidModule(format!("the module does not compile: {reason}"))
            }
            NoCode::Ended(reason) => ProviderError::internal("compiling a module", reason),
        })
    }

    /// Does something on a thread of low priority. Waits its turn.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`] when others compile for longer than anybody waits.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ProviderError> {
        let turn = tokio::time::timeout(self.turn_wait, Arc::clone(&self.jobs).acquire_owned()).await;
        let turn = turn.map_err(|_| self.no_turn())?.expect("the semaphore is never closed");
        let (done, result) = tokio::sync::oneshot::channel();
        self.threads.spawn(move || {
            // Nobody may be waiting any more; the work is then lost, nothing else. The turn ends
            // with the work, not with the wait, so the bound holds either way.
            let _ = done.send(work());
            drop(turn);
        });
        result.await.map_err(|_| ProviderError::internal(what, "it panicked"))
    }

    fn no_turn(&self) -> ProviderError {
        ProviderError::Unavailable {
            provider: "the compiler",
            reason: format!("it was busy with other modules for {:?}", self.turn_wait),
            retry_after: RETRY_AFTER,
        }
    }
}

impl std::fmt::Debug for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiler").field("free_jobs", &self.jobs.available_permits()).finish_non_exhaustive()
    }
}

fn precompile(engine: &Engine, wasm: &[u8], kind: GuestKind) -> wasmtime::Result<Vec<u8>> {
    match kind {
        GuestKind::CommandModule => engine.precompile_module(wasm),
        GuestKind::CommandComponent | GuestKind::HttpComponent => engine.precompile_component(wasm),
    }
}

fn lower_priority() {
    // On Linux a thread's id stands for its process id in this call, so only this thread is changed.
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), NICENESS) {
        tracing::debug!(%error, "compiling at normal priority");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_and_the_next_is_compiled() {
        let compiler = Compiler::start(1, None, (true, "")).unwrap();
        let told = compiler.run("compiling a module", || panic!("as a test")).await;
        assert!(matches!(told, Err::<(), _>(ProviderError::Internal { .. })), "{told:?}");
        assert_eq!(compiler.run("compiling a module", || 7).await.unwrap(), 7);
    }

    /// One with more threads than turns: what it keeps from running is not kept by want of a thread.
    fn with_turns(jobs: usize, turn_wait: Duration) -> Arc<Compiler> {
        let threads = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(8).build().unwrap());
        Arc::new(Compiler { threads, jobs: Arc::new(Semaphore::new(jobs)), turn_wait, processes: None })
    }

    #[tokio::test]
    async fn no_more_compile_at_once_than_there_are_turns() {
        const TURNS: usize = 2;
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (compiler, together) = (with_turns(TURNS, TURN_WAIT), Arc::new(Barrier::new(TURNS)));
        let work = |_| {
            let (compiler, together) = (Arc::clone(&compiler), Arc::clone(&together));
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            tokio::spawn(async move {
                let work = move || {
                    most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                    // As many as may do run at once, and others could come in.
                    together.wait();
                    running.fetch_sub(1, SeqCst);
                };
                compiler.run("compiling a module", work).await.unwrap();
            })
        };
        for task in (0..50 * TURNS).map(work).collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert_eq!(most.load(SeqCst), TURNS);
    }

    #[tokio::test]
    async fn a_wait_for_a_turn_has_an_end() {
        let compiler = with_turns(1, Duration::from_millis(10));
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (begun, running) = tokio::sync::oneshot::channel();
        let first = {
            let compiler = Arc::clone(&compiler);
            tokio::spawn(async move {
                let work = move || {
                    begun.send(()).unwrap();
                    held.recv().unwrap();
                };
                compiler.run("compiling a module", work).await
            })
        };
        running.await.unwrap();
        let refused = compiler.run("compiling a module", || ()).await;
        assert!(matches!(refused, Err(ProviderError::Unavailable { .. })), "{refused:?}");
        release.send(()).unwrap();
        first.await.unwrap().unwrap();
    }
}
