//! From load to desired replicas: one control loop for instance slots and for containers.
//!
//! In: the policy that a function's labels ask for, the decision about it, the steadying of decisions
//! over time, the division of a host's slots; and the loop that observes and applies. Out: what a
//! replica is, which [`bramble_provider::Scale`] hides.
//! The property that must hold: [`decide()`], [`stabilise()`] and [`share()`] are pure. They read no clock and
//! do no I/O, so a trace that is replayed gives the same decisions.
//!
//! The order of one tick: loads come from a source → [`decide()`] proposes from one function's load alone →
//! [`stabilise()`] holds the proposal to what came before → [`share()`] divides a host's slots among the
//! functions that want them → the result is applied.

pub mod budget;
pub mod decide;
pub mod load;
pub mod policy;
pub mod run;
pub mod source;
pub mod stabilise;
pub mod target;

pub use budget::{Want, share};
pub use decide::{Bound, Change, Proposal, Reason, alert, decide};
pub use load::{Load, State};
pub use policy::{Defaults, Policy, PolicyError, Signal};
pub use run::{Explained, Journal, Outcome, Scaler, ScalerConfig, ScalerMetrics};
pub use source::{AnySource, Source, SourceError};
pub use stabilise::{Action, Decision, History, Hold, Pace, Tuning, stabilise};
pub use target::{Counters, Deployed, Observed, Standing, Target, View};
