//! What the change of a secret does to the containers that have it.

use std::collections::HashSet;
use std::sync::Arc;

use bramble_provider::{ProviderError, SecretName};

use super::SwarmProvider;
use crate::function::Function;
use crate::secret;

impl SwarmProvider {
    /// Has the functions of a namespace run with the value that a secret has now: their replicas are replaced
    /// as in an update, with the image that they have. Answers when that was asked for, not when it is done.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`] when another try may help, or it is done when Docker is back;
    /// [`ProviderError::InvalidSpec`] and others with what is refused for good. The other functions have the value.
    pub async fn secret_changed(&self, namespace: &str, name: &SecretName) -> Result<(), ProviderError> {
        let core = &self.core;
        let functions: Vec<_> = core.functions.iter().map(|entry| Arc::clone(entry.value())).collect();
        let (mut outcome, mut kept) = (Ok(()), HashSet::new());
        for function in functions.into_iter().filter(|function| function.name.namespace() == namespace) {
            if !function.wanted.lock().spec.secrets.contains(name) {
                continue;
            }
            let rotated = self.rotated(&function).await.map(|previous| kept.extend(previous));
            outcome = worse(outcome, rotated);
        }
        core.look_now();
        outcome?;
        // Without Docker there is nothing to clear up; with it, a function's secrets were made above.
        core.available().await?;
        Ok(secret::forget_old(&core.docker, &name.in_namespace(namespace), &kept).await?)
    }

    /// Gives one function the value, and answers the ids of the secrets to which it may have to go back.
    async fn rotated(&self, function: &Arc<Function>) -> Result<Vec<String>, ProviderError> {
        let before = function.trouble.update();
        self.core.rotate(function).await?;
        if function.trouble.update() != before {
            self.core.judge_update_later(function);
        }
        Ok(secret::of_previous(&self.core.docker, &function.service).await?)
    }

    /// Takes a secret that no function needs out of the Swarm.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`]: it stays there.
    pub async fn secret_removed(&self, namespace: &str, name: &SecretName) -> Result<(), ProviderError> {
        self.core.available().await?;
        Ok(secret::forget_all(&self.core.docker, &name.in_namespace(namespace)).await?)
    }
}

/// Of the outcomes of two functions the one that is told: that after which another try may help, if there is one.
fn worse(first: Result<(), ProviderError>, second: Result<(), ProviderError>) -> Result<(), ProviderError> {
    match (first, second) {
        (Err(_), Err(second @ ProviderError::Unavailable { .. })) => Err(second),
        (first, second) => first.and(second),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_that_may_be_tried_again_is_told_before_one_that_is_refused() {
        let refused =
            || Err(ProviderError::InvalidSpec { field: "secrets".to_owned(), reason: "taken".to_owned() });
        let busy = || {
            let (provider, reason) = ("Docker Swarm", "no answer".to_owned());
            Err(ProviderError::Unavailable { provider, reason, retry_after: Duration::from_secs(1) })
        };
        for (first, second, again) in [
            (refused(), busy(), true),
            (busy(), refused(), true),
            (Ok(()), busy(), true),
            (busy(), Ok(()), true),
            (refused(), refused(), false),
            (refused(), Ok(()), false),
        ] {
            let told = worse(first, second).unwrap_err();
            assert_eq!(matches!(told, ProviderError::Unavailable { .. }), again, "{told}");
        }
        assert!(worse(Ok(()), Ok(())).is_ok());
    }
}
