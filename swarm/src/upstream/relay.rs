//! Wakes whoever polls a connection at the moment, and nobody in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use futures_util::task::AtomicWaker;

/// A connection's own waker, which passes a wake on to the task that has the connection.
///
/// A connection goes from task to task, and hyper's parts wake each other while one task polls them
/// all. With the tasks' own wakers each of that would be a needless turn of some task, most of all of
/// the one that runs, which tokio then hands to another thread.
#[derive(Debug, Default)]
pub(super) struct Relay {
    target: AtomicWaker,
    woken: AtomicBool,
}

impl Relay {
    /// From now on wakes `task`.
    pub(super) fn arm(&self, task: &Waker) {
        self.target.register(task);
    }

    /// From now on wakes nobody.
    pub(super) fn disarm(&self) {
        drop(self.target.take());
    }

    /// Whether anything was to be woken since this was last asked.
    pub(super) fn take_woken(&self) -> bool {
        self.woken.swap(false, Ordering::Acquire)
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Before the look at the target: who arms it and then finds nothing woken may go to sleep.
        self.woken.store(true, Ordering::Release);
        self.target.wake();
    }
}
