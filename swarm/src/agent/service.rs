//! The agents as a Swarm service: one task on every node.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::models::{
    EndpointSpec, EndpointSpecModeEnum, Limit, Mount, MountType, NetworkAttachmentConfig, SecretSpec,
    Service, ServiceSpec, ServiceSpecMode, ServiceSpecUpdateConfig, ServiceSpecUpdateConfigFailureActionEnum,
    TaskSpec, TaskSpecContainerSpec, TaskSpecContainerSpecFile, TaskSpecContainerSpecSecrets,
    TaskSpecResources, TaskSpecRestartPolicy, TaskSpecRestartPolicyConditionEnum,
};
use bollard::query_parameters::{InspectServiceOptions, ListSecretsOptions, UpdateServiceOptionsBuilder};
use bramble_provider::ProviderError;
use sha2::{Digest as _, Sha256};

use super::token::Token;
use super::{AGENT_LABEL, AGENT_PORT};
use crate::core::Core;
use crate::docker::{Docker, DockerError};
use crate::image;
use crate::service::SPEC_LABEL;

/// The service's name.
const SERVICE: &str = "bramble-agent";
/// The secret's name begins with this; a hash of the token is behind it, as a secret cannot be changed.
const SECRET: &str = "bramble-agent-token";
/// Where an agent finds the token.
const TOKEN_FILE: &str = "/run/secrets/bramble-agent-token";
/// Docker's socket, in the agent's container, and on a node unless the gateway knows better.
const SOCKET: &str = "/var/run/docker.sock";
/// Only the agent itself reads the token.
const TOKEN_MODE: u32 = 0o400;
/// Counted up when services of older gateways have to be made anew.
const LAYOUT: u8 = 1;
const MEMORY_BYTES: i64 = 64 << 20;
const MAX_PIDS: i64 = 64;
const RESTART_DELAY: Duration = Duration::from_secs(1);
/// Most tries when the service changes under our hands.
const MAX_TRIES: u32 = 10;

/// What the service is made from.
#[derive(Debug, Clone, Copy)]
struct Parts<'a> {
    image: &'a str,
    network: &'a str,
    socket: &'a str,
    secret_name: &'a str,
    secret_id: &'a str,
}

/// Makes the service, or makes it what it should be. Idempotent.
///
/// # Errors
/// [`ProviderError`]
pub(super) async fn keep(core: &Core, image: &str, token: &Token) -> Result<(), ProviderError> {
    let docker = &core.docker;
    let pinned = image::pin(docker, image, &core.auth).await?;
    let secret_name = format!("{SECRET}-{}", token.short_hash());
    let secret_id = secret(docker, &secret_name, token).await?;
    let parts = Parts {
        image: &pinned.reference,
        network: core.network_name(),
        socket: docker.host().strip_prefix("unix://").unwrap_or(SOCKET),
        secret_name: &secret_name,
        secret_id: &secret_id,
    };
    let next = spec(&parts);
    for _ in 0..MAX_TRIES {
        let done = match find(docker).await? {
            None => {
                let created =
                    Box::pin(docker.client().create_service(next.clone(), pinned.credentials.clone()));
                let done = docker.change(created).await;
                if done.is_ok() {
                    tracing::info!(image, "made the agents' service");
                }
                done.map(drop)
            }
            Some(found) if label(&found, SPEC_LABEL) == Some(&fingerprint(&parts)) => return Ok(()),
            Some(found) => {
                let version = found.version.and_then(|version| version.index).unwrap_or_default();
                let version = i32::try_from(version).unwrap_or(i32::MAX);
                let options = UpdateServiceOptionsBuilder::default().version(version).build();
                let updated = Box::pin(docker.client().update_service(
                    SERVICE,
                    next.clone(),
                    options,
                    pinned.credentials.clone(),
                ));
                let done = docker.change(updated).await;
                if done.is_ok() {
                    tracing::info!(image, "updated the agents' service");
                }
                done.map(drop)
            }
        };
        match done {
            Ok(()) => {
                forget_others(docker, &secret_name).await;
                return Ok(());
            }
            Err(DockerError::OutOfSequence(_) | DockerError::Refused { status: 409, .. }) => {}
            Err(error) => return Err(error.about("agent_image")),
        }
    }
    Err(DockerError::Unreachable(format!("the service {SERVICE} is being changed by others")).into())
}

