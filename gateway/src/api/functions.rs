//! `/system/functions`, `/system/function/{name}`, `/system/scale-function/{name}`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use bramble_provider::{Code, DEFAULT_NAMESPACE, FunctionSpec, ProviderError, Replicas, Runtime};
use bramble_scaler::policy::MAX_REPLICAS;
use http::{HeaderMap, StatusCode};

use super::body;
use super::extract::{Named, Params, function_name};
use super::modules;
use super::secrets::{check_names, check_token, choices};
use super::store;
use super::wire::{
    Deployment, Frozen, FunctionStatus, HalfStatus, Module, Removal, Runtimes, Scaling, Usage, invalid,
    required,
};
use crate::auth::audit;
use crate::error::{GatewayError, excerpt};
use crate::functions::{Function, Half, Mode};
use crate::state::Gateway;

type Shared = State<Arc<Gateway>>;

/// The functions of one namespace, the default one unless the query names another.
#[utoipa::path(
    get, path = "/system/functions", operation_id = "listFunctions", tag = "functions",
    params(
        ("namespace" = Option<String>, Query, description = "the namespace; the default one unless said"),
    ),
    responses(
        (status = 200, description = "the functions", body = Vec<FunctionStatus>),
    ),
)]
pub(super) async fn list(State(gateway): Shared, params: Params) -> Json<Vec<FunctionStatus>> {
    let namespace = params.get("namespace").unwrap_or(DEFAULT_NAMESPACE);
    let mut statuses = Vec::new();
    for function in gateway.functions.list() {
        if function.spec.name.namespace() == namespace {
            statuses.push(FunctionStatus::new(&function, replicas(&gateway, &function).await));
        }
    }
    Json(statuses)
}

/// 202; 409 when it is there already.
#[utoipa::path(
    post, path = "/system/functions", operation_id = "deployFunction", tag = "functions",
    request_body(content = Deployment),
    responses(
        (status = 202, description = "deployed"),
        (status = 409, description = "`already_deployed`"),
        (status = 503, description = "`unavailable`: what runs or stores it cannot be reached"),
        (status = 507, description = "`out_of_storage`"),
    ),
)]
pub(super) async fn create(State(gateway): Shared, body: Body) -> Result<StatusCode, GatewayError> {
    deploy(&gateway, body, Mode::Create).await
}

/// 202; 404 when it is not there, upon which `faas-cli` posts it.
#[utoipa::path(
    put, path = "/system/functions", operation_id = "updateFunction", tag = "functions",
    request_body(content = Deployment),
    responses(
        (status = 202, description = "updated"),
        (status = 404, description = "`unknown_function`"),
        (status = 503, description = "`unavailable`: what runs or stores it cannot be reached"),
        (status = 507, description = "`out_of_storage`"),
    ),
)]
pub(super) async fn update(State(gateway): Shared, body: Body) -> Result<StatusCode, GatewayError> {
    deploy(&gateway, body, Mode::Update).await
}

async fn deploy(gateway: &Arc<Gateway>, body: Body, mode: Mode) -> Result<StatusCode, GatewayError> {
    let spec = FunctionSpec::try_from(body::json::<Deployment>(body).await?)?;
    let field = match spec.code {
        Code::Module(_) | Code::Image(_) => "image",
        Code::Hybrid { .. } => "annotations.bramble.module",
    };
    audit::about(&spec.name);
    let namespace = spec.name.namespace().to_owned();
    check_names(&spec)?;
    let unchanged = gateway.secrets.unchanged_for(&spec).await?;
    let change = async move |gateway: Arc<Gateway>| {
        // Held to the end: what is deployed now begins with the secrets' values of now.
        let _unchanged = unchanged;
        check_token(&gateway, &spec)?;
        let deployed = match gateway.functions.deploy(spec.clone(), mode).await {
            Err(GatewayError::Provider(ProviderError::UnknownModule(module))) => {
                match store::provide(&gateway, module).await? {
                    // It stays until it is deployed.
                    Some(_stored) => gateway.functions.deploy(spec, mode).await,
                    None => Err(ProviderError::UnknownModule(module).into()),
                }
            }
            deployed => deployed,
        };
        match deployed {
            Ok(_) => Ok(StatusCode::ACCEPTED),
            // Names of other namespaces are not for whoever asks in this one.
            Err(GatewayError::Provider(ProviderError::UnknownSecret { name, .. })) => {
                let choices = choices(&gateway, &namespace).await?;
                Err(ProviderError::UnknownSecret { name, choices }.into())
            }
            // Not what the path names is missing, but what the document does.
            Err(GatewayError::Provider(error @ ProviderError::UnknownModule(_))) => {
                Err(invalid(field, error).into())
            }
            Err(error) => Err(error),
        }
    };
    gateway.change(change).await
}

