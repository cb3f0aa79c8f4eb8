//! Compiling off the request path: few modules at once, on threads of low priority.

use std::sync::Arc;

use bramble_provider::ProviderError;
use bytes::Bytes;
use tokio::sync::Semaphore;
use wasmtime::Engine;

use crate::error::HostError;
use crate::inspect::GuestKind;

/// Niceness of the compiling threads: they take what running functions leave over.
const NICENESS: i32 = 15;

/// Threads that compile, and a bound on how many modules they are given at once.
pub(crate) struct Compiler {
    threads: Arc<rayon::ThreadPool>,
    jobs: Arc<Semaphore>,
}

impl Compiler {
    /// Starts the threads, one for two cores. Linux lets even a nice thread run to the end of its slice,
    /// some 3 ms, before one that woke gets its core. On the cores that have none nobody waits.
    pub(crate) fn start(jobs: usize) -> Result<Self, HostError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads((cores / 2).max(1))
            .thread_name(|at| format!("compile-{at}"))
            .start_handler(|_| lower_priority())
            .build()
            .map_err(|error| HostError::Thread(std::io::Error::other(error)))?;
        Ok(Self { threads: Arc::new(threads), jobs: Arc::new(Semaphore::new(jobs.max(1))) })
    }

    /// Compiles a module or component to code for this engine. Waits its turn.
    pub(crate) async fn compile(
        &self,
        engine: &Engine,
        wasm: Bytes,
        kind: GuestKind,
    ) -> Result<Vec<u8>, ProviderError> {
        let engine = engine.clone();
        let code = self.run("compiling a module", move || match kind {
            GuestKind::CommandModule => engine.precompile_module(&wasm),
            GuestKind::CommandComponent | GuestKind::HttpComponent => engine.precompile_component(&wasm),
        });
        code.await?
            .map_err(|error| ProviderError::InvalidModule(format!("the module does not compile: {error:#}")))
    }

    /// Does something on a thread of low priority. Waits its turn.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ProviderError> {
        let turn = Arc::clone(&self.jobs).acquire_owned().await.expect("the semaphore is never closed");
        let (done, result) = tokio::sync::oneshot::channel();
        self.threads.spawn(move || {
            // Nobody may be waiting any more; the work is then lost, nothing else. The turn ends
            // with the work, not with the wait, so the bound holds either way.
            let _ = done.send(work());
            drop(turn);
        });
        result.await.map_err(|_| ProviderError::internal(what, "it panicked"))
    }
}

impl std::fmt::Debug for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiler").field("free_jobs", &self.jobs.available_permits()).finish_non_exhaustive()
    }
}

fn lower_priority() {
    // On Linux a thread's id stands for its process id in this call, so only this thread is changed.
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), NICENESS) {
        tracing::debug!(%error, "compiling at normal priority");
    }
}
