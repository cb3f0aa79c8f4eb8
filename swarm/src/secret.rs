//! Secrets of the Swarm, by the names that specs use.
//!
//! A secret that the gateway keeps is put into the Swarm when a function is deployed with it. The Swarm's
//! secrets never change, so another value is another secret of the Swarm, told apart by labels, and the
//! services that use it are updated. One that the gateway does not keep may have been made by hand, under
//! its plain name.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::UNIX_EPOCH;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bollard::models::SecretSpec;
use bollard::query_parameters::ListSecretsOptions;
use bramble_provider::{FunctionSpec, ProviderError, SecretName};

use crate::docker::{Docker, DockerError};

/// Which secret one of the Swarm's is: [`SecretName::in_namespace`].
const SECRET_LABEL: &str = "bramble.secret";
/// Which of its values; a later one has a larger number.
const VERSION_LABEL: &str = "bramble.secret.version";
/// Most of a secret's name that is in that of the Swarm's, which takes 64 bytes for all.
const MAX_NAME_BYTES: usize = 40;
/// Most tries when others make the same secret.
const MAX_TRIES: u32 = 3;

/// A secret of the Swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretRef {
    /// Its name in the function.
    pub(crate) name: SecretName,
    /// Its name in the Swarm.
    pub(crate) swarm_name: String,
    /// The Swarm's id for it.
    pub(crate) id: String,
}

/// One of the Swarm's secrets.
#[derive(Debug)]
struct Known {
    id: String,
    name: String,
    /// What [`SECRET_LABEL`] and [`VERSION_LABEL`] say, if it is one of ours.
    ours: Option<(String, u64)>,
}

/// Refuses a spec that names a secret which neither the gateway's directory nor the Swarm has.
///
/// # Errors
/// [`ProviderError::UnknownSecret`] with the names there are; [`ProviderError::Unavailable`].
pub(crate) async fn check(docker: &Docker, dir: &Path, spec: &FunctionSpec) -> Result<(), ProviderError> {
    if spec.secrets.is_empty() {
        return Ok(());
    }
    let known = list(docker).await?;
    for name in &spec.secrets {
        let stored = name.in_namespace(spec.name.namespace());
        if !dir.join(&stored).is_file() && by_hand(&known, &stored).is_none() {
            return Err(unknown(name, &known));
        }
    }
    Ok(())
}

/// The secrets that a spec names, in the Swarm: those that the gateway keeps with their value of now.
///
/// # Errors
/// As [`check`].
pub(crate) async fn provide(
    docker: &Docker,
    dir: &Path,
    spec: &FunctionSpec,
) -> Result<Vec<SecretRef>, ProviderError> {
    if spec.secrets.is_empty() {
        return Ok(Vec::new());
    }
    let known = list(docker).await?;
    let mut found = Vec::with_capacity(spec.secrets.len());
    for name in &spec.secrets {
        let stored = name.in_namespace(spec.name.namespace());
        let (id, swarm_name) = match version(&dir.join(&stored), name)? {
            Some(version) => make(docker, dir, name, &stored, version, &known).await?,
            None => match by_hand(&known, &stored) {
                Some(made) => (made.id.clone(), made.name.clone()),
                None => return Err(unknown(name, &known)),
            },
        };
        found.push(SecretRef { name: name.clone(), swarm_name, id });
    }
    Ok(found)
}

/// Removes the Swarm's secrets for all but the last value of one, and but those of `kept`, ids to which a
/// service may have to go back: the Swarm itself only keeps what services use now.
///
/// # Errors
/// [`DockerError`] when they cannot be listed. What is in use stays, and goes with a later change.
pub(crate) async fn forget_old(
    docker: &Docker,
    stored: &str,
    kept: &HashSet<String>,
) -> Result<(), DockerError> {
    forget(docker, stored, 1, kept).await
}

/// The ids of the secrets in the revision before a service's last one.
///
/// # Errors
/// [`DockerError`] when that cannot be asked.
pub(crate) async fn of_previous(docker: &Docker, service: &str) -> Result<Vec<String>, DockerError> {
    let previous = match docker.previous_spec(service).await {
        Ok(previous) => previous,
        Err(DockerError::NotFound(_)) => None,
        Err(error) => return Err(error),
    };
    let container = previous.and_then(|spec| spec.task_template?.container_spec);
    let secrets = container.and_then(|container| container.secrets).unwrap_or_default();
    Ok(secrets.into_iter().filter_map(|secret| secret.secret_id).collect())
}

