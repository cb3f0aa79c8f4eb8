//! Slots: how many invocations run at once, and who waits.
//!
//! Taking and giving back a free slot is two atomic operations and no lock. Only when all are busy
//! does an invocation queue, in order of arrival, up to a bound and for a bounded time. The same
//! type bounds a function (its replicas) and the host (the engine's pool).

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::sharded::Alone;

/// A set of slots whose number can change at any time.
#[derive(Debug)]
pub(crate) struct Slots {
    desired: AtomicU32,
    /// The one thing here that every invocation writes: whoever reads the rest does not wait for it.
    busy: Alone<AtomicU32>,
    queued: AtomicU32,
    queue_limit: u32,
    waiting: Mutex<VecDeque<oneshot::Sender<()>>>,
}

/// Why no slot was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoSlot {
    pub(crate) inflight: u32,
    pub(crate) queued: u32,
}

impl Slots {
    pub(crate) fn new(desired: u32, queue_limit: u32) -> Self {
        Self {
            desired: AtomicU32::new(desired),
            busy: Alone(AtomicU32::new(0)),
            queued: AtomicU32::new(0),
            queue_limit,
            waiting: Mutex::default(),
        }
    }

    pub(crate) fn desired(&self) -> u32 {
        self.desired.load(SeqCst)
    }

    pub(crate) fn busy(&self) -> u32 {
        self.busy.0.load(SeqCst)
    }

    pub(crate) fn queued(&self) -> u32 {
        self.queued.load(SeqCst)
    }

    /// Changes how many slots there are. Fewer ends no running invocation; more admits from the queue.
    pub(crate) fn resize(&self, desired: u32) {
        self.desired.store(desired, SeqCst);
        self.admit_waiting();
    }

    /// Takes a slot, waiting in the queue for at most `wait`; answers what is left of that. The slot is given
    /// back with [`Self::release`].
    ///
    /// Dropping the future leaves the queue, and gives back a slot that was just handed over.
    pub(crate) async fn acquire(&self, wait: Duration) -> Result<Duration, NoSlot> {
        if self.take_free() {
            return Ok(wait);
        }
        Box::pin(self.queue(wait)).await
    }

    /// Takes a slot if one is free and nobody waits: nobody overtakes the queue.
    pub(crate) fn take_free(&self) -> bool {
        self.queued.load(SeqCst) == 0 && self.try_take()
    }

    /// As [`Self::acquire`], where none was free.
    pub(crate) async fn queue(&self, wait: Duration) -> Result<Duration, NoSlot> {
        let began = Instant::now();
        let place = self.enqueue()?;
        let refused = NoSlot { inflight: self.busy(), queued: self.queued() };
        tokio::time::timeout(wait, place).await.map_err(|_| refused)?;
        Ok(wait.saturating_sub(began.elapsed()))
    }

    /// Gives a slot back, to the next in the queue if there is one.
    pub(crate) fn release(&self) {
        self.busy.0.fetch_sub(1, SeqCst);
        if self.queued.load(SeqCst) > 0 {
            self.admit_waiting();
        }
    }

    fn try_take(&self) -> bool {
        // A guess instead of a look: looking would fetch the cache line once to read it and once more
        // to write it. A wrong guess costs nothing but the second try.
        let mut busy = 0;
        while busy < self.desired.load(SeqCst) {
            match self.busy.0.compare_exchange_weak(busy, busy + 1, SeqCst, SeqCst) {
                Ok(_) => return true,
                Err(now) => busy = now,
            }
        }
        false
    }

    fn enqueue(&self) -> Result<QueuePlace<'_>, NoSlot> {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= self.queue_limit as usize {
            // Those that gave up are still in the list; they do not count.
            waiting.retain(|waiter| !waiter.is_closed());
        }
        if waiting.len() >= self.queue_limit as usize {
            return Err(NoSlot { inflight: self.busy(), queued: self.queued() });
        }
        let (sender, receiver) = oneshot::channel();
        waiting.push_back(sender);
        self.queued.fetch_add(1, SeqCst);
        drop(waiting);
        let place = QueuePlace { slots: self, receiver, served: false };
        // A slot may have come free between the first look and the entry in the queue; whoever
        // freed it either saw this entry or is seen here.
        self.admit_waiting();
        Ok(place)
    }

    fn admit_waiting(&self) {
        loop {
            let mut waiting = self.waiting.lock();
            if waiting.is_empty() || !self.try_take() {
                return;
            }
            let sender = waiting.pop_front().expect("it is not empty, and the lock is held");
            drop(waiting);
            if sender.send(()).is_err() {
                // It gave up; the slot is for the next in the list.
                self.busy.0.fetch_sub(1, SeqCst);
            }
        }
    }
}

