//! `/system/secrets`: values that functions read as files. None is ever told.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bramble_provider::{
    DEFAULT_NAMESPACE, FunctionName, FunctionSpec, ProviderError, SecretName, check_namespace,
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body;
use super::extract::Params;
use super::wire::{invalid, required};
use crate::auth::audit;
use crate::error::{GatewayError, causes};
use crate::secrets::{MAX_VALUE_BYTES, Turn};
use crate::state::Gateway;

type Shared = State<Arc<Gateway>>;

/// How often the containers of a changed secret are tried to be replaced, and the pause between two tries:
/// a service that others change, or that is in the middle of an update, takes the next one.
const MAX_TRIES: u32 = 10;
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What a client sends. No `Debug`: nothing should print it.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = SecretRequest)]
pub(super) struct SecretDocument {
    #[schema(required = true, value_type = String)]
    name: Option<String>,
    namespace: Option<String>,
    value: Option<String>,
    /// The same in base64, for what is no text. It wins when it is not empty.
    raw_value: Option<String>,
}

/// What a client is told.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Secret {
    #[schema(value_type = String)]
    name: SecretName,
    namespace: String,
}

/// Which secret a request is about.
struct Named {
    namespace: String,
    name: SecretName,
}

/// The names of one namespace, the default one unless the query names another.
#[utoipa::path(
    get, path = "/system/secrets", operation_id = "listSecrets", tag = "secrets",
    params(
        ("namespace" = Option<String>, Query, description = "the namespace; the default one unless said"),
    ),
    responses(
        (status = 200, description = "the names", body = Vec<Secret>),
        (status = 400, description = "`invalid_spec`: names what cannot be used"),
    ),
)]
pub(super) async fn list(State(gateway): Shared, params: Params) -> Result<Json<Vec<Secret>>, GatewayError> {
    let namespace = namespace(params.get("namespace"), None)?;
    let names = gateway.secrets.names(&namespace).await?;
    Ok(Json(names.into_iter().map(|name| Secret { name, namespace: namespace.clone() }).collect()))
}

/// 201; 409 when it is there already.
#[utoipa::path(
    post, path = "/system/secrets", operation_id = "createSecret", tag = "secrets",
    params(
        ("namespace" = Option<String>, Query, description = "the namespace, unless the body brings one"),
    ),
    request_body(content = SecretDocument),
    responses(
        (status = 201, description = "stored"),
        (status = 409, description = "`secret_exists`"),
        (status = 503, description = "`busy`: a deployment or another change takes long; `unavailable`: what runs or stores it cannot be reached"),
        (status = 507, description = "`out_of_storage`"),
    ),
)]
pub(super) async fn create(
    State(gateway): Shared,
    params: Params,
    body: Body,
) -> Result<StatusCode, GatewayError> {
    let (named, value) = named_value(&params, body).await?;
    let turn = gateway.secrets.turn().await?;
    let change = async move |gateway: Arc<Gateway>| {
        gateway.secrets.create(&turn, &named.namespace, &named.name, value).await?;
        // Functions may have been waiting for it: a hybrid whose containers it kept from starting.
        tell(&gateway, turn, named).await?;
        Ok(StatusCode::CREATED)
    };
    gateway.change(change).await
}

/// 202 when a wasm function that opens the file from now on reads the new value; containers are replaced
/// after that. 404 when it is not there.
#[utoipa::path(
    put, path = "/system/secrets", operation_id = "updateSecret", tag = "secrets",
    params(
        ("namespace" = Option<String>, Query, description = "the namespace, unless the body brings one"),
    ),
    request_body(content = SecretDocument),
    responses(
        (status = 202, description = "replaced"),
        (status = 404, description = "`unknown_secret`"),
        (status = 503, description = "`busy`: a deployment or another change takes long; `unavailable`: what runs or stores it cannot be reached"),
        (status = 507, description = "`out_of_storage`"),
    ),
)]
pub(super) async fn update(
    State(gateway): Shared,
    params: Params,
    body: Body,
) -> Result<StatusCode, GatewayError> {
    let (named, value) = named_value(&params, body).await?;
    let turn = gateway.secrets.turn().await?;
    let change = async move |gateway: Arc<Gateway>| {
        gateway.secrets.replace(&turn, &named.namespace, &named.name, value).await?;
        tell(&gateway, turn, named).await?;
        Ok(StatusCode::ACCEPTED)
    };
    gateway.change(change).await
}

