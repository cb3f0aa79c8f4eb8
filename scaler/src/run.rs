//! The loop: look, decide, steady, divide, apply; and the record of each decision.
//!
//! In: the order of a tick, what is remembered of each function, one change at a time for each. Out:
//! what is decided ([`mod@crate::decide`], [`mod@crate::stabilise`]), where loads come from and how
//! replicas move. The properties that must hold: a tick that cannot read changes nothing; a function
//! with a change under way gets no second one; a slow change holds no other function up.

mod apply;
mod episode;
mod journal;
mod metrics;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bramble_provider::{FunctionName, ProviderError, Runtime};

use crate::budget::{Want, share};
use crate::decide::decide;
use crate::load::Load;
use crate::policy::Defaults;
use crate::source::{Source, SourceError};
use crate::stabilise::{Action, Decision, Hold, Tuning, stabilise};
use crate::target::{Observed, Standing, Target, View};

use apply::{Changes, Order};
use episode::Episode;
use journal::{Change, Followed};
pub use journal::{Explained, Journal};
pub use metrics::ScalerMetrics;

/// Most of a processor that deciding may take, as a part: after 100 ms of it come 400 ms of pause at least.
const MAX_BUSY_PART: u32 = 5;

/// Shortest time for which the loop asks to be the one writer.
const MIN_TERM: Duration = Duration::from_secs(3);

/// After a change that failed, a function is left alone for so long.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How the loop runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScalerConfig {
    /// Time from one tick to the next.
    pub interval: Duration,
    /// Decide, and tell what was decided, but change nothing.
    pub dry_run: bool,
    /// What holds where labels are silent.
    pub defaults: Defaults,
    /// In place of the runtime's own: how long fewer replicas must have been enough.
    pub down_window: Option<Duration>,
}

impl Default for ScalerConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            dry_run: false,
            defaults: Defaults::default(),
            down_window: None,
        }
    }
}

/// Why a tick changed nothing.
#[derive(Debug, thiserror::Error)]
enum TickError {
    #[error("cannot look at the functions: {0}")]
    Target(#[from] ProviderError),
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// How a tick ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every function was decided on.
    Done,
    /// Another scaler leads: nothing was looked at.
    StandsBy,
    /// The functions could not be looked at.
    TargetFailed,
    /// No load could be read.
    SourceFailed,
}

impl Outcome {
    /// The word used in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::StandsBy => "stands_by",
            Self::TargetFailed => "target_failed",
            Self::SourceFailed => "source_failed",
        }
    }
}

/// One loop over the functions of a target, by the loads of a source.
#[derive(Debug)]
pub struct Scaler<S, T: Target> {
    source: S,
    target: Arc<T>,
    config: ScalerConfig,
    metrics: ScalerMetrics,
    journal: Arc<Journal>,
    changes: Changes<T>,
    epoch: Instant,
    /// How long the last tick decided; waits are not in it.
    busy: Duration,
    ticks: u64,
    failing: Episode,
    standing_by: Episode,
}

impl<S: Source, T: Target> Scaler<S, T> {
    /// Nothing happens before [`Self::run`] or [`Self::tick`].
    pub fn new(
        source: S,
        target: Arc<T>,
        config: ScalerConfig,
        metrics: ScalerMetrics,
        journal: Arc<Journal>,
    ) -> Self {
        Self {
            source,
            changes: Changes::of(target.clone()),
            target,
            config,
            metrics,
            journal,
            epoch: Instant::now(),
            busy: Duration::ZERO,
            ticks: 0,
            failing: Episode::default(),
            standing_by: Episode::default(),
        }
    }

    /// Ticks for ever. Dropping the future stops it; a change that was begun is the target's to finish.
    pub async fn run(mut self) {
        loop {
            let began = Instant::now();
            self.tick().await;
            let rest = self.config.interval.saturating_sub(began.elapsed());
            let pause = rest.max(self.busy * (MAX_BUSY_PART - 1));
            tokio::time::sleep(pause).await;
        }
    }

    /// One tick, counted.
    pub async fn tick(&mut self) -> Outcome {
        let began = Instant::now();
        let ended = self.look_and_decide().await;
        let outcome = match &ended {
            Ok(outcome) => *outcome,
            Err(TickError::Target(_)) => Outcome::TargetFailed,
            Err(TickError::Source(_)) => Outcome::SourceFailed,
        };
        match ended {
            Ok(Outcome::Done) => {
                if self.failing.ends() {
                    tracing::info!(source = self.source.name(), "scaling goes on");
                }
            }
            Ok(_) => {}
            Err(error) => {
                if self.failing.begins() {
                    tracing::warn!(%error, "cannot scale; replicas stay as they are until this is over");
                }
            }
        }
        self.metrics.tick(outcome, began.elapsed());
        outcome
    }

    async fn look_and_decide(&mut self) -> Result<Outcome, TickError> {
        let term = (3 * self.config.interval).max(MIN_TERM);
        match self.target.lead(term).await? {
            Standing::StandsBy { leader } => {
                if self.standing_by.begins() {
                    tracing::warn!(leader, "another scaler leads; this one stands by until that one is gone");
                }
                self.journal.clear();
                return Ok(Outcome::StandsBy);
            }
            Standing::Leads => {
                if self.standing_by.ends() {
                    tracing::info!("the other scaler is gone; this one leads now");
                }
            }
        }
        self.reap();
        let view = self.target.observe().await?;
        let now = self.epoch.elapsed();
        let loads = self.source.loads(&view.functions, now).await?;
        let began = Instant::now();
        self.ticks += 1;
        let orders = self.decide_all(&view, &loads, now);
        self.busy = began.elapsed();
        orders.into_iter().for_each(|order| self.changes.begin(order));
        Ok(Outcome::Done)
    }

