//! `prefork`: processes that are started before their request and wait on stdin.
//!
//! Start-up leaves the request's path; every request still gets a process of its own. Only processes
//! whose environment does not depend on the request can be started ahead.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::launcher::{Launcher, Started, Stdin};
use crate::log::log;

/// The waiting processes.
#[derive(Debug)]
pub(crate) struct Prefork {
    launcher: Arc<Launcher>,
    size: usize,
    /// The oldest in front: it has had the most time to start.
    waiting: Mutex<VecDeque<Started>>,
    refilling: AtomicBool,
    useless: AtomicBool,
}

impl Prefork {
    /// Starts the first `size` processes beside whatever else goes on.
    pub(crate) fn start(launcher: Arc<Launcher>, size: usize) -> Arc<Self> {
        log!("Prefork: keeping {size} processes of {} started.", launcher.name());
        let prefork = Arc::new(Self {
            launcher,
            size,
            waiting: Mutex::default(),
            refilling: AtomicBool::new(false),
            useless: AtomicBool::new(false),
        });
        prefork.refill();
        prefork
    }

    /// A process that waits for its stdin, and another one started in its place; `None` when all are in use.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Started> {
        let taken = loop {
            let Some(mut started) = self.waiting.lock().pop_front() else { break None };
            match started.process.try_wait() {
                Ok(None) => break Some(started),
                Ok(Some(status)) if status.success() => self.give_up(),
                Ok(Some(status)) => {
                    log!("Prefork: a waiting process ended: {}.", crate::process::describe(status));
                }
                Err(error) => log!("Prefork: cannot watch a waiting process: {error}."),
            }
        };
        self.refill();
        taken
    }

    /// A program that ends by itself has run without a request: that must not go on.
    fn give_up(&self) {
        if !self.useless.swap(true, Ordering::Relaxed) {
            log!(
                "Prefork: {} ended before it got a request: it does not wait for stdin, so prefork is off.",
                self.launcher.name()
            );
        }
        self.waiting.lock().clear();
    }

    /// Starts what is missing, in one task at a time. A failure waits for the next request.
    fn refill(self: &Arc<Self>) {
        if self.refilling.swap(true, Ordering::AcqRel) {
            return;
        }
        let prefork = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                let filled = prefork.fill().await;
                prefork.refilling.store(false, Ordering::Release);
                // What was taken between the last look and now found the task still running.
                if !filled || prefork.is_full() || prefork.refilling.swap(true, Ordering::AcqRel) {
                    return;
                }
            }
        });
    }

    /// Starts processes until enough wait; false when one does not start.
    async fn fill(&self) -> bool {
        while !self.is_full() {
            match self.launcher.start([], Stdin::Open) {
                Ok(started) => self.waiting.lock().push_back(started),
                Err(error) => {
                    log!("Prefork: {error}.");
                    return false;
                }
            }
            tokio::task::yield_now().await;
        }
        true
    }

    fn is_full(&self) -> bool {
        self.useless.load(Ordering::Relaxed) || self.waiting.lock().len() >= self.size
    }

    /// Ends the waiting processes.
    pub(crate) fn stop(&self) {
        self.useless.store(true, Ordering::Relaxed);
        self.waiting.lock().clear();
    }
}
