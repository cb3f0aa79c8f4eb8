//! The loop: look, decide, steady, divide, apply; and the record of each decision.
//!
//! In: the order of a tick, what is remembered of each function, one change at a time for each. Out:
//! what is decided ([`mod@crate::decide`], [`mod@crate::stabilise`]), where loads come from and how
//! replicas move. The properties that must hold: a tick that cannot read changes nothing; a function
//! with a change under way gets no second one; a slow change holds no other function up.

mod apply;
mod episode;
mod explained;
mod idle;
mod journal;
mod metrics;
mod pass;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bramble_provider::ProviderError;

use crate::policy::Defaults;
use crate::source::{Source, SourceError};
use crate::target::{Standing, Target};

use apply::{Changes, Order};
use episode::Episode;
pub use explained::Explained;
pub use journal::Journal;
pub use metrics::ScalerMetrics;

/// Most of a processor that deciding may take, as a part: after 100 ms of it come 400 ms of pause at least.
const MAX_BUSY_PART: u32 = 5;

/// Shortest time for which the loop asks to be the one writer: a look and a source that take as long as they
/// may are over before it ends.
const MIN_TERM: Duration = Duration::from_secs(20);

/// Longest time from one tick to the next. The loop asks to be the one writer for three of them, and a gateway
/// grants no more than 300 s, so that after a scaler that died another one begins.
pub const MAX_INTERVAL: Duration = Duration::from_secs(100);

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
        self.journal.trouble(ended.as_ref().err().map(ToString::to_string));
        match ended {
            Ok(Outcome::Done) => {
                if self.failing.ends() {
                    tracing::info!(source = self.source.name(), "scaling goes on");
                }
            }
            Ok(_) => {}
            Err(error) => {
                if matches!(error, TickError::Target(_)) {
                    self.journal.missed(None, self.epoch.elapsed());
                }
                if self.failing.begins() {
                    tracing::warn!(%error, "cannot scale; replicas stay as they are until this is over");
                }
            }
        }
        self.metrics.tick(outcome, began.elapsed());
        outcome
    }

    async fn look_and_decide(&mut self) -> Result<Outcome, TickError> {
        self.reap();
        // A dry run writes nothing, so it keeps nobody from writing.
        if !self.config.dry_run && !self.leads().await? {
            return Ok(Outcome::StandsBy);
        }
        let view = self.target.observe().await?;
        let now = self.epoch.elapsed();
        let loads = match self.source.loads(&view.functions, now).await {
            Ok(loads) => loads,
            Err(error) => {
                self.journal.missed(Some(&view), now);
                return Err(error.into());
            }
        };
        let began = Instant::now();
        self.ticks += 1;
        let orders = self.decide_all(&view, &loads, now);
        self.busy = began.elapsed();
        orders.into_iter().for_each(|order| self.carry_out(order));
        Ok(Outcome::Done)
    }

    /// Whether this is the one scaler that writes.
    async fn leads(&mut self) -> Result<bool, TickError> {
        let term = (3 * self.config.interval).max(MIN_TERM);
        match self.target.lead(term).await? {
            Standing::StandsBy { leader } => {
                if self.standing_by.begins() {
                    tracing::warn!(leader, "another scaler leads; this one stands by until that one is gone");
                }
                self.journal.clear();
                Ok(false)
            }
            Standing::Leads => {
                if self.standing_by.ends() {
                    tracing::info!("the other scaler is gone; this one leads now");
                }
                Ok(true)
            }
        }
    }

    /// Begins a change, or in a dry run only tells of it.
    fn carry_out(&mut self, order: Order) {
        let Order { name: function, action, from, to, why, .. } = &order;
        if self.config.dry_run {
            tracing::info!(%function, action, from, to, why, "would scale (dry run)");
            return;
        }
        tracing::info!(%function, action, from, to, why, "scaling");
        self.changes.begin(order);
    }

    /// Takes note of the changes that ended.
    fn reap(&mut self) {
        let now = self.epoch.elapsed();
        while let Some(ended) = self.changes.ended() {
            self.metrics.changed(&ended);
            self.journal.ended(&ended, now);
        }
    }
}

#[cfg(test)]
mod tests;
