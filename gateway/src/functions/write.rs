//! What a write does, in its turn: store, apply, publish; and put back what was there on a refusal.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bramble_provider::spec::MODULE_ANNOTATION;
use bramble_provider::{Code, Digest, FunctionName, FunctionSpec, ProviderError, Runtime, Settings};

use super::function::Entry;
use super::providers::Amounts;
use super::{Deployed, Function, Inner, Mode, Restored};
use crate::error::{GatewayError, causes};
use crate::metrics::FunctionMetrics;
use crate::store::record::unix_nanos;
use crate::store::{Keep, StoreError, StoredFunction};

/// Longest that a runtime is kept which a function does not use any more, and between two looks.
const LEAVE_AFTER: Duration = Duration::from_secs(2);
const LEAVE_LOOK: Duration = Duration::from_millis(2);

/// What is to be deployed.
pub(super) enum Change {
    /// A whole spec.
    Spec { spec: Box<FunctionSpec>, mode: Mode },
    /// Other code for what is there, or a function of nothing but code.
    Module { name: FunctionName, module: Digest },
}

impl Inner {
    pub(super) async fn deploy(&self, change: Change) -> Result<Deployed, GatewayError> {
        let _turn = self.order.turn(change.name()).await?;
        let current = self.get(change.name().as_str());
        let spec = change.onto(current.as_deref())?;
        spec.validate()?;
        super::observe::check_labels(&spec, self.default_desired)?;
        crate::queue::retry::Retry::read(&spec.annotations)?;
        crate::cron::schedule::Schedule::read(&spec.annotations)?;
        let _stays = module_of(&spec.code).map(|module| self.modules.using(module)).transpose()?;
        self.providers.check(&spec).await?;
        if let Some(current) = &current {
            self.providers.check_leaving(&current.spec, spec.runtime()).await?;
        }
        let next = self.next(spec, current.as_deref())?;
        let settings = next.spec.settings()?;

        let unchanged = current.as_ref().is_some_and(|function| function.stored() == next);
        if !unchanged {
            self.store.put(&next, Keep::Durably).await.map_err(ProviderError::from)?;
        }
        let before = current.as_deref().map(|function| (&function.spec, function.desired()));
        if let Err(refusal) = self.providers.deploy(&next.spec, self.amounts(next.desired), before).await {
            if !unchanged {
                self.put_back(&next.spec.name, current.as_deref()).await;
            }
            return Err(refusal.into());
        }
        let (now, name) = (next.spec.runtime(), next.spec.name.clone());
        self.publish(match &current {
            Some(function) => function.succeeded_by(next, settings, &self.hybrids),
            None => self.born(next, settings),
        });
        if let Some(function) = current.as_ref().filter(|function| function.runtime != now) {
            function.retire_hybrid();
            unused(function).await;
            if let Err(error) = self.providers.leave(function.runtime, Some(now), &name).await {
                // What was asked for is done and visible.
                tracing::warn!(function = %name, error = causes(&error), "its containers go later");
                self.providers.leave_later(&name);
            }
        }
        Ok(match current {
            None => Deployed::Created,
            Some(_) if unchanged => Deployed::Unchanged,
            Some(_) => Deployed::Updated,
        })
    }

    pub(super) async fn remove(&self, name: &FunctionName) -> Result<(), GatewayError> {
        let _turn = self.order.turn(name).await?;
        let current = self.existing(name)?;
        self.store.remove(name).await.map_err(ProviderError::from)?;
        if let Err(refusal) = self.providers.remove(current.runtime, name).await {
            self.put_back(name, Some(&current)).await;
            return Err(refusal.into());
        }
        self.change_snapshot(|functions| drop(functions.remove(name)));
        current.retire();
        Ok(())
    }

    pub(super) async fn remove_module(&self, module: Digest) -> Result<(), ProviderError> {
        let _alone = self.modules.removing(module)?;
        // Also what its provider could not take up again, which the provider itself does not know of.
        let functions = self.snapshot.load_full();
        if let Some(function) = functions.values().find(|f| module_of(&f.spec.code) == Some(module)) {
            let function = function.spec.name.clone();
            return Err(ProviderError::ModuleInUse { digest: module, function });
        }
        self.providers.remove_module(module).await
    }

    pub(super) async fn scale(&self, name: &FunctionName, desired: u32) -> Result<(), GatewayError> {
        let _turn = self.order.turn(name).await?;
        let current = self.existing(name)?;
        self.set_desired(&current, desired, Keep::Durably).await?;
        // What runs comes to its end there. What waits for a replica would wait in vain, so it brings the function back
        // as one that comes later does.
        if desired == 0 && self.is_waited_for(&current).await {
            self.wake(&current).await?;
        }
        Ok(())
    }