/// Uploads a module and deploys it under the path's name; the rest of an existing spec stays.
#[utoipa::path(
    put, path = "/system/functions/{name}", operation_id = "uploadFunction", tag = "functions",
    params(
        ("name" = String, Path, description = "the function, with its namespace after a dot where that is not the default one"),
        ("namespace" = Option<String>, Query, description = "the namespace, unless the name brings one"),
        ("preinit" = Option<String>, Query, description = "`true`, or the export that initialises the module before it is stored"),
    ),
    request_body(content = String, content_type = "application/wasm", description = "a module or component"),
    responses(
        (status = 202, description = "deployed", body = Module),
        (status = 415, description = "`unsupported_type`"),
        (status = 503, description = "`busy`: too many uploads; `unavailable`"),
        (status = 507, description = "`out_of_storage`"),
    ),
)]
pub(super) async fn upload(
    State(gateway): Shared,
    Named(name): Named,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Module>), GatewayError> {
    let taken = modules::take(&gateway, &params, &headers, body).await?;
    audit::about(&name);
    // What is there may be given secrets until it is this one's turn.
    let unchanged = gateway.secrets.unchanged().await?;
    let change = async move |gateway: Arc<Gateway>| {
        let _unchanged = unchanged;
        gateway.functions.deploy_module(name, taken.stored.info.digest).await?;
        Ok((StatusCode::ACCEPTED, Json(Module::from(&taken))))
    };
    gateway.change(change).await
}

/// 202; 404 when it is not there.
#[utoipa::path(
    delete, path = "/system/functions", operation_id = "removeFunction", tag = "functions",
    params(
        ("namespace" = Option<String>, Query, description = "the namespace, unless the name brings one"),
    ),
    request_body(content = Removal),
    responses(
        (status = 202, description = "removed"),
        (status = 404, description = "`unknown_function`"),
        (status = 503, description = "`unavailable`: what runs or stores it cannot be reached"),
        (status = 507, description = "`out_of_storage`"),
    ),
)]
pub(super) async fn remove(
    State(gateway): Shared,
    params: Params,
    body: Body,
) -> Result<StatusCode, GatewayError> {
    let removal: Removal = body::json_or_default(body).await?;
    let name = removal.name(params.get("namespace"))?;
    audit::about(&name);
    gateway.functions.remove(&name).await?;
    Ok(StatusCode::ACCEPTED)
}

/// One function; with `usage=1` also what it uses.
#[utoipa::path(
    get, path = "/system/function/{name}", operation_id = "describeFunction", tag = "functions",
    params(
        ("name" = String, Path, description = "the function, with its namespace after a dot where that is not the default one"),
        ("namespace" = Option<String>, Query, description = "the namespace, unless the name brings one"),
        ("usage" = Option<String>, Query, description = "`1` or `true`: also the memory that it uses"),
    ),
    responses(
        (status = 200, description = "the function", body = FunctionStatus),
        (status = 400, description = "`invalid_spec`: names what cannot be used"),
        (status = 404, description = "`unknown_function`"),
    ),
)]
pub(super) async fn describe(
    State(gateway): Shared,
    Named(name): Named,
    params: Params,
) -> Result<Json<FunctionStatus>, GatewayError> {
    let function = gateway.functions.get(name.as_str()).ok_or(ProviderError::UnknownFunction(name))?;
    let mut told = FunctionStatus::new(&function, replicas(&gateway, &function).await);
    let status = gateway.functions.providers().status(function.runtime, &function.spec.name).await;
    let (reason, memory) = match status {
        Ok(status) => (status.reason, status.memory_bytes),
        Err(error) => (Some(error.to_string()), None),
    };
    told.reason = function.fault().or(function.half_fault()).map(str::to_owned).or(reason);
    told.runtimes = runtimes(&gateway, &function).await;
    told.usage =
        memory.filter(|_| params.is_on("usage")).map(|total_memory_bytes| Usage { total_memory_bytes });
    Ok(Json(told))
}

