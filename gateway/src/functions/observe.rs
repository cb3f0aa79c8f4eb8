//! All functions as a scaler sees them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bramble_provider::{FunctionName, FunctionSpec, ProviderError, Replicas, Runtime};
use bramble_scaler::policy::{Defaults, Policy};
use bramble_scaler::{Counters, Deployed, Observed, State};

use super::{Function, Functions};

impl Deployed for Function {
    fn name(&self) -> &FunctionName {
        &self.spec.name
    }

    fn labels(&self) -> &BTreeMap<String, String> {
        &self.spec.labels
    }

    fn runtime(&self) -> Runtime {
        self.runtime
    }
}

/// Refuses labels that the scaler could not follow, before anything is stored.
pub(super) fn check_labels(spec: &FunctionSpec, wasm_slots: u32) -> Result<(), ProviderError> {
    let defaults = Defaults { wasm_slots, ..Defaults::default() };
    Policy::from_labels(&spec.labels, spec.runtime(), &defaults).map(drop).map_err(|error| {
        let reason = format!("{:?}: {}", error.value, error.reason);
        ProviderError::InvalidSpec { field: format!("labels.{}", error.label), reason }
    })
}

impl Functions {
    /// Every function that its provider has, with its replicas and counters. Waits for nothing.
    pub fn observe(&self, memory_short: bool, held: impl Fn(&FunctionName) -> bool) -> Vec<Observed> {
        let functions = self.0.snapshot.load_full();
        // What its provider refused is not there to be scaled.
        let there = functions.values().filter(|function| function.fault().is_none());
        there.map(|function| self.observed(function, memory_short, &held)).collect()
    }

    /// Slots that the modules of hybrids hold now; what is scaled of a hybrid are its containers.
    pub(crate) fn held_by_modules(&self) -> u32 {
        let functions = self.0.snapshot.load_full();
        let hybrids = functions.values().filter(|function| function.runtime == Runtime::Hybrid);
        let held =
            hybrids.filter_map(|function| self.0.providers.slots(function.runtime, &function.spec.name));
        held.map(|slots| slots.busy).fold(0, u32::saturating_add)
    }

    fn observed(
        &self,
        function: &Arc<Function>,
        memory_short: bool,
        held: &impl Fn(&FunctionName) -> bool,
    ) -> Observed {
        let (name, runtime) = (&function.spec.name, function.runtime);
        let containers = self.0.providers.containers(runtime, name);
        let cpu_time = self.0.providers.cpu_time(runtime, name);
        let desired = function.desired();
        let replicas = match runtime {
            Runtime::Wasm => Replicas { desired, available: desired, frozen: 0 },
            Runtime::Container | Runtime::Hybrid => {
                containers.map_or_else(Replicas::default, |(replicas, _)| replicas)
            }
        };
        Observed {
            function: function.clone(),
            state: State {
                runtime,
                desired,
                available: replicas.available,
                frozen: replicas.frozen,
                memory_short,
            },
            counters: Counters {
                started: function.begun(),
                inflight: self.0.on_replicas(function),
                queued: self.0.providers.queued(runtime, name),
                // The queue is not the registry's; whoever knows it adds them.
                queue_depth: 0,
                cpu_seconds: cpu_time.map(|time| time.as_secs_f64()),
            },
            held: held(name),
        }
    }
}
