//! What the loop looks at, and what it moves: a registry of functions behind a trait.
//!
//! In: the trait and what is observed through it. Out: how a registry knows that, and how it changes
//! replicas. The property that must hold: a target has one way to change desired replicas, so the
//! loop, an operator and an alert take turns for each name.

pub mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bramble_provider::{FunctionName, ProviderError, Runtime};

use crate::load::State;

/// One revision of a function, as it was deployed. Immutable: another revision is another value.
pub trait Deployed: fmt::Debug + Send + Sync {
    /// Its name.
    fn name(&self) -> &FunctionName;

    /// Its labels; the policy is among them.
    fn labels(&self) -> &BTreeMap<String, String>;

    /// What runs it.
    fn runtime(&self) -> Runtime;
}

/// What a registry counts of one function. Only grows, but for `inflight`, `queued` and `queue_depth`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Counters {
    /// Invocations admitted since the registry's process started.
    pub started: u64,
    /// Invocations admitted and unfinished, the queued ones included.
    pub inflight: u32,
    /// Of these, waiting for a replica.
    pub queued: u32,
    /// Asynchronous invocations in the queue that may start now; not among those inflight.
    pub queue_depth: u32,
    /// Seconds of processor time its invocations took since the process started, where that is metered.
    pub cpu_seconds: Option<f64>,
}

/// A function at one instant.
#[derive(Debug, Clone)]
pub struct Observed {
    /// What was deployed. The same value at every look until it is deployed anew, where that is cheap.
    pub function: Arc<dyn Deployed>,
    /// Its replicas.
    pub state: State,
    /// What was counted.
    pub counters: Counters,
    /// Whether an alert holds it up: it must not be scaled down now.
    pub held: bool,
}

impl Observed {
    /// Whether an invocation is inflight or waits: it must not be frozen or scaled to zero.
    pub fn is_busy(&self) -> bool {
        let Counters { inflight, queued, queue_depth, .. } = self.counters;
        inflight > 0 || queued > 0 || queue_depth > 0
    }
}

/// All functions at one instant.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The functions, in any order, each once.
    pub functions: Vec<Observed>,
    /// Wasm slots of the host, which its functions share, without those that modules of hybrids hold now.
    pub wasm_slots: u32,
    /// Slots of a wasm function that asks for no number.
    pub default_slots: u32,
}

/// Whether a loop may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is the one writer until the lease ends.
    Leads,
    /// Another one is.
    StandsBy {
        /// Who that is, as it calls itself.
        leader: String,
    },
}

/// Functions whose replicas the loop moves.
///
/// Every method ends within a deadline of its own.
pub trait Target: Send + Sync + 'static {
    /// Asks to be the one writer for `term`, or to stay it. Called once in every tick, before the look; never in a
    /// dry run.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`] when the registry does not answer.
    fn lead(&self, term: Duration) -> impl Future<Output = Result<Standing, ProviderError>> + Send;

    /// All functions now. Called once in every tick.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`] when the registry does not answer.
    fn observe(&self) -> impl Future<Output = Result<View, ProviderError>> + Send;

    /// Moves the desired replicas of a function from `from` to `to`, and answers whether it did: not
    /// when they are no longer `from`, nor to 0 when an invocation came in between.
    ///
    /// # Errors
    /// [`ProviderError::UnknownFunction`] when it is gone; what the provider says.
    fn scale(
        &self,
        name: &FunctionName,
        from: u32,
        to: u32,
    ) -> impl Future<Output = Result<bool, ProviderError>> + Send;

    /// Pauses the replicas of a function on which nothing runs, and answers whether it paused any.
    ///
    /// # Errors
    /// As [`Self::scale`].
    fn freeze(&self, name: &FunctionName) -> impl Future<Output = Result<bool, ProviderError>> + Send;
}

#[cfg(test)]
pub(crate) mod testing;
