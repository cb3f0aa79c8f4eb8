//! What one function's load asks for, this tick seen alone.

use std::fmt;
use std::time::Duration;

use bramble_provider::Runtime;

use crate::load::{Load, State};
use crate::policy::{Policy, Signal};

/// What a function's load asks for, and why.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Proposal {
    /// What to do.
    pub change: Change,
    /// Why.
    pub reason: Reason,
}

/// What to do about a function, before what came earlier is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// Nothing.
    Keep,
    /// Follow the load, steadied by [`crate::stabilise()`].
    Follow {
        /// Replicas that the load needs, bounds left aside: 2.4 is more than two can bear.
        need: f64,
        /// The same in whole replicas, within the bounds.
        replicas: u32,
        /// Of these, what invocations wait for: no guess, so no tolerance holds it back. 0: nobody waits.
        exact: u32,
    },
    /// Go there at once: to zero, or up from it.
    Exactly(u32),
    /// Pause the replicas.
    Freeze,
}

/// Why a proposal is what it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reason {
    /// The labels leave nothing to decide: a factor of 0, or no room between the bounds.
    Fixed,
    /// It has more replicas than a label allows, and otherwise nothing to decide.
    AboveMax {
        /// The most that are allowed.
        max: u32,
    },
    /// Nobody waits, and it has no replicas.
    AtZero,
    /// It has no replicas and invocations wait.
    Wanted {
        /// How many wait.
        invocations: f64,
    },
    /// The load is missing, too old, or no number.
    NoData {
        /// Which load.
        signal: Signal,
    },
    /// The load.
    Load {
        /// Which load.
        signal: Signal,
        /// How much of it, over all replicas.
        load: f64,
        /// How much of it is for one replica.
        per_replica: f64,
        /// Replicas for it, before the bounds.
        wanted: u32,
        /// The bound that changed this number.
        bound: Option<Bound>,
    },
    /// More slots are wanted than the load says: invocations wait for one.
    Waiting {
        /// How many run or wait, each on a slot of its own.
        invocations: f64,
        /// The bound that changed this number.
        bound: Option<Bound>,
    },
    /// Idle long enough to be paused.
    IdleFreeze {
        /// For how long.
        idle_for: Duration,
    },
    /// Idle long enough to have no replicas.
    IdleZero {
        /// For how long.
        idle_for: Duration,
        /// Whether it went early, for the host is short of memory.
        memory_short: bool,
    },
    /// Idle long enough to have no replicas, but the minimum is 1 or more.
    IdleKept {
        /// The minimum.
        min: u32,
    },
}

/// A bound of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The fewest replicas.
    Min(u32),
    /// The most replicas.
    Max(u32),
}

/// What `load` asks for. Pure; allocates nothing.
///
/// The number of replicas follows from the load over all of them, not from the mean and the number that
/// answered: so it is right while some start or are frozen.
pub fn decide(policy: &Policy, load: &Load, state: &State) -> Proposal {
    if state.desired == 0 {
        return from_zero(policy, load, state);
    }
    if let Some(proposal) = idle(policy, load, state) {
        return proposal;
    }
    if !policy.follows_load() {
        return fixed(policy, state);
    }
    follow(policy, load, state)
}

/// Replicas after an alert, as the original has it: `factor` percent of the maximum more while it fires,
/// and the minimum when it is resolved. That is 1 at least, and a function at 0 stays there: it sleeps because
/// nobody invokes it, and an alert that ended is no invocation.
///
/// Where replicas do not follow load ([`Policy::follows_load`]), alerts change nothing either.
pub fn alert(policy: &Policy, firing: bool, current: u32) -> u32 {
    if !policy.follows_load() {
        return current;
    }
    if !firing {
        return if current == 0 { 0 } else { policy.floor() };
    }
    let step = u64::from(policy.max).saturating_mul(u64::from(policy.factor)).div_ceil(100);
    let step = u32::try_from(step).unwrap_or(u32::MAX);
    current.saturating_add(step).min(policy.max)
}

/// A function at 0 stays there until somebody waits: rates over a past window say nothing then, and what still runs
/// needs no replica beside its own.
fn from_zero(policy: &Policy, load: &Load, state: &State) -> Proposal {
    let invocations = sane(load.queued).unwrap_or(0.0);
    if invocations > 0.0 {
        // Containers start faster one after the other; slots are there at once.
        let replicas = if state.runtime == Runtime::Wasm { policy.floor() } else { 1 };
        return Proposal { change: Change::Exactly(replicas), reason: Reason::Wanted { invocations } };
    }
    keep(Reason::AtZero)
}

/// What being idle asks for; `None` when it asks for nothing.
fn idle(policy: &Policy, load: &Load, state: &State) -> Option<Proposal> {
    let idle_for = load.idle_for?;
    // Both must be known to be 0: a function with an invocation is never frozen or removed.
    if load.inflight != Some(0.0) || load.queued != Some(0.0) {
        return None;
    }
    let may_freeze = policy.freeze_after.is_some_and(|after| idle_for >= after);
    if let Some(after) = policy.to_zero_after() {
        let memory_short = may_freeze && state.memory_short && idle_for < after;
        if idle_for >= after || memory_short {
            let reason = Reason::IdleZero { idle_for, memory_short };
            return Some(Proposal { change: Change::Exactly(0), reason });
        }
    }
    // A slot costs nothing while it is idle: there is nothing to pause.
    if may_freeze && state.runtime != Runtime::Wasm && state.available > state.frozen {
        return Some(Proposal { change: Change::Freeze, reason: Reason::IdleFreeze { idle_for } });
    }
    let kept = policy.kept_by_min && state.desired == policy.min;
    if kept && policy.zero_after.is_some_and(|after| idle_for >= after) {
        return Some(keep(Reason::IdleKept { min: policy.min }));
    }
    None
}

