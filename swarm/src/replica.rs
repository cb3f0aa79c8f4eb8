//! One replica: a task that runs, the connections to it, and whether it may be used now.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::upstream::Upstream;

/// How long a replica that the Swarm no longer wants is still asked when there is no other. The
/// Swarm tells its process to stop 3 s after it decided, and a watchdog finishes what it has begun.
const LAST_SERVICE: Duration = Duration::from_millis(2_000);

/// What may be done with a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// It takes requests.
    Ready = 0,
    /// It is about to be paused, if nothing runs on it.
    Freezing = 1,
    /// It is paused.
    Frozen = 2,
    /// It is about to run again.
    Thawing = 3,
    /// The Swarm does not want it any more; it takes requests for a moment.
    Leaving = 4,
}

impl Phase {
    fn of(number: u8) -> Self {
        match number {
            0 => Self::Ready,
            1 => Self::Freezing,
            2 => Self::Frozen,
            3 => Self::Thawing,
            _ => Self::Leaving,
        }
    }
}

/// A task that answered its first probe.
pub(crate) struct Replica {
    /// The task's id.
    pub(crate) task: Arc<str>,
    /// The node it is on.
    pub(crate) node: Arc<str>,
    /// Its container.
    pub(crate) container: Arc<str>,
    upstream: Upstream,
    phase: AtomicU8,
    load: AtomicU32,
    leaving_since: Mutex<Option<Instant>>,
    touched: Mutex<Option<Instant>>,
    /// Of its node; a child, so that requests on replicas of one node share nothing.
    loss: CancellationToken,
}

/// One request on a replica, until it is dropped.
pub(crate) struct Claim(Arc<Replica>);

impl Replica {
    pub(crate) fn new(
        task: Arc<str>,
        node: Arc<str>,
        container: Arc<str>,
        upstream: Upstream,
        phase: Phase,
        loss: CancellationToken,
    ) -> Self {
        Self {
            task,
            node,
            container,
            upstream,
            phase: AtomicU8::new(phase as u8),
            load: AtomicU32::new(0),
            leaving_since: Mutex::new(None),
            touched: Mutex::new(None),
            loss,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        Phase::of(self.phase.load(SeqCst))
    }

    /// Requests on it.
    pub(crate) fn load(&self) -> u32 {
        self.load.load(SeqCst)
    }

    /// Takes a place on it, while it takes requests.
    fn claim(self: &Arc<Self>) -> Option<Claim> {
        // Counted before the phase is read, as a freeze changes the phase before it reads the count:
        // at least one of the two sees the other.
        self.load.fetch_add(1, SeqCst);
        let claim = Claim(Arc::clone(self));
        matches!(self.phase(), Phase::Ready | Phase::Leaving).then_some(claim)
    }

    /// Moves from one phase to another; false when it was in a third.
    pub(crate) fn advance(&self, from: Phase, to: Phase) -> bool {
        self.phase.compare_exchange(from as u8, to as u8, SeqCst, SeqCst).is_ok()
    }

    /// We are about to pause or unpause it.
    pub(crate) fn touch(&self) {
        *self.touched.lock() = Some(Instant::now());
    }

    /// When we last began to pause or unpause it.
    pub(crate) fn touched(&self) -> Option<Instant> {
        *self.touched.lock()
    }

    /// Does something unless we began to pause or unpause it since `touched`. Who begins meanwhile waits, and so never
    /// finds its own phase changed by what was seen before.
    pub(crate) fn if_untouched(&self, touched: Option<Instant>, change: impl FnOnce(&Self) -> bool) -> bool {
        let last = self.touched.lock();
        *last == touched && change(self)
    }

    /// Begins to freeze it: only when it is ready and nothing runs on it.
    pub(crate) fn begin_freeze(&self) -> bool {
        if !self.advance(Phase::Ready, Phase::Freezing) {
            return false;
        }
        let idle = self.load() == 0;
        if !idle {
            self.advance(Phase::Freezing, Phase::Ready);
        }
        idle
    }

    /// The Swarm does not want it any more.
    pub(crate) fn leave(&self) {
        self.phase.store(Phase::Leaving as u8, SeqCst);
        self.leaving_since.lock().get_or_insert_with(Instant::now);
    }

    /// Whether its node was lost when it was about to be ready.
    pub(crate) fn is_lost(&self) -> bool {
        self.loss.is_cancelled()
    }

    /// Resolves when its node is lost: whoever waits for its answer waits for nothing.
    pub(crate) async fn lost(&self) {
        self.loss.cancelled().await;
    }

    /// As [`Self::lost`], also after the replica itself is forgotten.
    pub(crate) fn until_lost(&self) -> impl Future<Output = ()> + Send + use<> {
        self.loss.clone().cancelled_owned()
    }

    /// Whether it must not be asked any more, not even for want of another.
    pub(crate) fn has_left(&self) -> bool {
        self.leaving_since.lock().is_some_and(|since| since.elapsed() > LAST_SERVICE)
    }
}

impl Replica {
    /// Whether something at its address answers, and be it a refusal.
    pub(crate) async fn is_within_reach(&self, patience: Duration) -> bool {
        self.upstream.is_within_reach(patience).await
    }

