//! One function as the request path sees it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::{ArcSwap, Guard};
use bramble_host::sharded::Presence;
use bramble_provider::{FunctionSpec, ProviderError, Runtime, Settings};
use http::StatusCode;
use tokio::sync::{Mutex, MutexGuard};

use super::hybrid::{self, Hybrid};
use crate::metrics::FunctionMetrics;
use crate::store::StoredFunction;

/// What may follow a name and means the default namespace.
pub(super) const DEFAULT_SUFFIX: &str = ".openfaas-fn";

/// When a client refused by `max_inflight` may try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What an invocation is counted as when the client went away before it ended. Not a status that
/// anybody receives; nginx made the number known.
pub const CLIENT_GONE: u16 = 499;

/// One revision of a deployed function. Immutable, but for what all its revisions share.
#[derive(Debug)]
pub struct Function {
    /// What was deployed.
    pub spec: FunctionSpec,
    /// What the spec's environment and annotations say, read once.
    pub settings: Settings,
    /// Counts the specs under this name, from 1.
    pub revision: u64,
    /// When the name was first deployed.
    pub created_at: SystemTime,
    /// What runs it.
    pub runtime: Runtime,
    fault: Option<String>,
    /// Why one half of a hybrid is missing.
    half_fault: Option<String>,
    hybrid: Option<Arc<Hybrid>>,
    /// Invocations of this revision that did not end.
    invocations: Presence,
    live: Arc<Live>,
}

/// A function that is held by an invocation. Its guard counts on the thread that made it: a count of
/// references that all cores write to is among the dearest parts of a short invocation.
pub type Held = Guard<Arc<Function>>;

/// A function as the snapshot has it.
#[derive(Clone)]
pub(super) struct Entry {
    function: Arc<Function>,
    /// The same, in an [`ArcSwap`] for the sake of its guards: it is never swapped.
    held: Arc<ArcSwap<Function>>,
}

impl Entry {
    /// The function, for as long as an invocation needs it.
    pub(super) fn hold(&self) -> Held {
        self.held.load()
    }
}

impl From<Arc<Function>> for Entry {
    fn from(function: Arc<Function>) -> Self {
        Self { held: Arc::new(ArcSwap::new(function.clone())), function }
    }
}

impl Deref for Entry {
    type Target = Arc<Function>;

    fn deref(&self) -> &Arc<Function> {
        &self.function
    }
}

/// What outlives a redeploy: an old revision's invocations count in the same place as the new one's.
///
/// `desired` and the invocations that `metrics` counts are in one order for all threads: an invocation counts itself and
/// then looks for replicas, scaling to 0 does it the other way round, and one of the two has to see the other.
struct Live {
    metrics: FunctionMetrics,
    desired: AtomicU32,
    /// What [`Function::begun`] leaves out of all invocations, or adds to those of a hybrid's containers: how many
    /// there were when it became one of this kind. So it goes on where it was, whatever the function becomes.
    left_out: AtomicU64,
    added: AtomicU64,
    activation: Mutex<()>,
    /// Held while one is admitted to a function that has `max_inflight`; the others do not touch it.
    admission: parking_lot::Mutex<()>,
}

impl Function {
    /// A function that was not there before.
    pub(super) fn new(
        stored: StoredFunction,
        settings: Settings,
        metrics: FunctionMetrics,
        hybrids: &hybrid::Families,
    ) -> Self {
        let live = Live {
            metrics,
            desired: AtomicU32::new(stored.desired),
            left_out: AtomicU64::new(0),
            added: AtomicU64::new(0),
            activation: Mutex::new(()),
            admission: parking_lot::Mutex::new(()),
        };
        let hybrid = router(&stored.spec, None, hybrids);
        Self::with(stored, settings, hybrid, Arc::new(live))
    }

    /// The next revision of this function.
    pub(super) fn succeeded_by(
        &self,
        stored: StoredFunction,
        settings: Settings,
        hybrids: &hybrid::Families,
    ) -> Self {
        self.set_desired(stored.desired);
        match (self.hybrid.is_some(), stored.spec.runtime() == Runtime::Hybrid) {
            (false, true) => self.live.added.store(self.begun(), Ordering::Relaxed),
            (true, false) => {
                let left_out = self.live.metrics.begun().saturating_sub(self.begun());
                self.live.left_out.store(left_out, Ordering::Relaxed);
            }
            (false, false) | (true, true) => {}
        }
        let hybrid = router(&stored.spec, Some(self), hybrids);
        Self::with(stored, settings, hybrid, self.live.clone())
    }

    fn with(
        stored: StoredFunction,
        settings: Settings,
        hybrid: Option<Arc<Hybrid>>,
        live: Arc<Live>,
    ) -> Self {
        Self {
            revision: stored.revision,
            created_at: stored.created_at(),
            runtime: stored.spec.runtime(),
            spec: stored.spec,
            settings,
            fault: None,
            half_fault: None,
            hybrid,
            invocations: Presence::default(),
            live,
        }
    }

    pub(super) fn with_fault(self, fault: String) -> Self {
        Self { fault: Some(fault), ..self }
    }

    pub(super) fn with_half_fault(self, fault: String) -> Self {
        Self { half_fault: Some(fault), ..self }
    }

    /// Why one half of a hybrid could not be taken up at the start, while the other one serves.
    pub(crate) fn half_fault(&self) -> Option<&str> {
        self.half_fault.as_deref()
    }

    /// What chooses between the halves of a hybrid function; no other has one.
    pub(crate) fn hybrid(&self) -> Option<&Arc<Hybrid>> {
        self.hybrid.as_ref()
    }