    /// Takes note of the changes that ended.
    fn reap(&mut self) {
        let now = self.epoch.elapsed();
        while let Some(ended) = self.changes.ended() {
            self.metrics.changed(&ended);
            self.journal.ended(ended, now + RETRY_AFTER);
        }
    }

    /// Decides on every function, and answers what is to be done.
    fn decide_all(&self, view: &View, loads: &[Load], now: Duration) -> Vec<Order> {
        let mut followed = self.journal.lock();
        let decided_at = SystemTime::now();
        let mut decisions = Vec::with_capacity(view.functions.len());
        for (observed, load) in view.functions.iter().zip(loads) {
            decisions.push(followed.of(observed, &self.config.defaults, self.ticks, |function| {
                function.source = self.source.name();
                function.decided_at = decided_at;
                let decided = self.decide(function, observed, *load, now);
                (function.decision, function.held) = (decided.map(|(decision, _)| decision), false);
                decided
            }));
        }
        followed.forget_all_but(self.ticks, view.functions.len());
        self.divide(&mut decisions, view);
        let mut orders = Vec::new();
        for (observed, decision) in view.functions.iter().zip(decisions) {
            // What stays as it is was remembered just now.
            let Some((decision, _)) = decision else { continue };
            if decision.action == Action::Keep && !matches!(decision.hold, Some(Hold::Share { .. })) {
                continue;
            }
            let Some(function) = followed.get_mut(observed.function.name()) else { continue };
            orders.extend(self.order(function, observed, decision, now));
        }
        orders
    }

    /// What is decided on one function, and its want where it takes part in the division of slots;
    /// `None` while nothing may be decided.
    fn decide(
        &self,
        function: &mut Followed,
        observed: &Observed,
        mut load: Load,
        now: Duration,
    ) -> Option<(Decision, Option<Want>)> {
        if observed.is_busy() {
            // What the target sees now is newer than any source.
            load.idle_for = load.idle_for.map(|_| Duration::ZERO);
        }
        (function.load, function.state) = (load, observed.state);
        let policy = *function.policy.as_ref().ok()?;
        let mut tuning = Tuning::of(observed.function.runtime());
        tuning.down_window = self.config.down_window.unwrap_or(tuning.down_window);
        let proposal = decide(&policy, &load, &observed.state);
        let mut decision =
            stabilise(&policy, &tuning, &mut function.history, &proposal, &observed.state, now);
        if observed.function.runtime() == Runtime::Wasm
            && observed.state.desired == 0
            && decision.replicas > 0
        {
            // Slots need no first one, and an activation that comes before asks for as many.
            decision.replicas = decision.replicas.max(policy.floor());
        }
        let shares = observed.function.runtime() == Runtime::Wasm && policy.follows_load();
        let want = shares.then_some(Want {
            wanted: decision.replicas,
            needed: decision.needed,
            min: policy.floor().min(decision.replicas),
            weight: policy.weight,
        });
        Some((decision, want))
    }

    /// Holds the wasm functions that follow their load to the slots that the host has.
    fn divide(&self, decisions: &mut [Option<(Decision, Option<Want>)>], view: &View) {
        let wants: Vec<Want> = decisions.iter().flatten().filter_map(|(_, want)| *want).collect();
        let mut shares = share(view.wasm_slots, &wants).into_iter();
        for (at, decided) in decisions.iter_mut().enumerate() {
            let Some((decision, Some(want))) = decided else { continue };
            let Some(granted) = shares.next().filter(|granted| *granted < want.wanted) else { continue };
            decision.hold = Some(Hold::Share { wanted: want.wanted });
            decision.replicas = granted;
            let same = view.functions[at].state.desired == granted;
            decision.action = if same { Action::Keep } else { Action::Scale };
        }
    }

    /// The change that a decision asks for, unless something is in the way; and the record of it.
    fn order(
        &self,
        function: &mut Followed,
        observed: &Observed,
        mut decision: Decision,
        now: Duration,
    ) -> Option<Order> {
        let from = observed.state.desired;
        if observed.held && decision.action == Action::Scale && decision.replicas < from {
            (decision.action, decision.replicas) = (Action::Keep, from);
            function.held = true;
        }
        function.decision = Some(decision);
        if decision.action == Action::Keep || !function.may_change(now) {
            return None;
        }
        let change = Change::new(&decision, from);
        let dry_run = self.config.dry_run;
        let is_told = dry_run && function.change.as_ref().is_some_and(|told| told.is_like(&change));
        if !is_told {
            tracing::info!(
                function = %observed.function.name(),
                action = change.action,
                from,
                to = decision.replicas,
                why = %decision,
                "{}",
                if dry_run { "would scale (dry run)" } else { "scaling" }
            );
        }
        if dry_run {
            if !is_told {
                function.change = Some(Box::new(change.not_made()));
            }
            return None;
        }
        let action = change.action;
        function.begin(change);
        let name: FunctionName = observed.function.name().clone();
        Some(Order { name, action, from, to: decision.replicas })
    }
}

#[cfg(test)]
mod tests;
