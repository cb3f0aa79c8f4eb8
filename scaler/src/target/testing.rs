//! Functions that are nowhere deployed, for the tests of what looks at them.

use std::sync::Arc;

use bramble_provider::{FunctionName, Runtime};

use super::wire::Remote;
use super::{Counters, Observed};
use crate::load::State;

/// A wasm function of one slot.
pub(crate) fn observed(name: &str, labels: &[(&str, &str)], counters: Counters) -> Observed {
    let function = Remote {
        name: FunctionName::parse(name).unwrap(),
        labels: labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect(),
        runtime: Runtime::Wasm,
    };
    let state = State { runtime: Runtime::Wasm, desired: 1, available: 1, frozen: 0, memory_short: false };
    Observed { function: Arc::new(function), state, counters, held: false }
}
