//! Proposals over time: how fast replicas go up and down, and what keeps them from going to and fro.
//!
//! Up: beyond a tolerance, at once, but only so far in a period. Down: only to the most that was proposed
//! in a window of time, and so far in a period. The load that lets a replica go is lower than the one that
//! brought it, by twice the tolerance, so noise within it moves nothing.

use std::fmt;
use std::time::Duration;

use bramble_provider::Runtime;

use crate::decide::{Change, Proposal, Reason, ceil};
use crate::load::State;
use crate::policy::Policy;

mod history;

pub use history::History;

/// How steady a runtime's replicas are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tuning {
    /// The part of a replica's load, for each replica, by which it may be off before anything moves.
    pub tolerance: f64,
    /// Replicas go down to the most that was proposed in so long.
    pub down_window: Duration,
    /// How fast they go up.
    pub up: Pace,
    /// How fast they go down.
    pub down: Pace,
}

/// How far replicas may move in a period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// To so many times as many, or the so-manieth part; 1 or more.
    pub factor: f64,
    /// But always by so many.
    pub at_least: u32,
    /// The period; 0 puts no limit.
    pub period: Duration,
}

impl Tuning {
    /// For what runs a function.
    pub fn of(runtime: Runtime) -> Self {
        match runtime {
            Runtime::Wasm => Self::wasm(),
            Runtime::Container | Runtime::Hybrid => Self::container(),
        }
    }

    /// Slots: they come in well under a millisecond and cost nothing while nobody uses them. There are many
    /// and each does little, so their number is noisier than that of containers.
    pub fn wasm() -> Self {
        Self {
            tolerance: 0.2,
            down_window: Duration::from_secs(300),
            up: Pace { factor: 10.0, at_least: 10, period: Duration::from_secs(1) },
            down: Pace { factor: 2.0, at_least: 10, period: Duration::from_secs(1) },
        }
    }

    /// Containers: they come in half a second, slower beside others, and cost their memory.
    pub fn container() -> Self {
        Self {
            tolerance: 0.1,
            down_window: Duration::from_secs(300),
            up: Pace { factor: 4.0, at_least: 10, period: Duration::from_secs(5) },
            down: Pace { factor: 2.0, at_least: 2, period: Duration::from_secs(15) },
        }
    }
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// Replicas to ask for.
    pub replicas: u32,
    /// What to do.
    pub action: Action,
    /// What the load asked for.
    pub reason: Reason,
    /// What stood in its way.
    pub hold: Option<Hold>,
    /// Replicas that the load needs now, of [`Self::replicas`]; the others are held for what was needed before, or
    /// by the minimum.
    pub needed: u32,
}

/// What to do with a function's replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Nothing.
    Keep,
    /// Ask for [`Decision::replicas`].
    Scale,
    /// Pause what is idle.
    Freeze,
}

/// What keeps a decision from being what was proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The load is off by less than the tolerance.
    Tolerance,
    /// So many were proposed within the window.
    Window {
        /// The most that was proposed.
        replicas: u32,
    },
    /// It may not move further in this period.
    Pace {
        /// What was proposed.
        wanted: u32,
    },
    /// One container first: the others start faster when it is there.
    First {
        /// What was proposed.
        wanted: u32,
    },
    /// The host has no more slots for it: others need them too. Set by whoever applies [`crate::share`].
    Share {
        /// What was decided.
        wanted: u32,
    },
}

impl Action {
    /// The word used in metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Scale => "scale",
            Self::Freeze => "freeze",
        }
    }
}

