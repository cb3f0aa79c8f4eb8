//! The clock that makes running guests give way: one thread adds one to the engine's epoch.

use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use wasmtime::Engine;

/// Time between two ticks: how long a busy guest may hold its thread before others get a turn.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// The ticking thread; dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct EpochTicker {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl EpochTicker {
    /// Starts ticking.
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let stopped = Arc::clone(&stop);
        let engine = engine.weak();
        let thread = std::thread::Builder::new().name("epoch".into()).spawn(move || {
            let (flag, changed) = &*stopped;
            let mut flag = flag.lock();
            while !*flag {
                changed.wait_for(&mut flag, TICK);
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for EpochTicker {
    fn drop(&mut self) {
        *self.stop.0.lock() = true;
        self.stop.1.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