/// 202; 404 when it is not there, 409 while a function needs it.
#[utoipa::path(
    delete, path = "/system/secrets", operation_id = "removeSecret", tag = "secrets",
    params(
        ("namespace" = Option<String>, Query, description = "the namespace, unless the body brings one"),
    ),
    request_body(content = SecretDocument),
    responses(
        (status = 202, description = "removed"),
        (status = 404, description = "`unknown_secret`"),
        (status = 409, description = "`secret_in_use`"),
        (status = 503, description = "`busy`: a deployment or another change takes long; `unavailable`: what runs or stores it cannot be reached"),
        (status = 507, description = "`out_of_storage`"),
    ),
)]
pub(super) async fn remove(
    State(gateway): Shared,
    params: Params,
    body: Body,
) -> Result<StatusCode, GatewayError> {
    let document: SecretDocument = body::json(body).await?;
    let Named { namespace, name } = document.named(&params)?;
    let turn = gateway.secrets.turn().await?;
    let change = async move |gateway: Arc<Gateway>| {
        if let Some(function) = user_of(&gateway, &namespace, &name) {
            return Err(GatewayError::SecretInUse { name, function });
        }
        gateway.secrets.remove(&turn, &namespace, &name).await?;
        let containers = Arc::clone(&gateway.containers);
        tokio::spawn(async move {
            if let Err(error) = containers.secret_removed(&namespace, &name).await {
                tracing::warn!(secret = %name, namespace, error = causes(&error), "the Swarm keeps a removed secret");
            }
            // Or a function that is deployed meanwhile with a new one of this name would lose that.
            drop(turn);
        });
        Ok(StatusCode::ACCEPTED)
    };
    gateway.change(change).await
}

/// The secret that a request is about, and the value that it is to have.
async fn named_value(params: &Params, body: Body) -> Result<(Named, Vec<u8>), GatewayError> {
    let document: SecretDocument = body::json(body).await?;
    let named = document.named(params)?;
    Ok((named, document.into_value()?))
}

/// Refuses a spec with a secret that there cannot be.
pub(super) fn check_names(spec: &FunctionSpec) -> Result<(), ProviderError> {
    spec.secrets.iter().try_for_each(|name| check_length("secrets", name, spec.name.namespace()))
}

/// The secrets of a namespace, for the message about another one.
pub(super) async fn choices(gateway: &Gateway, namespace: &str) -> Result<String, ProviderError> {
    let names = gateway.secrets.names(namespace).await?;
    let names: Vec<_> = names.iter().map(SecretName::as_str).collect();
    Ok(if names.is_empty() { "none".to_owned() } else { names.join(", ") })
}

fn check_length(field: &str, name: &SecretName, namespace: &str) -> Result<(), ProviderError> {
    if name.fits(namespace) {
        return Ok(());
    }
    Err(invalid(field, format!("{:?} is too long with namespace {namespace}", name.as_str())))
}

/// Refuses a spec whose token is in no secret.
pub(super) fn check_token(gateway: &Gateway, spec: &FunctionSpec) -> Result<(), ProviderError> {
    let Some(name) = spec.settings()?.token_secret else { return Ok(()) };
    if gateway.secrets.has(spec.name.namespace(), &name) {
        return Ok(());
    }
    let reason = format!("secret {name} does not exist in namespace {}", spec.name.namespace());
    Err(invalid("annotations.bramble.auth.token-secret", reason))
}

