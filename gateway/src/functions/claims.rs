//! Who is about to use a module, and who is about to remove it: never both.
//!
//! Without this a deployment could be acknowledged while its module is being deleted, and the
//! function would be gone after a restart.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bramble_provider::{Digest, ProviderError};
use parking_lot::Mutex;

/// When a refused claim may be tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The claims on all modules. Modules without one take no memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Claims(Arc<Mutex<HashMap<Digest, Claim>>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// So many uploads and deployments need it to stay.
    Using(u32),
    /// It is being deleted.
    Removing,
}

/// A claim on one module, until it is dropped.
#[derive(Debug)]
#[must_use = "the claim ends when this is dropped"]
pub struct ModuleClaim {
    claims: Claims,
    digest: Digest,
}

impl Claims {
    /// Keeps the module from being removed. Any number of claims may do so.
    pub(super) fn using(&self, digest: Digest) -> Result<ModuleClaim, ProviderError> {
        let mut claims = self.0.lock();
        match claims.entry(digest).or_insert(Claim::Using(0)) {
            Claim::Removing => Err(busy(digest, "removed")),
            Claim::Using(count) => {
                *count += 1;
                Ok(self.claim(digest))
            }
        }
    }

    /// Keeps everybody else away from the module.
    pub(super) fn removing(&self, digest: Digest) -> Result<ModuleClaim, ProviderError> {
        let mut claims = self.0.lock();
        match claims.get(&digest) {
            Some(Claim::Removing) => Err(busy(digest, "removed")),
            Some(Claim::Using(_)) => Err(busy(digest, "deployed")),
            None => {
                claims.insert(digest, Claim::Removing);
                Ok(self.claim(digest))
            }
        }
    }

    fn claim(&self, digest: Digest) -> ModuleClaim {
        ModuleClaim { claims: self.clone(), digest }
    }
}

impl Drop for ModuleClaim {
    fn drop(&mut self) {
        let mut claims = self.claims.0.lock();
        match claims.get_mut(&self.digest) {
            Some(Claim::Using(count)) if *count > 1 => *count -= 1,
            _ => drop(claims.remove(&self.digest)),
        }
    }
}

fn busy(digest: Digest, verb: &str) -> ProviderError {
    ProviderError::Unavailable {
        provider: "the registry",
        reason: format!("module {digest} is being {verb} at this moment; try again"),
        retry_after: RETRY_AFTER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_used_or_removed_but_not_both() {
        let (claims, digest) = (Claims::default(), Digest::from_sha256([1; 32]));
        let first = claims.using(digest).unwrap();
        let second = claims.using(digest).unwrap();
        assert!(claims.removing(digest).is_err());
        drop(first);
        assert!(claims.removing(digest).is_err());
        drop(second);
        let removing = claims.removing(digest).unwrap();
        assert!(claims.using(digest).is_err() && claims.removing(digest).is_err());
        drop(removing);
        assert!(claims.0.lock().is_empty());
    }
}