    /// Takes its series away: it is removed.
    pub(super) fn retire(&self) {
        self.live.metrics.retire();
        self.retire_hybrid();
    }

    /// Takes the series away that only a hybrid function has.
    pub(super) fn retire_hybrid(&self) {
        if let Some(hybrid) = &self.hybrid {
            hybrid.retire();
        }
    }

    /// Why its provider does not have it, although it is asked for. `None` for nearly every function.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Replicas that are asked for, now.
    pub fn desired(&self) -> u32 {
        self.live.desired.load(Ordering::SeqCst)
    }

    pub(super) fn set_desired(&self, desired: u32) {
        self.live.desired.store(desired, Ordering::SeqCst);
    }

    /// Invocations admitted and unfinished, over all revisions.
    pub fn inflight(&self) -> u32 {
        self.live.metrics.inflight()
    }

    /// The same of this revision alone.
    pub(super) fn invocations(&self) -> u64 {
        self.invocations.here()
    }

    /// Invocations that its replicas took, which are what is scaled: of a hybrid those in containers. Never falls.
    pub(super) fn begun(&self) -> u64 {
        match &self.hybrid {
            None => self.live.metrics.begun().saturating_sub(self.live.left_out.load(Ordering::Relaxed)),
            Some(hybrid) => {
                self.live.added.load(Ordering::Relaxed) + hybrid.figures(hybrid::Half::Container).invocations
            }
        }
    }

    /// Its series.
    pub fn metrics(&self) -> &FunctionMetrics {
        &self.live.metrics
    }

    /// Waits to be the only one that activates the function.
    pub(super) async fn activation(&self) -> MutexGuard<'_, ()> {
        self.live.activation.lock().await
    }

    /// What the store holds of it.
    pub(super) fn stored(&self) -> StoredFunction {
        StoredFunction {
            spec: self.spec.clone(),
            revision: self.revision,
            desired: self.desired(),
            created_at_unix_nanos: crate::store::record::unix_nanos(self.created_at),
        }
    }
}

/// The router of a hybrid function: the predecessor's, but what was measured of other code is forgotten.
fn router(
    spec: &FunctionSpec,
    predecessor: Option<&Function>,
    hybrids: &hybrid::Families,
) -> Option<Arc<Hybrid>> {
    let is_hybrid = spec.runtime() == Runtime::Hybrid;
    is_hybrid.then(|| match predecessor.and_then(|function| Some((function, function.hybrid()?))) {
        Some((function, hybrid)) if function.spec.code == spec.code => hybrid.clone(),
        Some((_, hybrid)) => Arc::new(hybrid.renewed()),
        None => Arc::new(Hybrid::new(spec.name.clone(), hybrids.clone())),
    })
}

/// One invocation that was admitted. It is counted exactly once, when the guard goes: with what
/// [`Self::finish`] said, or as [`CLIENT_GONE`] when nobody said anything.
#[must_use = "dropping it at once counts the invocation as given up by the client"]
pub struct Inflight {
    function: Held,
    since: Instant,
    code: Option<StatusCode>,
    /// How long it took, when that was measured before its end.
    took: Option<Duration>,
}

impl Inflight {
    /// Counts an invocation as admitted, since now.
    pub fn begin(function: impl Into<Held>) -> Self {
        let function = function.into();
        function.invocations.come();
        function.live.metrics.started();
        Self { function, since: Instant::now(), code: None, took: None }
    }

    /// The same where `max_inflight` leaves room for one more. One that is refused is counted, as one that finds a full
    /// queue is, and over at once: it takes no room from others.
    ///
    /// # Errors
    /// [`ProviderError::Saturated`].
    pub fn admit(function: impl Into<Held>) -> Result<Self, ProviderError> {
        let function = function.into();
        // In a container it is its watchdog's, for each replica.
        let here = function.runtime != Runtime::Container;
        let Some(limit) = function.settings.max_inflight.filter(|_| here) else {
            return Ok(Self::begin(function));
        };
        let live = function.live.clone();
        // One after the other, or several would take the last place.
        let _alone = live.admission.lock();
        let inflight = function.inflight();
        if inflight < limit {
            return Ok(Self::begin(function));
        }
        let name = function.spec.name.clone();
        Self::begin(function).finish(StatusCode::TOO_MANY_REQUESTS);
        Err(ProviderError::Saturated { name, inflight, queued: 0, retry_after: RETRY_AFTER })
    }

    /// What is invoked: the revision that was current when the invocation was admitted.
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// When the invocation was admitted.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// The invocation ended with `code`.
    pub fn finish(mut self, code: StatusCode) {
        self.code = Some(code);
    }

    /// The same, after a time that was measured just now: a look at the clock less.
    pub fn finish_after(mut self, code: StatusCode, took: Duration) {
        self.took = Some(took);
        self.finish(code);
    }
}

impl Drop for Inflight {
    fn drop(&mut self) {
        let gone = || StatusCode::from_u16(CLIENT_GONE).expect("499 is in the range of statuses");
        let took = self.took.unwrap_or_else(|| self.since.elapsed());
        self.function.live.metrics.finished(self.code.unwrap_or_else(gone), took);
        self.function.invocations.go();
    }
}

impl fmt::Debug for Inflight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflight")
            .field("since", &self.since)
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("desired", &self.desired)
            .field("metrics", &self.metrics)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffix_is_the_default_namespace() {
        assert_eq!(DEFAULT_SUFFIX.strip_prefix('.'), Some(bramble_provider::DEFAULT_NAMESPACE));
    }
}
