//! Functions of both runtimes: which half takes an invocation, and what each of them took.
//!
//! In: the state that a decision is made from, making it, handing the invocation on, and to the other
//! half when the first one refused it. Out: deploying the halves (`providers`), the decision itself
//! (`decide`, a pure function). The property that must hold: nothing is asked twice that may have had
//! effects: the other half gets only what the first refused before it began, with its body untouched.

mod attempt;
mod containers;
mod decide;
mod estimate;
mod logs;
mod series;
mod spare;

use std::sync::Arc;
use std::sync::atomic::{
    AtomicU32,
    Ordering::{Relaxed, SeqCst},
};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bramble_provider::{Body, FunctionName, Invocation, ProviderError, Replicas, Runtime};
use http::Response;
use http::header::UPGRADE;

use super::{Function, Functions, Providers};
use crate::error::causes;

pub(super) use logs::BothLogs;
pub(super) use series::Families;

pub(crate) use decide::Half;

use attempt::{Attempt, is_not_loaded, is_refusal};
use containers::{Counts, Wake};
use decide::{Containers, Picture, Pool, decide};
use estimate::Estimate;
use series::Series;
use spare::lend;

/// What the revisions of a hybrid function share.
#[derive(Debug)]
pub(crate) struct Hybrid {
    /// What the times below count from.
    since: Instant,
    series: Arc<Series>,
    times: [Estimate; 2],
    /// Invocations handed to containers that have no response yet.
    sent: AtomicU32,
    counts: Counts,
    wake: Wake,
    /// Why the module did not load, when it last did not.
    trouble: ArcSwapOption<String>,
}

/// What is told of one half.
#[derive(Debug, Clone)]
pub(crate) struct HalfFigures {
    /// Invocations that it took since it was deployed here, or the gateway started.
    pub(crate) invocations: u64,
    /// Its mean service time, in seconds, as the router sees it.
    pub(crate) service_seconds: Option<f64>,
    /// Why it does not take any, when it is known and not its provider's to tell.
    pub(crate) trouble: Option<String>,
}

impl Half {
    const fn index(self) -> usize {
        match self {
            Self::Wasm => 0,
            Self::Container => 1,
        }
    }

    fn runtime(self) -> Runtime {
        match self {
            Self::Wasm => Runtime::Wasm,
            Self::Container => Runtime::Container,
        }
    }
}

impl Hybrid {
    pub(super) fn new(name: FunctionName, families: Families) -> Self {
        Self::with(Arc::new(Series::new(name, families)))
    }

    /// For other code under the same name: what was measured of the old one tells nothing.
    pub(super) fn renewed(&self) -> Self {
        Self::with(self.series.clone())
    }

    fn with(series: Arc<Series>) -> Self {
        Self {
            since: Instant::now(),
            series,
            times: Default::default(),
            sent: AtomicU32::new(0),
            counts: Counts::default(),
            wake: Wake::default(),
            trouble: ArcSwapOption::empty(),
        }
    }

    /// As an invocation that a half took.
    #[cfg(test)]
    pub(super) fn taken(&self, half: Half) {
        self.series.count(half, None);
    }

    /// Takes its series away.
    pub(super) fn retire(&self) {
        self.series.retire();
    }

    /// What is told of one half.
    pub(crate) fn figures(&self, half: Half) -> HalfFigures {
        let known = self.times[half.index()].get(self.since.elapsed());
        HalfFigures {
            invocations: self.series.invocations(half),
            service_seconds: known.map(|known| known.seconds),
            trouble: match half {
                Half::Wasm => self.trouble.load().as_deref().cloned(),
                Half::Container => None,
            },
        }
    }

    /// Invocations handed to containers that have no response yet.
    pub(super) fn sent(&self) -> u32 {
        self.sent.load(SeqCst)
    }

    /// What is known now; `None` when the module could not be taken up.
    fn picture(&self, providers: &Providers, function: &Function) -> Option<Picture> {
        let (name, now) = (&function.spec.name, self.since.elapsed());
        let time = |half: Half| self.times[half.index()].get(now);
        let slots = providers.slots(Runtime::Hybrid, name)?;
        let pool =
            Pool { slots: slots.desired, busy: slots.busy, queued: slots.queued, time: time(Half::Wasm) };
        let counts = self.counts.get(now, || containers_of(providers, name));
        let containers = Containers {
            desired: function.desired(),
            available: counts.available,
            frozen: counts.frozen,
            inflight: self.sent.load(Relaxed),
            time: time(Half::Container),
        };
        Some(Picture { policy: function.settings.policy, pool, containers, dice: fastrand::f64() })
    }

    /// Runs an invocation on one half, measuring it.
    async fn run(
        &self,
        half: Half,
        providers: &Providers,
        name: &FunctionName,
        invocation: Invocation,
    ) -> Result<Response<Body>, ProviderError> {
        let mut attempt = Attempt::begin(self, half);
        let outcome = providers.invoke(half.runtime(), name, invocation).await;
        attempt.ended(&outcome);
        if half == Half::Wasm && outcome.is_ok() && self.trouble.load().is_some() {
            self.trouble.store(None);
        }
        outcome
    }