    /// Whether its process answers, that it is ready or that it is not. One that is paused does not.
    pub(crate) async fn is_awake(&self, patience: Duration) -> bool {
        self.upstream.answers(patience).await
    }
}

impl Claim {
    /// The connections to the replica.
    pub(crate) fn upstream(&self) -> &Upstream {
        &self.0.upstream
    }

    /// The replica.
    pub(crate) fn replica(&self) -> &Arc<Replica> {
        &self.0
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, SeqCst);
    }
}

/// The replica with the fewest requests among those that are ready; one that is leaving when there is no other.
pub(crate) fn pick(replicas: &[Arc<Replica>]) -> Option<Claim> {
    // Those with equal loads take turns by chance.
    let start = if replicas.len() > 1 { fastrand::usize(..replicas.len()) } else { 0 };
    let in_turn = || replicas[start..].iter().chain(&replicas[..start]);
    // A replica may be frozen between the look and the claim: look again, as often as there are replicas.
    for _ in 0..=replicas.len() {
        let ready = in_turn().filter(|replica| replica.phase() == Phase::Ready);
        match ready.min_by_key(|replica| replica.load()) {
            None => break,
            Some(replica) => {
                if let Some(claim) = replica.claim() {
                    return Some(claim);
                }
            }
        }
    }
    let leaving = |replica: &&Arc<Replica>| replica.phase() == Phase::Leaving && !replica.has_left();
    in_turn().find(leaving).and_then(Replica::claim)
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica")
            .field("task", &self.task)
            .field("phase", &self.phase())
            .field("load", &self.load())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{Address, Dialer, Path};

    fn replicas(phases: &[Phase]) -> Vec<Arc<Replica>> {
        let replica = |phase| {
            let address = Address { socket: ([127, 0, 0, 1], 9).into(), path: Path::Direct };
            let upstream = Upstream::new(address, Dialer::default());
            Arc::new(Replica::new(
                "t".into(),
                "n".into(),
                "c".into(),
                upstream,
                phase,
                CancellationToken::new(),
            ))
        };
        phases.iter().copied().map(replica).collect()
    }

    #[test]
    fn the_least_loaded_is_picked() {
        let replicas = replicas(&[Phase::Ready, Phase::Frozen, Phase::Ready]);
        let claims: Vec<_> = (0..10).map(|_| pick(&replicas).unwrap()).collect();
        assert_eq!((replicas[0].load(), replicas[1].load(), replicas[2].load()), (5, 0, 5));
        drop(claims);
        assert_eq!(replicas[0].load(), 0);
    }

    #[test]
    fn what_was_seen_before_a_pause_changes_nothing_after_it() {
        let replica = &replicas(&[Phase::Frozen])[0];
        let before = replica.touched();
        replica.touch();
        let thaw = |replica: &Replica| replica.advance(Phase::Frozen, Phase::Ready);
        assert!(!replica.if_untouched(before, thaw));
        assert_eq!(replica.phase(), Phase::Frozen);
        assert!(replica.if_untouched(replica.touched(), thaw));
    }

    #[test]
    fn one_that_leaves_is_picked_for_want_of_another() {
        let replicas = replicas(&[Phase::Ready, Phase::Ready]);
        replicas[0].leave();
        for _ in 0..20 {
            assert!(Arc::ptr_eq(pick(&replicas).unwrap().replica(), &replicas[1]));
        }
        replicas[1].leave();
        assert!(pick(&replicas).is_some());
        *replicas[0].leaving_since.lock() = Instant::now().checked_sub(LAST_SERVICE * 2);
        *replicas[1].leaving_since.lock() = Instant::now().checked_sub(LAST_SERVICE * 2);
        assert!(pick(&replicas).is_none());
    }

    #[test]
    fn what_works_is_not_frozen() {
        let replicas = replicas(&[Phase::Ready]);
        let claim = pick(&replicas).unwrap();
        assert!(!replicas[0].begin_freeze());
        drop(claim);
        assert!(replicas[0].begin_freeze());
        assert!(pick(&replicas).is_none());
    }
}