/// The halves of a hybrid function.
async fn runtimes(gateway: &Gateway, function: &Function) -> Option<Runtimes> {
    let (hybrid, name) = (function.hybrid()?, &function.spec.name);
    let status = async |runtime| gateway.functions.providers().status(runtime, name).await;
    Some(Runtimes {
        wasm: HalfStatus::new(status(Runtime::Wasm).await, hybrid.figures(Half::Wasm)),
        container: HalfStatus::new(status(Runtime::Container).await, hybrid.figures(Half::Container)),
    })
}

/// 202, when the change is accepted and not when the replicas are there.
#[utoipa::path(
    post, path = "/system/scale-function/{name}", operation_id = "scaleFunction", tag = "scaling",
    params(
        ("name" = String, Path, description = "the function, with its namespace after a dot where that is not the default one"),
        ("namespace" = Option<String>, Query, description = "the namespace, unless the name brings one"),
    ),
    request_body(content = Scaling),
    responses(
        (status = 202, description = "asked for; the replicas follow"),
        (status = 404, description = "`unknown_function`"),
        (status = 503, description = "`unavailable`: what runs or stores it cannot be reached"),
        (status = 507, description = "`out_of_storage`"),
    ),
)]
pub(super) async fn scale(
    State(gateway): Shared,
    Named(name): Named,
    body: Body,
) -> Result<StatusCode, GatewayError> {
    let scaling: Scaling = body::json(body).await?;
    let own = scaling.namespace.as_deref();
    let name = match own {
        None | Some("") => name,
        Some(other) if name.namespace() != DEFAULT_NAMESPACE && other != name.namespace() => {
            return Err(invalid("namespace", format!("{:?} is not that of the path", excerpt(other))).into());
        }
        namespace => function_name("namespace", name.name(), namespace)?,
    };
    if let Some(said) = scaling.service_name.as_deref().filter(|said| !said.is_empty()) {
        let other = function_name("serviceName", said, Some(name.namespace()))?;
        if other != name {
            return Err(invalid("serviceName", format!("{said:?} is not the function in the path")).into());
        }
    }
    audit::about(&name);
    let replicas = scaling.replicas.ok_or_else(|| required("replicas"))?;
    check_replicas("replicas", replicas)?;
    gateway.functions.scale(&name, replicas).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Refuses more replicas than a label may ask for. A function's own maximum is the scaler's to hold, as in the original.
pub(super) fn check_replicas(field: &str, replicas: u32) -> Result<(), ProviderError> {
    if replicas > MAX_REPLICAS {
        return Err(invalid(field, format!("{replicas} is more than {MAX_REPLICAS}")));
    }
    Ok(())
}

/// Pauses the idle replicas of a function in containers; answers how many.
#[utoipa::path(
    post, path = "/system/freeze-function/{name}", operation_id = "freezeFunction", tag = "scaling",
    params(
        ("name" = String, Path, description = "the function, with its namespace after a dot where that is not the default one"),
        ("namespace" = Option<String>, Query, description = "the namespace, unless the name brings one"),
    ),
    responses(
        (status = 202, description = "what was paused", body = Frozen),
        (status = 400, description = "`invalid_spec`: names what cannot be used"),
        (status = 404, description = "`unknown_function`"),
        (status = 503, description = "`unavailable`: what runs or stores it cannot be reached"),
    ),
)]
pub(super) async fn freeze(
    State(gateway): Shared,
    Named(name): Named,
) -> Result<(StatusCode, Json<Frozen>), GatewayError> {
    audit::about(&name);
    let frozen = gateway.functions.freeze(&name).await?;
    Ok((StatusCode::ACCEPTED, Json(Frozen { frozen })))
}

/// Replicas that can take an invocation; none when the provider cannot tell.
async fn replicas(gateway: &Gateway, function: &Function) -> Replicas {
    let replicas = gateway.functions.providers().replicas(function.runtime, &function.spec.name).await;
    replicas.unwrap_or_default()
}
