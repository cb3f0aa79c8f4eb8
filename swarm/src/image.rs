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
    let digest = digest_in(digests, reference);
    // Built here and never pushed under this name: no registry can know more about it.
    if let Some(id) = local.as_ref().and_then(|image| image.id.clone()).filter(|_| digest.is_none()) {
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
    if let Some(digest) = digest {
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

/// The digest among `name@sha256:…` that the reference's own repository gave an image: the same image has
/// others in other repositories, under which Docker does not find it.
fn digest_in<'a>(digests: &'a [String], reference: &str) -> Option<&'a str> {
    let known = digests.iter().filter_map(|known| known.split_once('@'));
    known.filter(|(name, _)| repository(name) == repository(reference)).map(|(_, digest)| digest).next()
}

/// A reference without its tag and without what Docker Hub's may leave out.
fn repository(reference: &str) -> &str {
    let slash = reference.rfind('/').map_or(0, |at| at + 1);
    let name = reference[slash..].find(':').map_or(reference, |at| &reference[..slash + at]);
    let name =
        ["docker.io/", "index.docker.io/"].iter().find_map(|hub| name.strip_prefix(hub)).unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

fn invalid(reason: String) -> ProviderError {
    ProviderError::InvalidSpec { field: "image".to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_counts_in_its_own_repository() {
        let digests = ["host:5000/me/echo@sha256:1", "me/echo@sha256:2", "echo@sha256:3"].map(str::to_owned);
        for (reference, digest) in [
            ("host:5000/me/echo:1", Some("sha256:1")),
            ("me/echo", Some("sha256:2")),
            ("docker.io/me/echo:latest", Some("sha256:2")),
            ("docker.io/library/echo:1", Some("sha256:3")),
            ("other/echo", None),
        ] {
            assert_eq!(digest_in(&digests, reference), digest, "{reference}");
        }
    }

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
