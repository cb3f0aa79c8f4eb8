//! Whether the watchdog takes requests, and the lock file that says so.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::log::log;

const STARTING: u8 = 0;
const ACCEPTING: u8 = 1;
const DRAINING: u8 = 2;

/// The state behind `/_/health`: starting, accepting, draining, in this order.
#[derive(Debug)]
pub(crate) struct Health {
    lock: Option<PathBuf>,
    state: AtomicU8,
}

impl Health {
    /// Starting, with a lock file to be written unless it is suppressed.
    pub(crate) fn new(lock: Option<PathBuf>) -> Self {
        Self { lock, state: AtomicU8::new(STARTING) }
    }

    /// Begins to accept and writes the lock file.
    ///
    /// # Errors
    /// The lock file cannot be written.
    pub(crate) fn accept(&self) -> io::Result<()> {
        if let Some(lock) = &self.lock {
            log!("Writing lock-file to: {}", lock.display());
            if let Some(directory) = lock.parent() {
                // An empty image has no /tmp.
                std::fs::create_dir_all(directory)?;
            }
            std::fs::write(lock, b"")?;
        }
        self.state.store(ACCEPTING, Ordering::Release);
        Ok(())
    }

    /// Begins to drain and removes the lock file.
    pub(crate) fn drain(&self) {
        self.state.store(DRAINING, Ordering::Release);
        if let Some(lock) = &self.lock {
            // Whoever removed it before had the same wish.
            let _ = std::fs::remove_file(lock);
        }
    }

    /// Whether requests are taken. Removing the lock file by hand takes the function out of service.
    pub(crate) fn is_accepting(&self) -> bool {
        self.state.load(Ordering::Acquire) == ACCEPTING && self.lock.as_ref().is_none_or(|lock| lock.exists())
    }

    /// Whether the watchdog is about to end.
    pub(crate) fn is_draining(&self) -> bool {
        self.state.load(Ordering::Acquire) == DRAINING
    }
}
