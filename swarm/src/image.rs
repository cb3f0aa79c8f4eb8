//! Which bytes an image reference means, decided once when a function is deployed.
//!
//! A plain tag makes every node ask the registry at every start, up to 20 s long when that does not
//! answer; and it may mean other bytes tomorrow. So a service is given a digest, or the id of an
//! image that was built here.

mod registry;

use std::time::Duration;

use bollard::auth::DockerCredentials;
use bramble_provider::ProviderError;

use crate::docker::{Docker, DockerError};

pub(crate) use registry::RegistryAuth;

/// Longest that a registry is waited for: it is asked through the daemon.
const REGISTRY_DEADLINE: Duration = Duration::from_secs(10);

/// An image that does not change any more.
#[derive(Debug)]
pub(crate) struct Pinned {
    /// `name:tag@sha256:…`, or `sha256:…` of an image that is in no registry.
    pub(crate) reference: String,
    /// What its registry wants to see from whoever pulls it.
    pub(crate) credentials: Option<DockerCredentials>,
}

/// Finds the digest of an image: what the registry has now, else what this machine has.
///
/// # Errors
/// [`ProviderError::InvalidSpec`] when neither has it, with what both said; [`ProviderError::Unavailable`].
pub(crate) async fn pin(
    docker: &Docker,
    reference: &str,
    auth: &RegistryAuth,
) -> Result<Pinned, ProviderError> {
    if reference.is_empty() || reference.contains(char::is_whitespace) {
        return Err(invalid(format!("{reference:?} is no image reference, such as ghcr.io/me/echo:1.2")));
    }
    let credentials = auth.for_image(reference).await;
    if reference.contains("@sha256:") {
        return Ok(Pinned { reference: reference.to_owned(), credentials });
    }
    let local = match docker.ask(docker.client().inspect_image(reference)).await {
        Ok(image) => Some(image),
        Err(DockerError::NotFound(_)) => None,
        Err(error @ DockerError::Refused { .. }) => return Err(error.about("image")),
        Err(error) => return Err(error.into()),
    };
    let digests = local.as_ref().and_then(|image| image.repo_digests.as_deref()).unwrap_or_default();
    // Built here and never pushed: no registry can know more about it.
    if let Some(id) = local.as_ref().and_then(|image| image.id.clone()).filter(|_| digests.is_empty()) {
        return Ok(Pinned { reference: id, credentials: None });
    }
    let named = with_tag(reference);
    let asked = docker.client().inspect_registry_image(&named, credentials.clone());
    let told = match tokio::time::timeout(REGISTRY_DEADLINE, docker.change(asked)).await {
        Ok(Ok(found)) => match found.descriptor.digest {
            Some(digest) => return Ok(Pinned { reference: format!("{named}@{digest}"), credentials }),
            None => "the registry named no digest".to_owned(),
        },
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the registry did not answer within {REGISTRY_DEADLINE:?}"),
    };
    // The registry is out of reach; what was pulled from it before is still good.
    if let Some(digest) = digests.iter().find_map(|known| known.split_once('@')).map(|(_, digest)| digest) {
        tracing::warn!(image = reference, reason = told, "using the image that is on this machine");
        return Ok(Pinned { reference: format!("{named}@{digest}"), credentials });
    }
    Err(invalid(format!("{reference:?} is neither on this machine nor in its registry: {told}")))
}

/// A reference without a tag means `latest`.
fn with_tag(reference: &str) -> String {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    if name.contains(':') { reference.to_owned() } else { format!("{reference}:latest") }
}

fn invalid(reason: String) -> ProviderError {
    ProviderError::InvalidSpec { field: "image".to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_tag() {
        for (reference, tagged) in [
            ("echo", "echo:latest"),
            ("host:5000/echo", "host:5000/echo:latest"),
            ("host:5000/me/echo:1", "host:5000/me/echo:1"),
        ] {
            assert_eq!(with_tag(reference), tagged);
        }
    }
}