    /// Whether invocations wait for a replica of a function that was just taken to 0.
    async fn is_waited_for(&self, function: &Function) -> bool {
        let waits = || self.providers.queued(function.runtime, &function.spec.name) > 0;
        if waits() {
            return true;
        }
        // One that saw the old number may be about to wait.
        tokio::time::sleep(LEAVE_LOOK).await;
        waits()
    }

    /// The scale from 0. Stored lazily: an invocation waits for it, and when a crash takes it back,
    /// the next invocation asks for it again.
    pub(super) async fn activate(&self, name: &FunctionName) -> Result<(), ProviderError> {
        let _turn = self.order.turn(name).await?;
        let current = self.existing(name)?;
        if current.desired() > 0 {
            return Ok(());
        }
        self.wake(&current).await
    }

    async fn wake(&self, current: &Function) -> Result<(), ProviderError> {
        let few = self.default_desired(current.runtime);
        let wanted = current.spec.scale_min()?.unwrap_or(few).max(1);
        self.set_desired(current, wanted, Keep::Lazily).await
    }

    pub(super) async fn set_desired(
        &self,
        current: &Function,
        desired: u32,
        keep: Keep,
    ) -> Result<(), ProviderError> {
        let name = &current.spec.name;
        let unchanged = current.desired() == desired;
        if !unchanged {
            self.store.put(&StoredFunction { desired, ..current.stored() }, keep).await?;
        }
        if let Err(refusal) = self.providers.scale(current.runtime, name, desired).await {
            if !unchanged {
                self.put_back(name, Some(current)).await;
            }
            return Err(refusal);
        }
        current.set_desired(desired);
        Ok(())
    }

    /// Reads the store and fills the registry. Blocking.
    pub(super) fn restore(&self) -> Result<Restored, StoreError> {
        let stored = self.store.load()?;
        let mut left = self.services.load()?;
        for function in stored.iter().filter(|function| function.spec.runtime().has_containers()) {
            left.remove(&function.spec.name);
        }
        left.iter().for_each(|name| self.providers.clear_up(name));
        let specs = stored.iter().map(|function| (function.spec.clone(), self.amounts(function.desired)));
        let mut faults = HashMap::<_, Vec<_>>::new();
        for (name, fault) in self.providers.restore(specs.collect()) {
            faults.entry(name).or_default().push(fault);
        }
        let mut functions = HashMap::with_capacity(stored.len());
        let mut restored = Restored { functions: stored.len(), faulty: 0 };
        for function in stored {
            let name = function.spec.name.clone();
            let settings = function.spec.settings();
            let mut faults = faults.remove(&name).unwrap_or_default();
            faults.extend(settings.as_ref().err().map(described));
            // One half of a hybrid does without the other.
            let half = function.spec.runtime() == Runtime::Hybrid && faults.len() == 1 && settings.is_ok();
            let mut function = self.born(function, settings.unwrap_or_default());
            if let Some(fault) = faults.into_iter().next() {
                tracing::error!(function = %name, error = causes(&fault), "cannot restore the function");
                restored.faulty += 1;
                let fault = fault.to_string();
                function = if half { function.with_half_fault(fault) } else { function.with_fault(fault) };
            }
            functions.insert(name, Arc::new(function).into());
        }
        self.snapshot.store(Arc::new(functions));
        Ok(restored)
    }

    fn existing(&self, name: &FunctionName) -> Result<Arc<Function>, ProviderError> {
        self.get(name.as_str()).ok_or_else(|| ProviderError::UnknownFunction(name.clone()))
    }

    /// What will be stored for `spec`.
    fn next(&self, spec: FunctionSpec, current: Option<&Function>) -> Result<StoredFunction, ProviderError> {
        let Some(current) = current else {
            let desired = spec.scale_min()?.unwrap_or(self.default_desired(spec.runtime()));
            let created_at_unix_nanos = unix_nanos(SystemTime::now());
            return Ok(StoredFunction { spec, revision: 1, desired, created_at_unix_nanos });
        };
        let desired = desired_after(current, &spec, self.default_desired(spec.runtime()))?;
        let revision = current.revision + u64::from(current.spec != spec);
        Ok(StoredFunction { spec, revision, desired, ..current.stored() })
    }

