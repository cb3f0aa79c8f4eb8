//! Of which functions there may be a Swarm service: a gateway without Docker may forget the others.
//!
//! The property that must hold: a name is in the store before Docker is asked for its service, and stays there until
//! Docker has said that there is none.

use std::collections::HashSet;

use bramble_provider::{FunctionName, ProviderError};
use bramble_swarm::Ledger;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use crate::error::causes;
use crate::store::{Store, StoreError};

/// The names that are marked in the store.
pub(super) struct Services {
    store: Store,
    marked: Mutex<HashSet<FunctionName>>,
}

impl Services {
    /// None are known before [`Self::load`].
    pub(super) fn new(store: Store) -> Self {
        Self { store, marked: Mutex::default() }
    }

    /// Reads what is marked, and answers it. Blocking.
    pub(super) fn load(&self) -> Result<HashSet<FunctionName>, StoreError> {
        let marked: HashSet<_> = self.store.services()?.into_iter().collect();
        self.marked.lock().extend(marked.iter().cloned());
        Ok(marked)
    }
}

impl Ledger for Services {
    fn may_exist(&self, name: &FunctionName) -> bool {
        self.marked.lock().contains(name)
    }

    fn begins<'n>(&'n self, name: &'n FunctionName) -> BoxFuture<'n, Result<(), ProviderError>> {
        Box::pin(async move {
            if !self.may_exist(name) {
                self.store.put_service(name).await?;
                self.marked.lock().insert(name.clone());
            }
            Ok(())
        })
    }

    fn ended<'n>(&'n self, name: &'n FunctionName) -> BoxFuture<'n, ()> {
        Box::pin(async move {
            if !self.marked.lock().remove(name) {
                return;
            }
            if let Err(error) = self.store.remove_service(name).await {
                // Then it is cleared up once more after the next start, or refused to go without Docker.
                tracing::warn!(function = %name, error = causes(&error), "cannot forget that there was a service");
            }
        })
    }
}