async fn find(docker: &Docker) -> Result<Option<Service>, ProviderError> {
    let inspected = docker.client().inspect_service(SERVICE, None::<InspectServiceOptions>);
    match docker.ask(inspected).await {
        Ok(found) if label(&found, AGENT_LABEL) == Some("true") => Ok(Some(found)),
        Ok(_) => Err(ProviderError::InvalidSpec {
            field: "agent_image".to_owned(),
            reason: format!(
                "there is a Swarm service {SERVICE:?} that is not Bramble's; remove or rename it"
            ),
        }),
        Err(DockerError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The id of the secret with the token.
async fn secret(docker: &Docker, name: &str, token: &Token) -> Result<String, DockerError> {
    for _ in 0..MAX_TRIES {
        for secret in docker.ask(docker.client().list_secrets(None::<ListSecretsOptions>)).await? {
            if secret.spec.is_some_and(|spec| spec.name.as_deref() == Some(name))
                && let Some(id) = secret.id
            {
                return Ok(id);
            }
        }
        let secret = SecretSpec {
            name: Some(name.to_owned()),
            labels: Some(HashMap::from([(AGENT_LABEL.to_owned(), "true".to_owned())])),
            data: Some(STANDARD.encode(token.reveal())),
            ..SecretSpec::default()
        };
        match docker.change(docker.client().create_secret(secret)).await {
            Ok(made) => return Ok(made.id),
            // Made by another gateway at the same time.
            Err(DockerError::Refused { status: 409, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(DockerError::Unreachable(format!("the secret {name} is being changed by others")))
}

/// Removes the secrets of earlier tokens. One that is still in use is refused, and goes with the next change.
async fn forget_others(docker: &Docker, own: &str) {
    let Ok(secrets) = docker.ask(docker.client().list_secrets(None::<ListSecretsOptions>)).await else {
        return;
    };
    for secret in secrets {
        let Some((id, spec)) = secret.id.zip(secret.spec) else { continue };
        let name = spec.name.unwrap_or_default();
        let is_ours = spec.labels.is_some_and(|labels| labels.contains_key(AGENT_LABEL));
        if is_ours && name.starts_with(SECRET) && name != own {
            let removed = docker.change(docker.client().delete_secret(&id)).await;
            tracing::debug!(name, ?removed, "removing the secret of an earlier token");
        }
    }
}

fn label<'s>(service: &'s Service, key: &str) -> Option<&'s str> {
    service.spec.as_ref()?.labels.as_ref()?.get(key).map(String::as_str)
}

fn fingerprint(parts: &Parts<'_>) -> String {
    let mut hash = Sha256::new();
    hash.update([LAYOUT]);
    for part in [parts.image, parts.network, parts.socket, parts.secret_id] {
        hash.update(part);
        hash.update([0]);
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn spec(parts: &Parts<'_>) -> ServiceSpec {
    let own = HashMap::from([(AGENT_LABEL.to_owned(), "true".to_owned())]);
    let words = [
        "agent".to_owned(),
        format!("--listen=0.0.0.0:{AGENT_PORT}"),
        format!("--docker-host=unix://{SOCKET}"),
        format!("--functions-network={}", parts.network),
        format!("--token-file={TOKEN_FILE}"),
    ];
    let container = TaskSpecContainerSpec {
        image: Some(parts.image.to_owned()),
        labels: Some(own.clone()),
        args: Some(words.into()),
        read_only: Some(true),
        capability_drop: Some(vec!["ALL".to_owned()]),
        mounts: Some(vec![Mount {
            typ: Some(MountType::BIND),
            source: Some(parts.socket.to_owned()),
            target: Some(SOCKET.to_owned()),
            ..Mount::default()
        }]),
        secrets: Some(vec![TaskSpecContainerSpecSecrets {
            file: Some(TaskSpecContainerSpecFile {
                name: Some(TOKEN_FILE.to_owned()),
                uid: Some("0".to_owned()),
                gid: Some("0".to_owned()),
                mode: Some(TOKEN_MODE),
            }),
            secret_id: Some(parts.secret_id.to_owned()),
            secret_name: Some(parts.secret_name.to_owned()),
        }]),
        ..TaskSpecContainerSpec::default()
    };
    let task = TaskSpec {
        container_spec: Some(container),
        resources: Some(TaskSpecResources {
            limits: Some(Limit { memory_bytes: Some(MEMORY_BYTES), pids: Some(MAX_PIDS), nano_cpus: None }),
            ..TaskSpecResources::default()
        }),
        restart_policy: Some(TaskSpecRestartPolicy {
            condition: Some(TaskSpecRestartPolicyConditionEnum::ANY),
            delay: Some(i64::try_from(RESTART_DELAY.as_nanos()).unwrap_or(i64::MAX)),
            ..TaskSpecRestartPolicy::default()
        }),
        networks: Some(vec![NetworkAttachmentConfig {
            target: Some(parts.network.to_owned()),
            ..NetworkAttachmentConfig::default()
        }]),
        ..TaskSpec::default()
    };
    let mut labels = own;
    labels.insert(SPEC_LABEL.to_owned(), fingerprint(parts));
    ServiceSpec {
        name: Some(SERVICE.to_owned()),
        labels: Some(labels),
        task_template: Some(task),
        mode: Some(ServiceSpecMode { global: Some(HashMap::new()), ..ServiceSpecMode::default() }),
        update_config: Some(ServiceSpecUpdateConfig {
            parallelism: Some(1),
            // A node that cannot run it must not keep the others from it.
            failure_action: Some(ServiceSpecUpdateConfigFailureActionEnum::CONTINUE),
            ..ServiceSpecUpdateConfig::default()
        }),
        endpoint_spec: Some(EndpointSpec { mode: Some(EndpointSpecModeEnum::DNSRR), ports: None }),
        ..ServiceSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: Parts<'_> = Parts {
        image: "sha256:1",
        network: "functions",
        socket: SOCKET,
        secret_name: "bramble-agent-token-1",
        secret_id: "s1",
    };

    #[test]
    fn another_image_or_token_is_another_service() {
        assert_eq!(fingerprint(&PARTS), fingerprint(&PARTS));
        assert_ne!(fingerprint(&PARTS), fingerprint(&Parts { image: "sha256:2", ..PARTS }));
        assert_ne!(fingerprint(&PARTS), fingerprint(&Parts { secret_id: "s2", ..PARTS }));
    }

    #[test]
    fn is_found_by_its_containers_label_and_runs_everywhere() {
        let service = spec(&PARTS);
        assert!(service.mode.unwrap().global.is_some());
        let container = service.task_template.unwrap().container_spec.unwrap();
        assert_eq!(container.labels.unwrap().get(AGENT_LABEL).map(String::as_str), Some("true"));
        assert_eq!(service.labels.unwrap().get(AGENT_LABEL).map(String::as_str), Some("true"));
    }
}
