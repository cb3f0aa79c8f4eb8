//! A decision as it is told to whoever asks why.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bramble_provider::FunctionName;
use serde::Serialize;
use utoipa::ToSchema;

use super::journal::Followed;
use crate::load::State;
use crate::policy::Policy;
use crate::stabilise::Action;

/// A decision as it is told. Times are seconds since 1970. Before the first one only the function, its replicas
/// and why are told.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Explained {
    /// The function.
    #[schema(value_type = String)]
    pub name: FunctionName,
    /// Where its load was read: `gateway` or `prometheus`.
    #[schema(required = false)]
    pub source: &'static str,
    /// When it was decided.
    #[schema(required = false)]
    pub decided_at: f64,
    /// What its labels ask for; missing when they cannot be followed.
    pub policy: Option<ExplainedPolicy>,
    /// What is wrong with its labels.
    pub policy_error: Option<String>,
    /// What the source said; what is missing was not known.
    #[schema(required = false)]
    pub load: ExplainedLoad,
    /// Replicas before the decision.
    #[schema(required = false)]
    pub state: State,
    /// Replicas that were decided for.
    pub replicas: u32,
    /// `keep`, `scale` or `freeze`.
    pub action: &'static str,
    /// Why, in words.
    pub why: String,
    /// The last change that was decided, which may be older.
    pub last_change: Option<ExplainedChange>,
    /// Why nothing was decided since then; missing when this is the decision of the last look.
    pub trouble: Option<String>,
}

/// What labels ask for.
#[derive(Debug, Clone, Serialize, ToSchema)]
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
#[derive(Debug, Clone, Serialize, ToSchema)]
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
#[derive(Debug, Clone, Serialize, ToSchema)]
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
    pub(super) fn of(followed: &Followed, trouble: Option<String>) -> Self {
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
            trouble,
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
