//! What a service that was found tells.

use bollard::models::{Service, ServiceUpdateStatusStateEnum as UpdateState, TaskSpecContainerSpec};
use bramble_provider::FunctionSpec;

use crate::function::Function;
use crate::secret::SecretRef;
use crate::service::{self, Parts, REFUSED_LABEL, SECRETS_DIR, SPEC_LABEL};

/// How a service is unlike what it is to be, whatever the image's name means by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unlike {
    /// Not at all.
    Nothing,
    /// Secrets have another value.
    Secrets,
    /// In more than that.
    More,
}

/// Compares a service with what it would be with these parts, its own image among them.
pub(super) fn unlike(service: &Service, spec: &FunctionSpec, parts: &Parts<'_>) -> Unlike {
    let own = label(service, SPEC_LABEL);
    if own == Some(&service::fingerprint(spec, parts)) {
        return Unlike::Nothing;
    }
    let before = secrets_of(service, parts.secrets);
    match own == Some(&service::fingerprint(spec, &Parts { secrets: &before, ..parts.clone() })) {
        true => Unlike::Secrets,
        false => Unlike::More,
    }
}

/// The secrets of a service that a function finds under the same names as these, in the same order.
fn secrets_of(service: &Service, now: &[SecretRef]) -> Vec<SecretRef> {
    let secrets =
        container_of(service).and_then(|container| container.secrets.as_deref()).unwrap_or_default();
    let of = |now: &SecretRef| {
        let path = format!("{SECRETS_DIR}/{}", now.name);
        let file = |of: &bollard::models::TaskSpecContainerSpecSecrets| of.file.as_ref()?.name.clone();
        let found = secrets.iter().find(|secret| file(secret).as_ref() == Some(&path))?;
        Some(SecretRef {
            name: now.name.clone(),
            swarm_name: found.secret_name.clone()?,
            id: found.secret_id.clone()?,
        })
    };
    now.iter().filter_map(of).collect()
}

pub(super) fn label<'s>(service: &'s Service, key: &str) -> Option<&'s str> {
    service.spec.as_ref()?.labels.as_ref()?.get(key).map(String::as_str)
}

pub(super) fn image_of(service: &Service) -> Option<&str> {
    container_of(service)?.image.as_deref()
}

fn container_of(service: &Service) -> Option<&TaskSpecContainerSpec> {
    service.spec.as_ref()?.task_template.as_ref()?.container_spec.as_ref()
}

/// What became of the last update.
pub(crate) fn update_state(service: &Service) -> Option<UpdateState> {
    service.update_status.as_ref()?.state
}

/// Whether the Swarm is replacing the revision that was written last by the one before, or that by it.
pub(super) fn is_updating(function: &Function, service: &Service) -> bool {
    update_state(service) == Some(UpdateState::ROLLBACK_STARTED) || is_unproven(function, service)
}

/// Whether the revision that was written last is about to replace the one before.
pub(super) fn is_unproven(function: &Function, service: &Service) -> bool {
    match update_state(service) {
        Some(state) => state == UpdateState::UPDATING,
        // The Swarm may not have begun.
        None => function.trouble.is_updating(),
    }
}

/// Whether the Swarm went back to the revision before.
pub(crate) fn is_rolled_back(service: &Service) -> bool {
    use UpdateState::{ROLLBACK_COMPLETED, ROLLBACK_PAUSED, ROLLBACK_STARTED};
    matches!(update_state(service), Some(ROLLBACK_STARTED | ROLLBACK_COMPLETED | ROLLBACK_PAUSED))
}

/// Whether the revision that runs does so because the Swarm went back from `spec`.
pub(super) fn was_rolled_back(service: &Service, spec: &FunctionSpec) -> bool {
    is_rolled_back(service) || label(service, REFUSED_LABEL) == Some(&service::revision(spec))
}

pub(super) fn replicas(service: &Service) -> Option<i64> {
    service.spec.as_ref()?.mode.as_ref()?.replicated.as_ref()?.replicas
}

/// Swarm counts versions over the whole cluster; bollard takes them as 32 bits.
pub(super) fn version(service: &Service) -> i32 {
    let index = service.version.as_ref().and_then(|version| version.index).unwrap_or_default();
    i32::try_from(index).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bramble_provider::{Code, FunctionName, SecretName};

    fn secret(name: &str, id: &str) -> SecretRef {
        let (name, swarm_name) = (SecretName::parse(name).unwrap(), format!("{name}-{id}"));
        SecretRef { name, swarm_name, id: id.to_owned() }
    }

    #[test]
    fn another_value_of_a_secret_is_told_from_another_spec() {
        let name = FunctionName::parse("echo").unwrap();
        let mut spec = FunctionSpec::new(name, Code::Image("echo:1".to_owned()));
        spec.secrets = vec![SecretName::parse("a").unwrap(), SecretName::parse("b").unwrap()];
        let before = [secret("a", "1"), secret("b", "1")];
        let parts = Parts { image: "sha256:1", secrets: &before, network: "functions" };
        let mut found = service::service(&spec, 1, &parts).unwrap();
        // Nobody says in which order they are told.
        let container = found.task_template.as_mut().unwrap().container_spec.as_mut().unwrap();
        container.secrets.as_mut().unwrap().reverse();
        let found = Service { spec: Some(found), ..Service::default() };

        assert_eq!(unlike(&found, &spec, &parts), Unlike::Nothing);
        let now = [secret("a", "1"), secret("b", "2")];
        assert_eq!(unlike(&found, &spec, &Parts { secrets: &now, ..parts.clone() }), Unlike::Secrets);
        let more = [secret("a", "1"), secret("b", "1"), secret("c", "1")];
        let mut wider = spec.clone();
        wider.secrets.push(SecretName::parse("c").unwrap());
        assert_eq!(unlike(&found, &wider, &Parts { secrets: &more, ..parts.clone() }), Unlike::More);
        assert_eq!(unlike(&found, &spec, &Parts { network: "other", ..parts.clone() }), Unlike::More);
        spec.env.insert("a".to_owned(), "b".to_owned());
        assert_eq!(unlike(&found, &spec, &Parts { secrets: &now, ..parts }), Unlike::More);
    }
}
