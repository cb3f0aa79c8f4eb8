//! Compiling off the request path: few modules at once, on threads of low priority.

use std::sync::Arc;

use bramble_provider::ProviderError;
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
    /// Starts the threads, one for each core.
    pub(crate) fn start(jobs: usize) -> Result<Self, HostError> {
        let threads = rayon::ThreadPoolBuilder::new()
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
        wasm: Arc<[u8]>,
        kind: GuestKind,
    ) -> Result<Vec<u8>, ProviderError> {
        let turn = Arc::clone(&self.jobs).acquire_owned().await.expect("the semaphore is never closed");
        let (done, result) = tokio::sync::oneshot::channel();
        let engine = engine.clone();
        self.threads.spawn(move || {
            let code = match kind {
                GuestKind::CommandModule => engine.precompile_module(&wasm),
                GuestKind::CommandComponent | GuestKind::HttpComponent => engine.precompile_component(&wasm),
            };
            // Nobody may be waiting any more; the work is then lost, nothing else. The turn ends
            // with the work, not with the wait, so the bound holds either way.
            let _ = done.send(code);
            drop(turn);
        });
        result
            .await
            .map_err(|_| ProviderError::internal("compiling a module", "the compiler panicked"))?
            .map_err(|error| ProviderError::InvalidModule(format!("the module does not compile: {error:#}")))
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
