//! Functions that are nowhere deployed, for the tests of what looks at them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bramble_provider::{FunctionName, Runtime};

use super::{Counters, Deployed, Observed};
use crate::load::State;

#[derive(Debug)]
struct Sample {
    name: FunctionName,
    labels: BTreeMap<String, String>,
    runtime: Runtime,
}

impl Deployed for Sample {
    fn name(&self) -> &FunctionName {
        &self.name
    }

    fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    fn runtime(&self) -> Runtime {
        self.runtime
    }
}

/// A wasm function of one slot.
pub(crate) fn observed(name: &str, labels: &[(&str, &str)], counters: Counters) -> Observed {
    let sample = Sample {
        name: FunctionName::parse(name).unwrap(),
        labels: labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect(),
        runtime: Runtime::Wasm,
    };
    let state = State { runtime: Runtime::Wasm, desired: 1, available: 1, frozen: 0, memory_short: false };
    Observed { function: Arc::new(sample), state, counters, held: false }
}