/// Tells the functions of a new value, those in wasm before this returns.
async fn tell(gateway: &Gateway, turn: Turn, named: Named) -> Result<(), ProviderError> {
    let Named { namespace, name } = named;
    let (own, host) = ((namespace.clone(), name.clone()), Arc::clone(&gateway.wasm));
    let shown = tokio::task::spawn_blocking(move || host.secret_changed(&own.0, &own.1)).await;
    drop(turn);
    let shown = shown.map_err(|panic| ProviderError::internal("showing a secret", panic))?;
    let containers = Arc::clone(&gateway.containers);
    tokio::spawn(async move {
        for tries in 1.. {
            let Err(error) = containers.secret_changed(&namespace, &name).await else { return };
            if tries == MAX_TRIES || !is_to_be_tried_again(&error, containers.info().available) {
                let error = causes(&error);
                tracing::warn!(secret = %name, namespace, error, "not all containers have a secret's value");
                return;
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    });
    shown
}

/// Whether the containers of a changed secret may get its value by another try: services that others change, and
/// a daemon that was slow. What is refused stays so, and where Docker is away, the services are mended when it is back.
fn is_to_be_tried_again(error: &ProviderError, docker_is_there: bool) -> bool {
    docker_is_there && matches!(error, ProviderError::Unavailable { .. })
}

fn user_of(gateway: &Gateway, namespace: &str, name: &SecretName) -> Option<FunctionName> {
    let functions = gateway.functions.list();
    let needs = |function: &&Arc<crate::functions::Function>| {
        function.spec.name.namespace() == namespace
            && (function.spec.secrets.contains(name) || function.settings.token_secret.as_ref() == Some(name))
    };
    functions.iter().find(needs).map(|function| function.spec.name.clone())
}

impl SecretDocument {
    fn named(&self, params: &Params) -> Result<Named, ProviderError> {
        let name = self.name.as_deref().filter(|name| !name.is_empty()).ok_or_else(|| required("name"))?;
        let name = SecretName::parse(name).map_err(|error| invalid("name", error))?;
        let namespace = namespace(self.namespace.as_deref(), params.get("namespace"))?;
        check_length("name", &name, &namespace)?;
        audit::about(format_args!("{name}.{namespace}"));
        Ok(Named { namespace, name })
    }

    fn into_value(self) -> Result<Vec<u8>, ProviderError> {
        let raw = self.raw_value.filter(|raw| !raw.is_empty());
        let (field, value) = match raw {
            Some(raw) => {
                let value = STANDARD.decode(raw.trim());
                ("rawValue", value.map_err(|_| invalid("rawValue", "it is no base64".to_owned()))?)
            }
            None => ("value", self.value.unwrap_or_default().into_bytes()),
        };
        match value.len() {
            0 => Err(required(field)),
            length if length > MAX_VALUE_BYTES => {
                Err(invalid(field, format!("it has {length} bytes, above the limit of {MAX_VALUE_BYTES}")))
            }
            _ => Ok(value),
        }
    }
}

/// The first of the two that names one.
pub(super) fn namespace(first: Option<&str>, second: Option<&str>) -> Result<String, ProviderError> {
    let said = [first, second].into_iter().flatten().find(|text| !text.is_empty());
    let namespace = said.unwrap_or(DEFAULT_NAMESPACE);
    check_namespace(namespace).map_err(|error| invalid("namespace", error))?;
    Ok(namespace.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_go_well_the_next_time_is_tried_again() {
        let busy = ProviderError::Unavailable {
            provider: "Docker Swarm",
            reason: "the service is being changed by others".to_owned(),
            retry_after: RETRY_AFTER,
        };
        let refused = ProviderError::InvalidSpec { field: "secrets".to_owned(), reason: "taken".to_owned() };
        assert!(is_to_be_tried_again(&busy, true));
        assert!(!is_to_be_tried_again(&busy, false), "it is mended when Docker is back");
        assert!(!is_to_be_tried_again(&refused, true));
    }
}
