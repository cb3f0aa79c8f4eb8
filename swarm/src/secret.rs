//! Secrets of the Swarm, by the names that specs use.

use bramble_provider::{FunctionSpec, ProviderError, SecretName};

use crate::docker::Docker;

/// A secret of the Swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretRef {
    /// Its name, in the Swarm and in the function.
    pub(crate) name: SecretName,
    /// The Swarm's id for it.
    pub(crate) id: String,
}

/// Finds the secrets that a spec names.
///
/// # Errors
/// [`ProviderError::UnknownSecret`] with the names there are; [`ProviderError::Unavailable`].
pub(crate) async fn find(docker: &Docker, spec: &FunctionSpec) -> Result<Vec<SecretRef>, ProviderError> {
    if spec.secrets.is_empty() {
        return Ok(Vec::new());
    }
    let list = docker.client().list_secrets(None::<bollard::query_parameters::ListSecretsOptions>);
    let known: Vec<(String, String)> = docker
        .ask(list)
        .await?
        .into_iter()
        .filter_map(|secret| Some((secret.spec?.name?, secret.id?)))
        .collect();
    let find = |name: &SecretName| match known.iter().find(|(known, _)| known == name.as_str()) {
        Some((_, id)) => Ok(SecretRef { name: name.clone(), id: id.clone() }),
        None => {
            let mut choices: Vec<_> = known.iter().map(|(name, _)| name.as_str()).collect();
            choices.sort_unstable();
            Err(ProviderError::UnknownSecret { name: name.clone(), choices: choices.join(", ") })
        }
    };
    spec.secrets.iter().map(find).collect()
}