/// Holds a proposal to what came before it, and remembers it.
///
/// `now` is the time since any fixed start; it should not go back, and where it does, what is remembered
/// is kept longer. To be called once for each function and tick, also when the proposal is to keep: a tick
/// without data restarts the down-window. Replicas that somebody else added are taken for a proposal of this
/// moment, so they stay for a window too. What is decided need not be applied, or not at once: the same is
/// decided again. Allocates nothing.
pub fn stabilise(
    policy: &Policy,
    tuning: &Tuning,
    history: &mut History,
    proposal: &Proposal,
    state: &State,
    now: Duration,
) -> Decision {
    history.turn(tuning, state.desired, now);
    let waits = matches!(proposal.change, Change::Follow { exact, .. } if exact > 0);
    let stands = history.queue_stands(waits, now);
    let (wanted, hold) = match proposal.change {
        Change::Keep => {
            history.record(tuning, now, state.desired);
            (state.desired, None)
        }
        Change::Freeze => {
            history.record(tuning, now, policy.floor());
            return done(history, Action::Freeze, state.desired, proposal, state, None);
        }
        Change::Exactly(0) => {
            history.forget();
            (0, None)
        }
        Change::Exactly(replicas) => {
            history.record(tuning, now, replicas);
            (replicas, None)
        }
        Change::Follow { need, replicas, exact } => {
            let current = state.desired.clamp(policy.floor(), policy.max);
            let demand = Demand { need, replicas, exact: if stands { exact } else { 0 } };
            let (replicas, hold) = follow(policy, tuning, history, demand, current, now);
            first(replicas, hold, state)
        }
    };
    let action = if wanted == state.desired { Action::Keep } else { Action::Scale };
    done(history, action, wanted, proposal, state, hold)
}

fn done(
    history: &mut History,
    action: Action,
    replicas: u32,
    proposal: &Proposal,
    state: &State,
    hold: Option<Hold>,
) -> Decision {
    history.decided(replicas, state.desired);
    // The bounds left aside: what a minimum holds is not needed.
    let needed = match (proposal.change, proposal.reason) {
        (Change::Follow { need, .. }, _) => ceil(need).min(replicas),
        (_, Reason::Wanted { invocations }) => ceil(invocations).min(replicas),
        _ => replicas,
    };
    Decision { replicas, action, reason: proposal.reason, hold, needed }
}

/// The fields of [`Change::Follow`]; `exact` only of a queue that stands.
struct Demand {
    need: f64,
    replicas: u32,
    exact: u32,
}

/// From `current` towards what is demanded, as far as tolerance, window and pace allow.
fn follow(
    policy: &Policy,
    tuning: &Tuning,
    history: &mut History,
    Demand { need, mut replicas, exact }: Demand,
    current: u32,
    now: Duration,
) -> (u32, Option<Hold>) {
    // What could go down to: fewer have to be able to bear more than there is.
    let low = ceil(need * (1.0 + tuning.tolerance)).clamp(policy.floor(), policy.max);
    history.record(tuning, now, low);
    if replicas > current {
        let tolerated = need <= f64::from(current) * (1.0 + tuning.tolerance) && exact < replicas;
        if tolerated {
            replicas = exact.max(current);
        }
        let most = history.most(tuning).max(current);
        return if replicas > most {
            (most, Some(Hold::Pace { wanted: replicas }))
        } else {
            (replicas, tolerated.then_some(Hold::Tolerance))
        };
    }
    if low >= current {
        return (current, (replicas < current).then_some(Hold::Tolerance));
    }
    let peak = history.peak(tuning).min(policy.max).max(low);
    if peak >= current {
        return (current, Some(Hold::Window { replicas: peak }));
    }
    let fewest = history.fewest(tuning).min(current);
    if peak < fewest {
        return (fewest, Some(Hold::Pace { wanted: peak }));
    }
    (peak, (peak > low).then_some(Hold::Window { replicas: peak }))
}

/// Where no container answers yet, more of them only make the first slower.
fn first(replicas: u32, hold: Option<Hold>, state: &State) -> (u32, Option<Hold>) {
    let few = state.desired.max(1);
    if state.runtime != Runtime::Wasm && state.available == 0 && replicas > few {
        return (few, Some(Hold::First { wanted: replicas }));
    }
    (replicas, hold)
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        match self.hold {
            None => Ok(()),
            Some(hold) => write!(f, "; {} because {hold}", self.replicas),
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tolerance => f.write_str("the load is within the tolerance"),
            Self::Window { replicas } => write!(f, "{replicas} were wanted within the down-window"),
            Self::Pace { wanted } => write!(f, "a step to {wanted} is too far for one period"),
            Self::First { wanted } => write!(f, "one answers first, then {wanted}"),
            Self::Share { wanted } => write!(f, "the host has no slots for {wanted}"),
        }
    }
}

#[cfg(test)]
mod tests;