/// Removes the Swarm's secrets for all values of one.
///
/// # Errors
/// As [`forget_old`].
pub(crate) async fn forget_all(docker: &Docker, stored: &str) -> Result<(), DockerError> {
    forget(docker, stored, 0, &HashSet::new()).await
}

async fn forget(
    docker: &Docker,
    stored: &str,
    newest: usize,
    kept: &HashSet<String>,
) -> Result<(), DockerError> {
    let mut ours: Vec<(u64, Known)> = list(docker)
        .await?
        .into_iter()
        .filter_map(|known| match &known.ours {
            Some((of, version)) if of == stored => Some((*version, known)),
            _ => None,
        })
        .collect();
    ours.sort_unstable_by_key(|(version, _)| std::cmp::Reverse(*version));
    for (_, old) in ours.into_iter().skip(newest).filter(|(_, old)| !kept.contains(&old.id)) {
        let removed = docker.change(docker.client().delete_secret(&old.id)).await;
        tracing::debug!(name = old.name, ?removed, "removing the secret of an earlier value");
    }
    Ok(())
}

/// The id and the name of the Swarm's secret for this value, which is made when it is not there.
async fn make(
    docker: &Docker,
    dir: &Path,
    name: &SecretName,
    stored: &str,
    version: u64,
    known: &[Known],
) -> Result<(String, String), ProviderError> {
    let same = |known: &&Known| {
        known.ours.as_ref().is_some_and(|ours| (ours.0.as_str(), ours.1) == (stored, version))
    };
    if let Some(made) = known.iter().find(same) {
        return Ok((made.id.clone(), made.name.clone()));
    }
    let value = fs::read(dir.join(stored)).map_err(|error| reading(name, error))?;
    let shown = &stored[..stored.len().min(MAX_NAME_BYTES)];
    let swarm_name = format!("{}-{version:016x}", shown.trim_end_matches(['-', '.', '_']));
    let spec = || SecretSpec {
        name: Some(swarm_name.clone()),
        labels: Some(HashMap::from([
            (SECRET_LABEL.to_owned(), stored.to_owned()),
            (VERSION_LABEL.to_owned(), version.to_string()),
        ])),
        data: Some(STANDARD.encode(&value)),
        ..SecretSpec::default()
    };
    for _ in 0..MAX_TRIES {
        match docker.change(docker.client().create_secret(spec())).await {
            Ok(made) => return Ok((made.id, swarm_name)),
            // Made at the same time for another function.
            Err(DockerError::Refused { status: 409, .. }) => {}
            Err(error) => return Err(error.about("secrets")),
        }
        if let Some(made) = list(docker).await?.into_iter().find(|known| same(&known)) {
            return Ok((made.id, made.name));
        }
    }
    Err(ProviderError::InvalidSpec {
        field: "secrets".to_owned(),
        reason: format!("the Swarm has a secret {swarm_name:?} that is not Bramble's; remove it"),
    })
}

async fn list(docker: &Docker) -> Result<Vec<Known>, DockerError> {
    let secrets = docker.ask(docker.client().list_secrets(None::<ListSecretsOptions>)).await?;
    let known = secrets.into_iter().filter_map(|secret| {
        let (id, spec) = (secret.id?, secret.spec?);
        let labels = spec.labels.unwrap_or_default();
        let ours = labels.get(SECRET_LABEL).zip(labels.get(VERSION_LABEL));
        let ours = ours.and_then(|(of, version)| Some((of.clone(), version.parse().ok()?)));
        Some(Known { id, name: spec.name?, ours })
    });
    Ok(known.collect())
}

fn by_hand<'k>(known: &'k [Known], stored: &str) -> Option<&'k Known> {
    known.iter().find(|known| known.ours.is_none() && known.name == stored)
}

fn unknown(name: &SecretName, known: &[Known]) -> ProviderError {
    let mut choices: Vec<_> =
        known.iter().map(|known| known.ours.as_ref().map_or(&*known.name, |(of, _)| of)).collect();
    choices.sort_unstable();
    choices.dedup();
    ProviderError::UnknownSecret { name: name.clone(), choices: choices.join(", ") }
}

/// When the value was stored: none of its bits, and larger for a later one.
fn version(path: &Path, name: &SecretName) -> Result<Option<u64>, ProviderError> {
    let modified = match fs::metadata(path).and_then(|metadata| metadata.modified()) {
        Ok(modified) => modified,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(reading(name, error)),
    };
    let since_1970 = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Some(u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX)))
}

fn reading(name: &SecretName, error: std::io::Error) -> ProviderError {
    ProviderError::internal(format!("reading secret {name}"), error)
}
