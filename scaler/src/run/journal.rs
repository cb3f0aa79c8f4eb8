//! What is remembered of each function, and what is told of it when somebody asks why.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bramble_provider::FunctionName;
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;

use super::apply::Ended;
use crate::load::{Load, State};
use crate::policy::{Defaults, Policy, PolicyError};
use crate::stabilise::{Action, Decision, History};
use crate::target::{Deployed, Observed};

/// The word for pausing.
pub(super) const FREEZE: &str = "freeze";

/// The last decision on every function. Locked for as long as a tick decides, which waits for nothing.
#[derive(Debug, Default)]
pub struct Journal(Mutex<All>);

/// Everything that is remembered. Boxed, or a table that grows would hold and move the room of twice as many.
#[derive(Debug, Default)]
pub(super) struct All(HashMap<FunctionName, Box<Followed>>);

/// One function.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) function: Arc<dyn Deployed>,
    pub(super) policy: Result<Policy, PolicyError>,
    pub(super) history: History,
    pub(super) load: Load,
    pub(super) state: State,
    pub(super) source: &'static str,
    pub(super) decided_at: SystemTime,
    pub(super) decision: Option<Decision>,
    /// Whether an alert kept it from going down.
    pub(super) held: bool,
    /// The last change, made or not.
    pub(super) change: Option<Box<Change>>,
    changing: bool,
    retry_at: Option<Duration>,
    failing: bool,
    tick: u64,
}

/// A change of replicas that was decided.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) action: &'static str,
    decision: Decision,
    from: u32,
    at: SystemTime,
    outcome: String,
}

impl Change {
    pub(super) fn new(decision: &Decision, from: u32) -> Self {
        let action = match decision.action {
            Action::Freeze => FREEZE,
            _ if decision.replicas == 0 => "zero",
            _ if decision.replicas > from => "up",
            _ => "down",
        };
        let outcome = "under way".to_owned();
        Self { action, decision: *decision, from, at: SystemTime::now(), outcome }
    }

    /// Whether it goes from and to the same as another.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let what = |change: &Self| (change.action, change.from, change.decision.replicas);
        what(self) == what(other)
    }

    pub(super) fn not_made(self) -> Self {
        Self { outcome: "not made: this is a dry run".to_owned(), ..self }
    }
}

impl Followed {
    fn new(observed: &Observed, defaults: &Defaults) -> Self {
        let function = observed.function.clone();
        Self {
            policy: read_policy(&*function, defaults, false),
            function,
            history: History::default(),
            load: Load::default(),
            state: observed.state,
            source: "",
            decided_at: UNIX_EPOCH,
            decision: None,
            held: false,
            change: None,
            changing: false,
            retry_at: None,
            failing: false,
            tick: 0,
        }
    }

    /// Whether a change may begin: none is under way, and none failed just now.
    pub(super) fn may_change(&self, now: Duration) -> bool {
        !self.changing && self.retry_at.is_none_or(|at| now >= at)
    }

    pub(super) fn begin(&mut self, change: Change) {
        self.change = Some(Box::new(change));
        self.changing = true;
        self.retry_at = None;
    }

    fn renew(&mut self, function: &Arc<dyn Deployed>, defaults: &Defaults) {
        if Arc::ptr_eq(&self.function, function) {
            return;
        }
        let same =
            self.function.runtime() == function.runtime() && self.function.labels() == function.labels();
        if !same {
            self.policy = read_policy(&**function, defaults, self.policy.is_err());
            if self.function.runtime() != function.runtime() {
                // The replicas of another runtime are others.
                self.history = History::default();
            }
        }
        self.function = function.clone();
    }
}

fn read_policy(
    function: &dyn Deployed,
    defaults: &Defaults,
    was_refused: bool,
) -> Result<Policy, PolicyError> {
    let policy = Policy::from_labels(function.labels(), function.runtime(), defaults);
    if let Err(error) = &policy
        && !was_refused
    {
        tracing::warn!(function = %function.name(), %error, "the function is not scaled");
    }
    policy
}

impl All {
    /// Lets `look` at what is remembered of a function, its policy read anew when it was deployed anew.
    pub(super) fn of<T>(
        &mut self,
        observed: &Observed,
        defaults: &Defaults,
        tick: u64,
        look: impl FnOnce(&mut Followed) -> T,
    ) -> T {
        let name = observed.function.name();
        // One look-up for nearly every function; an entry would clone each name.
        if let Some(followed) = self.0.get_mut(name) {
            followed.renew(&observed.function, defaults);
            followed.tick = tick;
            return look(followed);
        }
        let mut followed = Box::new(Followed::new(observed, defaults));
        followed.tick = tick;
        let looked = look(&mut followed);
        self.0.insert(name.clone(), followed);
        looked
    }

    pub(super) fn get_mut(&mut self, name: &FunctionName) -> Option<&mut Followed> {
        self.0.get_mut(name).map(|followed| &mut **followed)
    }

    /// Drops the functions that were not in this tick, in which there were so many.
    pub(super) fn forget_all_but(&mut self, tick: u64, count: usize) {
        if self.0.len() > count {
            self.0.retain(|_, followed| followed.tick == tick);
        }
    }
}

