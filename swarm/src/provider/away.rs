//! What is asked for and given up while Docker is away, and what that may leave behind there.
//!
//! The property that must hold: a function is forgotten without Docker only if no service of it was ever made.

use std::sync::{Arc, Weak};

use bramble_provider::{Code, FunctionName, FunctionSpec, ProviderError};
use dashmap::Entry;
use futures_util::future::BoxFuture;

use super::SwarmProvider;
use crate::core::Core;
use crate::function::{Function, Wanted};
use crate::service::service_name;

/// Who knows of which functions there may be a service, beyond the end of this process.
pub trait Ledger: Send + Sync + 'static {
    /// Whether there may be a service of the function. Called seldom; must not block.
    fn may_exist(&self, name: &FunctionName) -> bool;

    /// Remembers that there may be one from now on. Called before every write of a service, so it has to be quick
    /// when that is known. Idempotent.
    ///
    /// # Errors
    /// When it cannot be remembered; then nothing is written.
    fn begins<'n>(&'n self, name: &'n FunctionName) -> BoxFuture<'n, Result<(), ProviderError>>;

    /// There is none any more. Idempotent.
    fn ended<'n>(&'n self, name: &'n FunctionName) -> BoxFuture<'n, ()>;
}

impl SwarmProvider {
    /// Keeps a record of the services that may exist, and makes none when whoever keeps it is gone. Called once, before
    /// any function is there; without it, every function may have one.
    pub fn keep(&self, ledger: &Arc<impl Ledger>) {
        let ledger: Arc<dyn Ledger> = ledger.clone();
        if self.core.ledger.set(Arc::downgrade(&ledger)).is_err() {
            tracing::error!("there is a ledger of services already");
        }
    }

    /// Whether there may be a service of the function.
    pub fn may_have_service(&self, name: &FunctionName) -> bool {
        self.core.may_have_service(name)
    }

    /// Finds an image, so that nothing is changed for one that is missing.
    ///
    /// # Errors
    /// [`ProviderError::InvalidSpec`], [`ProviderError::Unavailable`].
    pub async fn check_image(&self, spec: &FunctionSpec) -> Result<(), ProviderError> {
        self.core.available().await?;
        self.core.pin(spec).await.map(drop)
    }

    /// Takes up what a function is to be without waiting for Docker, which makes it so when it is there: as a
    /// deployment, so what its image's name means is looked up by then. A function that is known goes on as it is.
    ///
    /// # Errors
    /// [`ProviderError::InvalidSpec`] when no service can have its name.
    pub fn want(&self, spec: FunctionSpec, desired: u32) -> Result<(), ProviderError> {
        let name = spec.name.clone();
        let wanted = Wanted { spec: Arc::new(spec), desired };
        let function = match self.core.functions.entry(name.clone()) {
            Entry::Occupied(known) => Arc::clone(known.get()),
            Entry::Vacant(place) => {
                let function = Function::new(name.clone(), service_name(&name)?, wanted.clone());
                Arc::clone(&place.insert(Arc::new(function)))
            }
        };
        function.want_anew(wanted);
        if self.core.unavailable().is_none() {
            // It is there, and was not for a moment.
            tokio::spawn(Arc::clone(&self.core).make_wanted(function));
        }
        Ok(())
    }

    /// Gives up a function whose service cannot be removed now. That is tried again in the background, for as long
    /// as nobody wants a function of this name in containers.
    pub fn remove_later(&self, name: &FunctionName) {
        let Some((name, function)) = self.core.functions.remove(name) else { return };
        function.remove();
        self.core.forget_metrics(&name);
        self.core.clear_up_later(function);
    }

    /// Removes, in the background, the service that a function may have left which is in containers no more.
    pub fn clear_up(&self, name: &FunctionName) {
        let Ok(service) = service_name(name) else { return };
        let nothing = FunctionSpec::new(name.clone(), Code::Image(String::new()));
        let wanted = Wanted { spec: Arc::new(nothing), desired: 0 };
        self.core.clear_up_later(Arc::new(Function::new(name.clone(), service, wanted)));
    }
}

impl Core {
    /// Whether there may be a service of the function.
    pub(crate) fn may_have_service(&self, name: &FunctionName) -> bool {
        let ledger = self.ledger.get().and_then(Weak::upgrade);
        ledger.is_none_or(|ledger| ledger.may_exist(name))
    }

    /// Remembers that there may be a service.
    pub(crate) async fn begins(&self, name: &FunctionName) -> Result<(), ProviderError> {
        let Some(ledger) = self.ledger.get() else { return Ok(()) };
        match ledger.upgrade() {
            Some(ledger) => ledger.begins(name).await,
            None => Err(ProviderError::internal("making a service", "the gateway is ending")),
        }
    }

    /// Remembers that there is none.
    pub(crate) async fn ended(&self, name: &FunctionName) {
        if let Some(ledger) = self.ledger.get().and_then(Weak::upgrade) {
            ledger.ended(name).await;
        }
    }

    /// Forgets a function of which no service was ever made; false when there may be one.
    pub(super) async fn forget_unmade(&self, name: &FunctionName) -> bool {
        if self.may_have_service(name) {
            return false;
        }
        let Some((name, function)) = self.functions.remove(name) else { return true };
        // Whoever writes it is done after this, and nobody begins: it is not among the functions.
        let _alone = function.writing.lock().await;
        if self.may_have_service(&name) {
            self.functions.insert(name, Arc::clone(&function));
            return false;
        }
        function.remove();
        self.forget_metrics(&name);
        true
    }
}

#[cfg(test)]
mod tests;