    /// Remembers why a half did not take an invocation; says it once for each episode.
    fn note(&self, half: Half, name: &FunctionName, refusal: &ProviderError) {
        let now = self.since.elapsed();
        match half {
            Half::Wasm if is_not_loaded(refusal) => {
                self.times[half.index()].failed(Duration::ZERO, now);
                let text = causes(refusal);
                if self.trouble.swap(Some(Arc::new(text.clone()))).is_none() {
                    tracing::warn!(function = %name, error = text, "the module does not load; containers answer");
                }
            }
            Half::Wasm => {}
            // It seemed to be there and was not.
            Half::Container => self.times[half.index()].failed(Duration::ZERO, now),
        }
    }
}

impl Functions {
    /// Runs one invocation of a hybrid function on one of its halves.
    ///
    /// Dropping the future cancels it, and frees what it held.
    ///
    /// # Errors
    /// What the half says that took it; when both refused it, what the second one said, or that the first was saturated.
    pub(crate) async fn invoke_hybrid(
        &self,
        function: &Function,
        invocation: Invocation,
    ) -> Result<Response<Body>, ProviderError> {
        let (name, providers) = (&function.spec.name, &self.0.providers);
        let Some(hybrid) = function.hybrid() else {
            return Err(ProviderError::internal("routing an invocation", "a hybrid function has no router"));
        };
        // A program that has but a stdin cannot leave HTTP.
        let picture = match invocation.request.headers.contains_key(UPGRADE) {
            true => None,
            false => hybrid.picture(providers, function),
        };
        let Some(picture) = picture else {
            Box::pin(self.activate(function)).await?;
            return hybrid.run(Half::Container, providers, name, invocation).await;
        };
        let decision = decide(&picture);
        if decision.wake {
            self.wake_containers(function, hybrid);
        }
        let half = match decision.half {
            // What was seen is some milliseconds old.
            Half::Container if !self.can_take(Half::Container, function) => Half::Wasm,
            half => half,
        };
        let (first, spare) = lend(invocation);
        let refusal = match hybrid.run(half, providers, name, first).await {
            Err(refusal) if is_refusal(half, &refusal) => refusal,
            outcome => return outcome,
        };
        hybrid.note(half, name, &refusal);
        let other = half.other();
        if other == Half::Container && is_not_loaded(&refusal) {
            // Only they can answer, and perhaps none is asked for.
            Box::pin(self.activate(function)).await?;
        }
        if !self.may_take(other, function) {
            return Err(refusal);
        }
        let Some(again) = spare.recover() else { return Err(refusal) };
        tracing::debug!(function = %name, refused = half.runtime().as_str(), "the other runtime is asked");
        match hybrid.run(other, providers, name, again).await {
            // That there is no slot is what the client can act on.
            Err(error) if is_refusal(other, &error) && matches!(refusal, ProviderError::Saturated { .. }) => {
                tracing::debug!(function = %name, error = causes(&error), "both runtimes refuse it");
                Err(refusal)
            }
            outcome => outcome,
        }
    }

    /// Whether a half can take an invocation now.
    fn can_take(&self, half: Half, function: &Function) -> bool {
        let (providers, name) = (&self.0.providers, &function.spec.name);
        match half {
            Half::Wasm => providers.slots(Runtime::Hybrid, name).is_some(),
            Half::Container => containers_of(providers, name).is_some_and(|counts| counts.available > 0),
        }
    }

    /// Whether it is of use to ask a half: containers may be on their way.
    fn may_take(&self, half: Half, function: &Function) -> bool {
        self.can_take(half, function) || (half == Half::Container && function.desired() > 0)
    }

    /// Asks for containers again, in the background, once however many want them.
    fn wake_containers(&self, function: &Function, hybrid: &Arc<Hybrid>) {
        if !hybrid.wake.begin(hybrid.since.elapsed()) {
            return;
        }
        let waking = Waking { hybrid: hybrid.clone(), worked: false };
        let (functions, name) = (self.clone(), function.spec.name.clone());
        self.0.writes.spawn(async move {
            let woken = match functions.get(name.as_str()) {
                Some(function) => functions.activate(&function).await,
                None => Ok(()),
            };
            if let Err(error) = &woken {
                tracing::info!(function = %name, error = causes(error), "containers cannot be brought back now");
            }
            waking.end(woken.is_ok());
        });
    }
}

/// The right to bring containers back, given back however that ends.
struct Waking {
    hybrid: Arc<Hybrid>,
    worked: bool,
}

impl Waking {
    fn end(mut self, worked: bool) {
        self.worked = worked;
    }
}

impl Drop for Waking {
    fn drop(&mut self) {
        self.hybrid.wake.end(self.worked, self.hybrid.since.elapsed());
    }
}

fn containers_of(providers: &Providers, name: &FunctionName) -> Option<Replicas> {
    providers.containers(Runtime::Hybrid, name).map(|(counts, _)| counts)
}
