//! `/system/namespaces` and `/system/namespace/{name}`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use bramble_provider::{DEFAULT_NAMESPACE, ProviderError, check_namespace};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body;
use super::extract::Tail;
use super::wire::{invalid, required};
use crate::auth::audit;
use crate::error::GatewayError;
use crate::namespaces::Namespace;
use crate::state::Gateway;

type Shared = State<Arc<Gateway>>;

/// A namespace as clients write and read it.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = FunctionNamespace)]
pub(super) struct NamespaceDocument {
    name: String,
    annotations: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
}

/// The default one, those that were made, and each with a function or a secret in it.
#[utoipa::path(
    get, path = "/system/namespaces", operation_id = "listNamespaces", tag = "namespaces",
    responses(
        (status = 200, description = "the names", body = Vec<String>),
    ),
)]
pub(super) async fn list(State(gateway): Shared) -> Result<Json<BTreeSet<String>>, GatewayError> {
    Ok(Json(all(&gateway).await?))
}

/// 200; 404 when there is none of this name.
#[utoipa::path(
    get, path = "/system/namespace/{name}", operation_id = "describeNamespace", tag = "namespaces",
    params(
        ("name" = String, Path, description = "the namespace"),
    ),
    responses(
        (status = 200, description = "the namespace", body = NamespaceDocument),
        (status = 400, description = "`invalid_spec`: names what cannot be used"),
        (status = 404, description = "`unknown_namespace`"),
    ),
)]
pub(super) async fn describe(
    State(gateway): Shared,
    Tail(name): Tail,
) -> Result<Json<NamespaceDocument>, GatewayError> {
    check(&name)?;
    let Namespace { annotations, labels } = match gateway.namespaces.get(&name) {
        Some(namespace) => namespace,
        None if all(&gateway).await?.contains(&name) => Namespace::default(),
        None => return Err(GatewayError::UnknownNamespace(name)),
    };
    Ok(Json(NamespaceDocument { name, annotations: Some(annotations), labels: Some(labels) }))
}

/// 201; 409 when it is there already.
#[utoipa::path(
    post, path = "/system/namespace/{name}", operation_id = "createNamespace", tag = "namespaces",
    params(
        ("name" = String, Path, description = "the namespace"),
    ),
    request_body(content = NamespaceDocument),
    responses(
        (status = 201, description = "made"),
        (status = 409, description = "`namespace_exists`"),
        (status = 503, description = "`unavailable`: what runs or stores it cannot be reached"),
        (status = 507, description = "`out_of_storage`"),
    ),
)]
pub(super) async fn create(
    State(gateway): Shared,
    Tail(name): Tail,
    body: Body,
) -> Result<StatusCode, GatewayError> {
    let (name, namespace) = read(Some(name), body).await?;
    made(&gateway, name, namespace).await
}

/// The same with the name in the body, as `faas-cli` asks.
#[utoipa::path(
    post, path = "/system/namespace/", operation_id = "createNamedNamespace", tag = "namespaces",
    request_body(content = NamespaceDocument),
    responses(
        (status = 201, description = "made"),
        (status = 409, description = "`namespace_exists`"),
        (status = 503, description = "`unavailable`: what runs or stores it cannot be reached"),
        (status = 507, description = "`out_of_storage`"),
    ),
)]
pub(super) async fn create_unnamed(State(gateway): Shared, body: Body) -> Result<StatusCode, GatewayError> {
    let (name, namespace) = read(None, body).await?;
    made(&gateway, name, namespace).await
}

