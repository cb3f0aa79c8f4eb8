//! What a service that was found tells.

use bollard::models::{Service, ServiceUpdateStatusStateEnum as UpdateState};
use bramble_provider::FunctionSpec;

use crate::function::Function;
use crate::service::{self, REFUSED_LABEL};

pub(super) fn label<'s>(service: &'s Service, key: &str) -> Option<&'s str> {
    service.spec.as_ref()?.labels.as_ref()?.get(key).map(String::as_str)
}

pub(super) fn image_of(service: &Service) -> Option<&str> {
    service.spec.as_ref()?.task_template.as_ref()?.container_spec.as_ref()?.image.as_deref()
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
