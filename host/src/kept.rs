//! Instances that are kept for their function's next request, where it asks for that by `bramble.reuse`.
//!
//! A kept instance holds a place of the engine's and its memory, but no slot: nobody waits because of it.
//! Whoever is about to make an instance gives up the one that has been idle longest when the engine
//! would be full otherwise ([`HostKept::make_room`]). The property that must hold: running and kept
//! instances together are never more than the engine's slots.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bramble_provider::{FunctionName, Reuse};
use parking_lot::Mutex;
use wasmtime::Store;
use wasmtime_wasi_http::p2::bindings::Proxy;

use crate::guest::ComponentGuest;
use crate::metrics::{HostMetrics, ReuseMetrics};
use crate::slots::Slots;

/// An instance that has served a request well.
pub(crate) struct Instance {
    pub(crate) store: Store<ComponentGuest>,
    pub(crate) proxy: Proxy,
    /// Requests that it has served.
    pub(crate) served: u32,
}

/// The kept instances of one revision of a function.
pub(crate) struct Kept {
    policy: Reuse,
    host: Arc<HostKept>,
    metrics: ReuseMetrics,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// Those that are idle, the one that has been so longest in front.
    instances: VecDeque<(Instant, Instance)>,
    /// Most of them: the function's slots; 0 once the revision is replaced.
    limit: usize,
    /// Whether a task watches for those that were idle for too long.
    watched: bool,
}

impl Kept {
    pub(crate) fn new(
        policy: Reuse,
        host: &Arc<HostKept>,
        metrics: &HostMetrics,
        name: &FunctionName,
    ) -> Arc<Self> {
        let metrics = metrics.reuse(name.as_str());
        let kept = Arc::new(Self { policy, host: Arc::clone(host), metrics, idle: Mutex::default() });
        host.add(&kept);
        kept
    }

    /// The instance that was busy last: most of its memory is still in the processor's caches.
    pub(crate) fn take(&self) -> Option<Instance> {
        let mut idle = self.idle.lock();
        let (_, instance) = idle.instances.pop_back()?;
        self.host.idle.fetch_sub(1, SeqCst);
        drop(idle);
        self.metrics.idle.dec();
        self.metrics.reused.inc();
        Some(instance)
    }

    /// Counts an instance that was made for a request.
    pub(crate) fn made(&self) {
        self.metrics.created.inc();
    }

    /// Keeps an instance for the next request, unless it has served enough or the function has no slot for it.
    ///
    /// Call it while the slot is held in which the instance ran.
    pub(crate) fn put(self: &Arc<Self>, instance: Instance) {
        if instance.served >= self.policy.requests.get() {
            return;
        }
        let now = Instant::now();
        let mut idle = self.idle.lock();
        if idle.instances.len() >= idle.limit {
            return;
        }
        idle.instances.push_back((now, instance));
        self.host.idle.fetch_add(1, SeqCst);
        let watched = std::mem::replace(&mut idle.watched, true);
        drop(idle);
        self.metrics.idle.inc();
        if !watched {
            tokio::spawn(watch(Arc::downgrade(self), self.policy.idle, now));
        }
    }

    /// Sets how many may be kept, and gives up those that are too many.
    pub(crate) fn keep_at_most(&self, limit: u32) {
        let limit = limit as usize;
        self.idle.lock().limit = limit;
        self.give_up(|idle| idle.instances.len() > limit);
    }

    /// Gives up the instances that have been idle for long enough; answers when to look again, if ever.
    fn expire(&self, now: Instant) -> Option<Instant> {
        let expired = |since: Instant| now.duration_since(since) >= self.policy.idle;
        self.give_up(|idle| idle.instances.front().is_some_and(|(since, _)| expired(*since)));
        let mut idle = self.idle.lock();
        let next = idle.instances.front().map(|(since, _)| *since);
        idle.watched = next.is_some();
        next
    }

    /// Gives up the oldest for as long as `more` says.
    fn give_up(&self, more: impl Fn(&Idle) -> bool) {
        let _alone = self.host.giving_up.lock();
        loop {
            let mut idle = self.idle.lock();
            let gone = if more(&idle) { idle.instances.pop_front() } else { None };
            drop(idle);
            let Some(instance) = gone else { return };
            self.drop_idle(instance);
        }
    }

    /// Its place is free when it is gone, and not before.
    fn drop_idle(&self, instance: (Instant, Instance)) {
        drop(instance);
        self.host.idle.fetch_sub(1, SeqCst);
        self.metrics.idle.dec();
    }

    fn oldest(&self) -> Option<Instant> {
        self.idle.lock().instances.front().map(|(since, _)| *since)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _alone = self.host.giving_up.lock();
        let left = std::mem::take(&mut self.idle.get_mut().instances);
        left.into_iter().for_each(|instance| self.drop_idle(instance));
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let idle = self.idle.lock();
        f.debug_struct("Kept").field("policy", &self.policy).field("idle", &idle.instances.len()).finish()
    }
}

/// Ends with the last instance that is kept, or with its revision.
async fn watch(kept: Weak<Kept>, time: Duration, mut since: Instant) {
    loop {
        tokio::time::sleep_until((since + time).into()).await;
        let Some(kept) = kept.upgrade() else { return };
        let Some(next) = kept.expire(Instant::now()) else { return };
        since = next;
    }
}

/// The kept instances of all functions.
#[derive(Debug, Default)]
pub(crate) struct HostKept {
    /// How many there are, one that is being dropped included.
    idle: AtomicU32,
    all: Mutex<Vec<Weak<Kept>>>,
    /// Held while one is given up, so that whoever looks for room sees them counted right.
    giving_up: Mutex<()>,
}

impl HostKept {
    /// Sees to it that one more instance fits beside those kept. Call it holding a slot of `slots`,
    /// before the instance is made.
    ///
    /// Without kept instances this is one look at a counter.
    pub(crate) fn make_room(&self, slots: &Slots) {
        // Each round gives one up, or saw somebody else take or keep one.
        for _ in 0..=slots.desired() {
            let idle = self.idle.load(SeqCst);
            if idle == 0 || slots.busy().saturating_add(idle) <= slots.desired() {
                return;
            }
            self.give_up_oldest();
        }
    }

    fn add(&self, kept: &Arc<Kept>) {
        let mut all = self.all.lock();
        all.retain(|kept| kept.strong_count() > 0);
        all.push(Arc::downgrade(kept));
    }

    fn give_up_oldest(&self) {
        // Outlives the lock: whoever is the last to know of a function's instances takes it too.
        let all: Vec<_> = self.all.lock().iter().filter_map(Weak::upgrade).collect();
        let _alone = self.giving_up.lock();
        let oldest =
            all.iter().filter_map(|kept| Some((kept.oldest()?, kept))).min_by_key(|(since, _)| *since);
        let Some((_, kept)) = oldest else { return };
        // It may have been taken in the meantime.
        let instance = kept.idle.lock().instances.pop_front();
        if let Some(instance) = instance {
            kept.drop_idle(instance);
        }
    }
}
