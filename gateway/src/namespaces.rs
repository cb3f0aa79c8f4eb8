//! The namespaces that were made by name, with what people write on them.
//!
//! A namespace needs no making: a function or secret may be deployed into any. One is there when it is the
//! default, was made here, or has something in it; only those that were made are stored.

use std::collections::BTreeMap;

use bramble_provider::{DEFAULT_NAMESPACE, ProviderError};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use crate::error::GatewayError;
use crate::store::{Store, StoreError};

/// Most namespaces that are stored.
const MAX_NAMESPACES: usize = 10_000;

/// What is written on a namespace. Nothing here follows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// For people and programs.
    pub annotations: BTreeMap<String, String>,
    /// For people and programs.
    pub labels: BTreeMap<String, String>,
}

/// The stored namespaces, by name.
#[derive(Debug)]
pub struct Namespaces {
    known: RwLock<BTreeMap<String, Namespace>>,
    store: Store,
    /// One change at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Namespaces {
    /// Reads them. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub fn open(store: Store) -> Result<Self, StoreError> {
        let known = RwLock::new(store.namespaces()?);
        Ok(Self { known, store, turn: tokio::sync::Mutex::default() })
    }

    /// The names.
    pub fn names(&self) -> Vec<String> {
        self.known.read().keys().cloned().collect()
    }

    /// One of them, if it was made.
    pub fn get(&self, name: &str) -> Option<Namespace> {
        self.known.read().get(name).cloned()
    }

    /// Makes a new one.
    ///
    /// # Errors
    /// [`GatewayError::NamespaceExists`], also for the default one; what the store says.
    pub async fn create(&self, name: &str, namespace: Namespace) -> Result<(), GatewayError> {
        let _alone = self.turn.lock().await;
        if name == DEFAULT_NAMESPACE || self.known.read().contains_key(name) {
            return Err(GatewayError::NamespaceExists(name.to_owned()));
        }
        if self.known.read().len() >= MAX_NAMESPACES {
            let reason = format!("there are {MAX_NAMESPACES} namespaces already");
            return Err(ProviderError::InvalidSpec { field: "name".to_owned(), reason }.into());
        }
        self.put(name, namespace).await
    }

    /// Writes something else on one that `exists`, made or not.
    ///
    /// # Errors
    /// [`GatewayError::UnknownNamespace`]; what the store says.
    pub async fn replace(&self, name: &str, namespace: Namespace, exists: bool) -> Result<(), GatewayError> {
        let _alone = self.turn.lock().await;
        if !exists && !self.known.read().contains_key(name) {
            return Err(GatewayError::UnknownNamespace(name.to_owned()));
        }
        self.put(name, namespace).await
    }

    /// Forgets one in which nothing is.
    ///
    /// # Errors
    /// [`GatewayError::UnknownNamespace`]; what the store says.
    pub async fn remove(&self, name: &str) -> Result<(), GatewayError> {
        let _alone = self.turn.lock().await;
        if !self.known.read().contains_key(name) {
            return Err(GatewayError::UnknownNamespace(name.to_owned()));
        }
        self.store.remove_namespace(name).await.map_err(ProviderError::from)?;
        self.known.write().remove(name);
        Ok(())
    }

    async fn put(&self, name: &str, namespace: Namespace) -> Result<(), GatewayError> {
        self.store.put_namespace(name, &namespace).await.map_err(ProviderError::from)?;
        self.known.write().insert(name.to_owned(), namespace);
        Ok(())
    }
}