    /// Replicas of a function that asks for no number. A wasm replica is a slot, which costs nothing
    /// until it is used; a container costs its memory, and starts slower beside others.
    fn default_desired(&self, runtime: Runtime) -> u32 {
        match runtime {
            Runtime::Wasm => self.default_desired,
            Runtime::Container | Runtime::Hybrid => 1,
        }
    }

    fn amounts(&self, desired: u32) -> Amounts {
        Amounts { desired, slots: self.default_desired }
    }

    fn born(&self, stored: StoredFunction, settings: Settings) -> Function {
        let metrics = FunctionMetrics::new(stored.spec.name.clone(), self.metrics.families().clone());
        Function::new(stored, settings, metrics, &self.hybrids)
    }

    fn publish(&self, function: Function) {
        let function = Entry::from(Arc::new(function));
        self.change_snapshot(|functions| {
            functions.insert(function.spec.name.clone(), function.clone());
        });
    }

    /// Writers of other names do this at the same time, so `change` may run more than once.
    fn change_snapshot(&self, change: impl Fn(&mut HashMap<FunctionName, Entry>)) {
        self.snapshot.rcu(|functions| {
            let mut functions = HashMap::clone(functions);
            change(&mut functions);
            functions
        });
    }

    /// Undoes a write to the store that the provider refused.
    async fn put_back(&self, name: &FunctionName, before: Option<&Function>) {
        let undone = match before {
            Some(function) => self.store.put(&function.stored(), Keep::Durably).await,
            None => self.store.remove(name).await,
        };
        if let Err(error) = undone {
            tracing::error!(function = %name, error = causes(&error), "cannot undo a refused change in the store");
        }
    }
}

impl Change {
    fn name(&self) -> &FunctionName {
        match self {
            Self::Spec { spec, .. } => &spec.name,
            Self::Module { name, .. } => name,
        }
    }

    /// The spec that this change makes of what is there.
    fn onto(self, current: Option<&Function>) -> Result<FunctionSpec, GatewayError> {
        match (self, current) {
            (Self::Spec { spec, mode: Mode::Create }, Some(_)) => {
                Err(GatewayError::AlreadyDeployed(spec.name))
            }
            (Self::Spec { spec, mode: Mode::Update }, None) => {
                Err(ProviderError::UnknownFunction(spec.name).into())
            }
            (Self::Spec { spec, .. }, _) => Ok(*spec),
            (Self::Module { name, module }, None) => Ok(FunctionSpec::new(name, Code::Module(module))),
            (Self::Module { module, .. }, Some(current)) => {
                let mut spec = current.spec.clone();
                // It names the module that runs, or a later update of this spec would be refused.
                if let Some(named) = spec.annotations.get_mut(MODULE_ANNOTATION) {
                    *named = module.to_string();
                }
                spec.code = match spec.code {
                    Code::Module(_) | Code::Image(_) => Code::Module(module),
                    Code::Hybrid { image, .. } => Code::Hybrid { module, image },
                };
                Ok(spec)
            }
        }
    }
}

/// Waits until no invocation is left that may yet ask for what an old revision runs on, but for
/// [`LEAVE_AFTER`] at most: those that began finish without its half being deployed.
pub(super) async fn unused(old: &Function) {
    let end = Instant::now() + LEAVE_AFTER;
    loop {
        // Once in any case: one that has found the revision may be about to be counted.
        tokio::time::sleep(LEAVE_LOOK).await;
        if old.invocations() == 0 || Instant::now() >= end {
            return;
        }
    }
}

fn module_of(code: &Code) -> Option<Digest> {
    match code {
        Code::Module(module) | Code::Hybrid { module, .. } => Some(*module),
        Code::Image(_) => None,
    }
}

/// Replicas after a redeploy. What the scaler or an operator chose stays, unless the new spec asks
/// for another minimum. What is deployed anew is wanted, so it does not stay at 0: it begins as if it were new.
fn desired_after(current: &Function, next: &FunctionSpec, default: u32) -> Result<u32, ProviderError> {
    let (before, min) = (current.spec.scale_min()?, next.scale_min()?);
    Ok(match min {
        // Slots and containers are not counted alike.
        _ if min == before && current.runtime.has_containers() == next.runtime().has_containers() => {
            match current.desired() {
                0 => min.unwrap_or(default),
                chosen => chosen.max(min.unwrap_or(1)),
            }
        }
        Some(min) => min,
        None => default,
    })
}

/// [`ProviderError`] cannot be cloned; this keeps what it says.
fn described(error: &ProviderError) -> ProviderError {
    ProviderError::InvalidSpec { field: "stored spec".into(), reason: error.to_string() }
}
