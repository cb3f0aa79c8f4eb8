//! What is stored of a function.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bramble_provider::FunctionSpec;
use serde::{Deserialize, Serialize};

use super::StoreError;

/// A function as it is asked to be. Fields may be added with a default; none may change its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFunction {
    /// What was deployed.
    pub spec: FunctionSpec,
    /// Counts the specs that were deployed under this name, from 1.
    pub revision: u64,
    /// Replicas that are asked for.
    pub desired: u32,
    /// When the name was first deployed, in nanoseconds since the Unix epoch.
    pub created_at_unix_nanos: u64,
}

impl StoredFunction {
    /// When the name was first deployed.
    pub fn created_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.created_at_unix_nanos)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a spec has string keys only, so it always serialises")
    }

    pub(super) fn decode(key: &str, json: &[u8]) -> Result<Self, StoreError> {
        let function: Self = serde_json::from_slice(json)
            .map_err(|error| StoreError::damaged(format!("function {key:?}: {error}")))?;
        if function.spec.name.as_str() != key {
            let found = function.spec.name;
            return Err(StoreError::damaged(format!("function {key:?} is recorded as {found:?}")));
        }
        Ok(function)
    }
}

/// Nanoseconds since the Unix epoch, which fit until the year 2554.
pub(crate) fn unix_nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX))
}