impl Journal {
    pub(super) fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock()
    }

    /// Forgets everything: another scaler decides now.
    pub(super) fn clear(&self) {
        self.0.lock().0.clear();
    }

    /// Takes note of how a change ended.
    pub(super) fn ended(&self, ended: Ended, retry_at: Duration) {
        let mut all = self.0.lock();
        // It may have been removed in between.
        let Some(followed) = all.0.get_mut(&ended.name) else { return };
        followed.changing = false;
        let failed = ended.outcome.as_ref().err();
        if let Some(error) = failed {
            followed.retry_at = Some(retry_at);
            if !followed.failing {
                tracing::warn!(function = %ended.name, action = ended.action, %error, "cannot change the replicas; trying again");
            }
        } else if followed.failing {
            tracing::info!(function = %ended.name, "replicas can be changed again");
        }
        followed.failing = failed.is_some();
        if let Some(change) = &mut followed.change {
            change.outcome = match &ended.outcome {
                Ok(true) => "done".to_owned(),
                Ok(false) => "not made: the function changed in between".to_owned(),
                Err(error) => format!("failed: {error}"),
            };
        }
    }

    /// The last decision on a function; `None` when there was none yet.
    pub fn explain(&self, name: &FunctionName) -> Option<Explained> {
        let all = self.0.lock();
        all.0.get(name).map(|followed| Explained::of(followed))
    }
}

/// A decision as it is told. Times are seconds since 1970.
#[derive(Debug, Clone, Serialize)]
pub struct Explained {
    /// The function.
    pub name: FunctionName,
    /// Where its load was read: `gateway` or `prometheus`.
    pub source: &'static str,
    /// When it was decided.
    pub decided_at: f64,
    /// What its labels ask for; missing when they cannot be followed.
    pub policy: Option<ExplainedPolicy>,
    /// What is wrong with its labels.
    pub policy_error: Option<String>,
    /// What the source said; what is missing was not known.
    pub load: ExplainedLoad,
    /// Replicas before the decision.
    pub state: State,
    /// Replicas that were decided for.
    pub replicas: u32,
    /// `keep`, `scale` or `freeze`.
    pub action: &'static str,
    /// Why, in words.
    pub why: String,
    /// The last change that was decided, which may be older.
    pub last_change: Option<ExplainedChange>,
}

/// What labels ask for.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainedPolicy {
    /// Fewest replicas.
    pub min: u32,
    /// Most replicas.
    pub max: u32,
    /// What an alert adds, in percent of the most.
    pub factor: u32,
    /// `rps`, `capacity`, `cpu` or `queue`.
    pub r#type: &'static str,
    /// Load of this kind for one replica, the proportion left aside.
    pub target: f64,
    /// The part of the target that is aimed at.
    pub proportion: f64,
    /// Idle time before containers are paused, in seconds.
    pub freeze_after: Option<f64>,
    /// Idle time before there are no replicas, in seconds.
    pub zero_after: Option<f64>,
    /// Share of the host's slots.
    pub weight: f64,
}

/// A load.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainedLoad {
    /// Invocations that began, per second.
    pub rps: Option<f64>,
    /// Invocations that run.
    pub inflight: Option<f64>,
    /// Invocations that wait.
    pub queued: Option<f64>,
    /// CPUs in use.
    pub cpu_cores: Option<f64>,
    /// Seconds since it was last in use.
    pub idle_for: Option<f64>,
}

/// A change.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainedChange {
    /// When it was decided.
    pub decided_at: f64,
    /// `up`, `down`, `zero` or `freeze`.
    pub action: &'static str,
    /// Replicas before.
    pub from: u32,
    /// Replicas after.
    pub to: u32,
    /// Why, in words.
    pub why: String,
    /// What became of it.
    pub outcome: String,
}

impl Explained {
    fn of(followed: &Followed) -> Self {
        let Followed { function, policy, load, state, decision, .. } = followed;
        let mut why = match (policy, decision) {
            (Err(error), _) => error.to_string(),
            (_, Some(decision)) => decision.to_string(),
            (_, None) => "nothing was decided yet".to_owned(),
        };
        if followed.held {
            why.push_str("; it stays up while an alert is firing");
        }
        Self {
            name: function.name().clone(),
            source: followed.source,
            decided_at: unix_seconds(followed.decided_at),
            policy: policy.as_ref().ok().map(ExplainedPolicy::of),
            policy_error: policy.as_ref().err().map(ToString::to_string),
            load: ExplainedLoad {
                rps: load.rps,
                inflight: load.inflight,
                queued: load.queued,
                cpu_cores: load.cpu_cores,
                idle_for: load.idle_for.map(|idle| idle.as_secs_f64()),
            },
            state: *state,
            replicas: decision.map_or(state.desired, |decision| decision.replicas),
            action: decision.map_or(Action::Keep, |decision| decision.action).as_str(),
            why,
            last_change: followed.change.as_ref().map(|change| ExplainedChange {
                decided_at: unix_seconds(change.at),
                action: change.action,
                from: change.from,
                to: change.decision.replicas,
                why: change.decision.to_string(),
                outcome: change.outcome.clone(),
            }),
        }
    }
}

impl ExplainedPolicy {
    fn of(policy: &Policy) -> Self {
        let seconds = |time: Duration| time.as_secs_f64();
        Self {
            min: policy.min,
            max: policy.max,
            factor: policy.factor,
            r#type: policy.signal.as_str(),
            target: policy.target,
            proportion: policy.proportion,
            freeze_after: policy.freeze_after.map(seconds),
            zero_after: policy.to_zero_after().map(seconds),
            weight: policy.weight,
        }
    }
}

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |age| age.as_secs_f64())
}