/// Where replicas follow no load their number is an operator's, up to a maximum that a label asks for.
fn fixed(policy: &Policy, state: &State) -> Proposal {
    let Policy { max, capped, .. } = *policy;
    if capped && state.desired > max {
        return Proposal { change: Change::Exactly(max), reason: Reason::AboveMax { max } };
    }
    keep(Reason::Fixed)
}

fn follow(policy: &Policy, load: &Load, state: &State) -> Proposal {
    let signal = policy.signal;
    let Some(total) = total(signal, load) else { return keep(Reason::NoData { signal }) };
    let per_replica = policy.per_replica();
    let by_load = total / per_replica;
    let (wanted, bound) = whole(by_load, policy);
    let replicas = bounded(wanted, bound);
    let mut exact = 0;
    if let Some(invocations) = waiting(load, state) {
        let (slots, bound) = whole(invocations, policy);
        exact = bounded(slots, bound);
        if invocations >= by_load {
            let change = Change::Follow { need: invocations, replicas: exact, exact };
            return Proposal { change, reason: Reason::Waiting { invocations, bound } };
        }
    }
    let reason = Reason::Load { signal, load: total, per_replica, wanted, bound };
    Proposal { change: Change::Follow { need: by_load, replicas, exact }, reason }
}

/// Load over all replicas in the unit of the policy's target.
fn total(signal: Signal, load: &Load) -> Option<f64> {
    let total = match signal {
        Signal::Rps => load.rps,
        Signal::Capacity => Some(sane(load.inflight)? + sane(load.queued)?),
        Signal::Cpu => load.cpu_cores.map(|cores| cores * 1_000.0),
        Signal::Queue => load.queued,
    };
    sane(total)
}

/// Slots that are wanted while invocations wait for one: a slot runs one at a time, so this is exact,
/// where a rate is a guess at how long they run. How much a container runs at once is not known.
fn waiting(load: &Load, state: &State) -> Option<f64> {
    sane(load.waiting).filter(|_| state.runtime == Runtime::Wasm)
}

/// A load that a sum can be made of.
fn sane(load: Option<f64>) -> Option<f64> {
    load.filter(|load| load.is_finite() && *load >= 0.0)
}

/// Whole replicas for a need, and the bound that stands in the way.
fn whole(need: f64, policy: &Policy) -> (u32, Option<Bound>) {
    let wanted = ceil(need);
    let bound = match wanted {
        few if few < policy.floor() => Some(Bound::Min(policy.floor())),
        many if many > policy.max => Some(Bound::Max(policy.max)),
        _ => None,
    };
    (wanted, bound)
}

fn bounded(wanted: u32, bound: Option<Bound>) -> u32 {
    match bound {
        None => wanted,
        Some(Bound::Min(bound) | Bound::Max(bound)) => bound,
    }
}

/// Up to the next whole number; a hair above one is that one.
pub(crate) fn ceil(need: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    let whole = (need - 1e-9).ceil() as u32;
    whole
}

fn keep(reason: Reason) -> Proposal {
    Proposal { change: Change::Keep, reason }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed => f.write_str("the labels leave nothing to scale"),
            Self::AboveMax { max } => write!(f, "its maximum is {max}"),
            Self::AtZero => f.write_str("nobody waits for it"),
            Self::Wanted { invocations } => {
                write!(f, "{invocations:.0} invocations wait and nothing runs them")
            }
            Self::NoData { signal } => write!(f, "no fresh {signal} to go by"),
            Self::Load { signal, load, per_replica, wanted, bound } => {
                write!(f, "{signal} is {load:.2}, {per_replica:.2} is for one replica: wants {wanted}")?;
                bound_text(f, *bound)
            }
            Self::Waiting { invocations, bound } => {
                write!(f, "{invocations:.1} invocations run or wait, each for a slot")?;
                bound_text(f, *bound)
            }
            Self::IdleFreeze { idle_for } => write!(f, "idle for {} s: paused", idle_for.as_secs()),
            Self::IdleZero { idle_for, memory_short: false } => {
                write!(f, "idle for {} s", idle_for.as_secs())
            }
            Self::IdleZero { idle_for, memory_short: true } => {
                write!(f, "idle for {} s, and the host is short of memory", idle_for.as_secs())
            }
            Self::IdleKept { min } => write!(f, "idle, but its minimum is {min}"),
        }
    }
}

fn bound_text(f: &mut fmt::Formatter<'_>, bound: Option<Bound>) -> fmt::Result {
    match bound {
        None => Ok(()),
        Some(Bound::Min(min)) => write!(f, ", at least {min}"),
        Some(Bound::Max(max)) => write!(f, ", at most {max}"),
    }
}

#[cfg(test)]
mod tests;