/// A place in the queue: resolves when a slot was taken on its behalf.
struct QueuePlace<'a> {
    slots: &'a Slots,
    receiver: oneshot::Receiver<()>,
    served: bool,
}

impl Future for QueuePlace<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // The sender is never dropped unsent: it is in the list until a slot is handed over.
        let handed = std::task::ready!(Pin::new(&mut self.receiver).poll(cx));
        self.served = handed.is_ok();
        Poll::Ready(())
    }
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        self.slots.queued.fetch_sub(1, SeqCst);
        if !self.served {
            self.receiver.close();
            // Handed over at the last moment, to nobody.
            if self.receiver.try_recv().is_ok() {
                self.slots.release();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn gives_no_more_slots_than_there_are() {
        let slots = Slots::new(2, 0);
        assert_eq!(slots.acquire(LONG).await, Ok(LONG));
        assert_eq!(slots.acquire(LONG).await, Ok(LONG));
        assert_eq!(slots.acquire(LONG).await.unwrap_err(), NoSlot { inflight: 2, queued: 0 });
        slots.release();
        assert!(slots.acquire(LONG).await.is_ok());
    }

    #[tokio::test]
    async fn the_queue_is_served_in_order() {
        let slots = Arc::new(Slots::new(1, 8));
        slots.acquire(LONG).await.unwrap();
        let (order, mut served) = tokio::sync::mpsc::unbounded_channel();
        for at in 0..3 {
            let (waiting, sender) = (Arc::clone(&slots), order.clone());
            tokio::spawn(async move {
                waiting.acquire(LONG).await.unwrap();
                sender.send(at).unwrap();
                waiting.release();
            });
            while slots.queued() <= at {
                tokio::task::yield_now().await;
            }
        }
        slots.release();
        for at in 0..3 {
            assert_eq!(served.recv().await, Some(at));
        }
    }

    #[tokio::test]
    async fn more_slots_admit_the_queue_and_fewer_end_nobody() {
        let slots = Arc::new(Slots::new(0, 8));
        let waiting = tokio::spawn({
            let slots = Arc::clone(&slots);
            async move { slots.acquire(LONG).await }
        });
        while slots.queued() == 0 {
            tokio::task::yield_now().await;
        }
        slots.resize(1);
        let left = waiting.await.unwrap().unwrap();
        assert!(left < LONG, "what was waited is gone");
        slots.resize(0);
        assert_eq!(slots.busy(), 1);
        slots.release();
        assert_eq!(slots.busy(), 0);
    }

    #[tokio::test]
    async fn a_wait_that_is_too_long_is_refused_and_leaves_the_queue() {
        let slots = Slots::new(0, 1);
        assert!(slots.acquire(Duration::from_millis(1)).await.is_err());
        assert_eq!(slots.queued(), 0);
        // Its place in the list does not count against the next.
        assert!(slots.acquire(Duration::from_millis(1)).await.is_err());
        slots.resize(1);
        assert!(slots.acquire(LONG).await.is_ok());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_slot_is_lost_under_contention() {
        let slots = Arc::new(Slots::new(3, 10_000));
        let tasks = (0..200).map(|at| {
            let slots = Arc::clone(&slots);
            tokio::spawn(async move {
                for _ in 0..50 {
                    // Every third gives up early, so that abandoned places are met too.
                    let wait = if at % 3 == 0 { Duration::from_micros(50) } else { LONG };
                    let taken = slots.acquire(wait).await.is_ok();
                    assert!(slots.busy() <= 3);
                    tokio::task::yield_now().await;
                    if taken {
                        slots.release();
                    }
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert_eq!((slots.busy(), slots.queued()), (0, 0));
        assert!(slots.acquire(LONG).await.is_ok());
    }
}