/// 202; 404 when there is none of this name.
#[utoipa::path(
    put, path = "/system/namespace/{name}", operation_id = "updateNamespace", tag = "namespaces",
    params(
        ("name" = String, Path, description = "the namespace"),
    ),
    request_body(content = NamespaceDocument),
    responses(
        (status = 202, description = "replaced"),
        (status = 404, description = "`unknown_namespace`"),
        (status = 503, description = "`unavailable`: what runs or stores it cannot be reached"),
        (status = 507, description = "`out_of_storage`"),
    ),
)]
pub(super) async fn update(
    State(gateway): Shared,
    Tail(name): Tail,
    body: Body,
) -> Result<StatusCode, GatewayError> {
    let (name, namespace) = read(Some(name), body).await?;
    let exists = all(&gateway).await?.contains(&name);
    let change = async move |gateway: Arc<Gateway>| {
        gateway.namespaces.replace(&name, namespace, exists).await?;
        Ok(StatusCode::ACCEPTED)
    };
    gateway.change(change).await
}

/// 202; 404 when there is none, 409 while something is in it.
#[utoipa::path(
    delete, path = "/system/namespace/{name}", operation_id = "removeNamespace", tag = "namespaces",
    params(
        ("name" = String, Path, description = "the namespace"),
    ),
    responses(
        (status = 202, description = "removed"),
        (status = 400, description = "`invalid_spec`: names what cannot be used"),
        (status = 404, description = "`unknown_namespace`"),
        (status = 409, description = "`namespace_in_use`"),
        (status = 503, description = "`unavailable`: what runs or stores it cannot be reached"),
        (status = 507, description = "`out_of_storage`"),
    ),
)]
pub(super) async fn remove(State(gateway): Shared, Tail(name): Tail) -> Result<StatusCode, GatewayError> {
    check(&name)?;
    audit::about(&name);
    if name == DEFAULT_NAMESPACE {
        return Err(invalid("name", format!("{DEFAULT_NAMESPACE} is the default namespace and stays")).into());
    }
    let functions = gateway.functions.list();
    let function = functions.iter().find(|function| function.spec.name.namespace() == name);
    let holds = match function {
        Some(function) => Some(format!("function {}", function.spec.name)),
        None => gateway.secrets.names(&name).await?.first().map(|secret| format!("secret {secret}")),
    };
    if let Some(holds) = holds {
        return Err(GatewayError::NamespaceInUse { name, holds });
    }
    let change = async move |gateway: Arc<Gateway>| {
        gateway.namespaces.remove(&name).await?;
        Ok(StatusCode::ACCEPTED)
    };
    gateway.change(change).await
}

async fn made(
    gateway: &Arc<Gateway>,
    name: String,
    namespace: Namespace,
) -> Result<StatusCode, GatewayError> {
    let change = async move |gateway: Arc<Gateway>| {
        gateway.namespaces.create(&name, namespace).await?;
        Ok(StatusCode::CREATED)
    };
    gateway.change(change).await
}

async fn all(gateway: &Gateway) -> Result<BTreeSet<String>, ProviderError> {
    let mut names: BTreeSet<String> = gateway.namespaces.names().into_iter().collect();
    names.insert(DEFAULT_NAMESPACE.to_owned());
    names.extend(gateway.functions.list().iter().map(|function| function.spec.name.namespace().to_owned()));
    names.extend(gateway.secrets.all().await?.into_iter().map(|(namespace, _)| namespace));
    Ok(names)
}

/// Reads a document; `path` is the name in the path, with which one in the document has to agree.
async fn read(path: Option<String>, body: Body) -> Result<(String, Namespace), GatewayError> {
    let document: NamespaceDocument = body::json_or_default(body).await?;
    let name = match (path, document.name) {
        (None, said) if said.is_empty() => return Err(required("name").into()),
        (None, said) => said,
        (Some(path), said) if said.is_empty() || said == path => path,
        (Some(_), said) => {
            let said = crate::error::excerpt(&said);
            return Err(invalid("name", format!("{said:?} is not the namespace in the path")).into());
        }
    };
    check(&name)?;
    audit::about(&name);
    let (annotations, labels) =
        (document.annotations.unwrap_or_default(), document.labels.unwrap_or_default());
    Ok((name, Namespace { annotations, labels }))
}

fn check(name: &str) -> Result<(), ProviderError> {
    check_namespace(name).map_err(|error| invalid("name", error))
}
