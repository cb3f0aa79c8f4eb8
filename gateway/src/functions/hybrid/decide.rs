//! Which half of a hybrid takes an invocation: a pure function of what is known.
//!
//! In: the three policies, exploration and its bounds. Out: measuring (`estimate`), doing it (`hybrid`).
//! The property that must hold: containers are chosen only if there is one that is available.

use std::time::Duration;

use bramble_provider::HybridPolicy;

use super::estimate::{Known, STALE};

/// Invocations that one container is expected to run side by side; beyond it they are as good as queued.
const PER_CONTAINER: u32 = 4;
/// Measurements of a half before the mean is trusted.
const ENOUGH: u8 = 8;
/// Share of the invocations that go to a half that is hardly known.
const LEARNING: f64 = 0.25;
/// By how much exploring may slow the mean invocation down.
const BUDGET: f64 = 0.05;
/// Most invocations that explore once both halves are known.
const MOST: f64 = 0.02;
/// A start is worth it unless containers took so many times what the module would: it costs half a second of
/// the processor, and memory from then on. More than once, as the first answers of a container are slow ones.
const NOT_WORTH: f64 = 2.0;
/// After so long nobody knows what containers would take now.
const FORGOTTEN: Duration = Duration::from_secs(3_600);

/// One half of a hybrid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    /// The module.
    Wasm,
    /// The image.
    Container,
}

impl Half {
    /// The other one.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Wasm => Self::Container,
            Self::Container => Self::Wasm,
        }
    }
}

/// The module's pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pool {
    pub(super) slots: u32,
    pub(super) busy: u32,
    pub(super) queued: u32,
    pub(super) time: Option<Known>,
}

/// The containers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Containers {
    /// Replicas that are asked for.
    pub(super) desired: u32,
    /// That can take an invocation, frozen ones included.
    pub(super) available: u32,
    /// Of these, paused.
    pub(super) frozen: u32,
    /// Invocations sent to them that were not answered yet.
    pub(super) inflight: u32,
    pub(super) time: Option<Known>,
}

/// What a decision is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Picture {
    pub(super) policy: HybridPolicy,
    pub(super) pool: Pool,
    pub(super) containers: Containers,
    /// Random, from 0 to less than 1.
    pub(super) dice: f64,
}

/// What to do with an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) half: Half,
    /// Whether the containers, of which none is asked for, are wanted back: not where the module is known to be
    /// the better half, for nobody would use them.
    pub(super) wake: bool,
}

/// Decides for one invocation.
pub(super) fn decide(picture: &Picture) -> Decision {
    let Picture { policy, pool, containers, dice } = picture;
    let (absent, can) = (containers.desired == 0, containers.available > 0);
    match policy {
        HybridPolicy::WasmFirst => {
            let full = pool.is_full();
            Decision { half: if full && can { Half::Container } else { Half::Wasm }, wake: full && absent }
        }
        HybridPolicy::Bridge => {
            Decision { half: if can { Half::Container } else { Half::Wasm }, wake: absent }
        }
        HybridPolicy::Fastest => {
            let half = if can { fastest(pool, containers, *dice) } else { Half::Wasm };
            Decision { half, wake: absent && is_worth_starting(pool, containers) }
        }
    }
}

/// One half, as both are compared.
#[derive(Debug, Clone, Copy)]
struct Runner {
    half: Half,
    /// Invocations before this one.
    ahead: u32,
    /// Invocations that it runs side by side.
    width: u32,
    time: Option<Known>,
    /// Whether trying it would wake it up.
    asleep: bool,
}

impl Runner {
    /// How long this invocation would take, as far as can be told.
    fn cost(&self, time: Known) -> f64 {
        time.seconds * (1.0 + f64::from(self.ahead) / f64::from(self.width.max(1)))
    }

    /// Whether it is free enough to be tried for the sake of knowing.
    fn has_room(&self) -> bool {
        self.ahead < self.width
    }
}

/// Whether a container, if there were one, might be chosen.
fn is_worth_starting(pool: &Pool, containers: &Containers) -> bool {
    let (Some(wasm), Some(container)) = (pool.time, containers.time) else { return true };
    let is_known = container.samples >= ENOUGH && container.age < FORGOTTEN;
    pool.is_full() || !is_known || container.seconds < NOT_WORTH * pool.runner().cost(wasm)
}

fn fastest(pool: &Pool, containers: &Containers, dice: f64) -> Half {
    let (wasm, container) = (pool.runner(), containers.runner());
    let (wasm_time, container_time) = match (wasm.time, container.time) {
        (Some(wasm), Some(container)) => (wasm, container),
        // One at a time, to know; the wasm half first, which is there at once.
        (None, _) if wasm.ahead == 0 => return Half::Wasm,
        (Some(_), None) if container.ahead == 0 => return Half::Container,
        (None, Some(_)) => return Half::Container,
        (_, None) => return Half::Wasm,
    };
    let (wasm_cost, container_cost) = (wasm.cost(wasm_time), container.cost(container_time));
    let (best, other, ratio, other_time) = if wasm_cost <= container_cost {
        (wasm, container, wasm_cost / container_cost, container_time)
    } else {
        (container, wasm, container_cost / wasm_cost, wasm_time)
    };
    if explores(&other, other_time, ratio, dice) { other.half } else { best.half }
}

/// Whether an invocation goes to the half that seems slower, `ratio` being the better cost by its own.
fn explores(other: &Runner, time: Known, ratio: f64, dice: f64) -> bool {
    if !other.has_room() || other.asleep {
        return false;
    }
    if time.age >= STALE {
        // A mean of long ago tells little, so it bounds nothing; one invocation makes a new one. By dice all the
        // same: of a function that is seldom called it is old at every call.
        return other.ahead == 0 && dice < MOST;
    }
    dice < if time.samples < ENOUGH { LEARNING } else { (BUDGET * ratio).min(MOST) }
}

impl Pool {
    fn runner(&self) -> Runner {
        Runner {
            half: Half::Wasm,
            ahead: self.busy.saturating_add(self.queued),
            width: self.slots,
            time: self.time,
            asleep: false,
        }
    }

    /// Whether an invocation would have to wait.
    fn is_full(&self) -> bool {
        self.queued > 0 || self.busy >= self.slots
    }
}

impl Containers {
    fn runner(&self) -> Runner {
        Runner {
            half: Half::Container,
            ahead: self.inflight,
            width: self.available.saturating_mul(PER_CONTAINER),
            time: self.time,
            asleep: self.frozen >= self.available,
        }
    }
}

#[cfg(test)]
mod tests;
