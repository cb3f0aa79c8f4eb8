//! `GET /openapi.json`: what is served, described by the handlers and the types that serve it.
//!
//! Each handler says what it alone answers. What every handler may answer is added here once: credentials,
//! bodies, faults of ours. The property that must hold: a route that is not described here fails a test.

mod invocations;

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use super::{alert, async_, functions, logs, modules, namespaces, queue, scaler, secrets, store, system};
use crate::error::Document as Refusal;

/// The handlers, by path.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Bramble",
        description = "The OpenFaaS gateway's API, and a few routes beside it. Refusals have one form, `Error`; the \
                       description of a status names the codes that come with it. A path that is not here is answered \
                       404 `unknown_path`, a method 405 `unknown_method`, a preflight (CORS) 204."
    ),
    paths(
        functions::list,
        functions::create,
        functions::update,
        functions::remove,
        functions::upload,
        functions::describe,
        functions::scale,
        functions::freeze,
        scaler::explain,
        scaler::view,
        scaler::change,
        scaler::explanation,
        scaler::lease,
        scaler::give_back,
        alert::receive,
        modules::list,
        modules::upload,
        modules::remove,
        secrets::list,
        secrets::create,
        secrets::update,
        secrets::remove,
        namespaces::list,
        namespaces::describe,
        namespaces::create,
        namespaces::create_unnamed,
        namespaces::update,
        namespaces::remove,
        logs::stream,
        queue::overview,
        queue::dead,
        queue::status,
        queue::cancel,
        queue::replay,
        async_::accept,
        async_::cancel,
        store::list,
        invocations::invoke,
        system::info,
        system::healthz,
        system::readyz,
        system::root,
        system::metrics,
        serve,
    ),
    components(schemas(Refusal)),
    tags(
        (name = "invocations", description = "Running functions, now or later"),
        (name = "functions", description = "Deploying functions, and what is known of them"),
        (name = "modules", description = "WASI programs by digest"),
        (name = "secrets", description = "Values that functions read as files"),
        (name = "namespaces", description = "Groups of functions and secrets"),
        (name = "queue", description = "Asynchronous invocations"),
        (name = "scaling", description = "Replicas, and who decides on them"),
        (name = "gateway", description = "The gateway itself"),
    )
)]
struct Handlers;

/// The document as it is served, written once.
static TEXT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(format!("{:#}\n", document())));

/// What this API is, in the words of OpenAPI 3.1.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "openapi", tag = "gateway",
    responses((status = 200, description = "this document", body = Object)),
)]
pub(super) async fn serve() -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], TEXT.clone()).into_response()
}

fn document() -> Value {
    let mut document = json!(Handlers::openapi());
    // Unless an operation says that it is open.
    document["security"] = json!([{"basic": []}]);
    document["components"]["securitySchemes"] = json!({"basic": {
        "type": "http",
        "scheme": "basic",
        "description": "asked for with `--basic-auth`",
    }});
    let schemas = document["components"]["schemas"].as_object_mut();
    let properties =
        schemas.into_iter().flat_map(Map::values_mut).filter_map(|one| one.get_mut("properties"));
    properties.filter_map(Value::as_object_mut).for_each(no_defaults);
    if let Some(paths) = document["paths"].as_object_mut() {
        invocations::complete(paths);
        let items = paths.values_mut().filter_map(Value::as_object_mut);
        items.flat_map(Map::values_mut).filter_map(Value::as_object_mut).for_each(complete);
        paths["/metrics"]["servers"] = json!([{
            "url": "http://127.0.0.1:8082",
            "description": "a port of its own, `--metrics-listen`, which has `/healthz` too",
        }]);
    }
    document
}

/// Adds to an operation what all of its kind may answer.
fn complete(operation: &mut Map<String, Value>) {
    let open = operation.get("security").is_some_and(|needed| *needed == json!([{}]));
    let reads = operation.contains_key("requestBody");
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    parameters.into_iter().flatten().for_each(|parameter| never_null(&mut parameter["schema"]));
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    let mut may = |status: &str, description: &str| {
        responses.entry(status).or_insert_with(|| json!({"description": description}));
    };
    may("500", "`internal`: a fault of the gateway; its log tells which");
    if reads {
        may("400", "`invalid_json`, `invalid_spec`, which names the field, `invalid_module`, `body_cut`");
        may("408", "`body_timed_out`");
        may("413", "`body_too_large`, `module_too_large`");
    }
    if !open {
        may("403", "`foreign_origin`, `foreign_host`: a page of another site asks");
        may("429", "`too_many_logins`");
        let refused = json!({
            "description": "no credentials, or wrong ones",
            "headers": {"www-authenticate": {"schema": {"type": "string"}}},
            "content": {"text/plain": {"schema": {"type": "string"}}},
        });
        responses.insert("401".to_owned(), refused);
    }
    for (status, response) in responses {
        if status.starts_with(['4', '5']) && response.get("content").is_none() {
            response["content"] =
                json!({"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}});
        }
    }
}

/// What is left out of a document is missing, and not null.
fn no_defaults(properties: &mut Map<String, Value>) {
    for property in properties.values_mut().filter_map(Value::as_object_mut) {
        if property.get("default").is_some_and(Value::is_null) {
            property.remove("default");
        }
    }
}

/// A parameter is left out or has a value; it is never null.
fn never_null(schema: &mut Value) {
    if let Some(types) = schema["type"].as_array() {
        let one = types.iter().find(|kind| **kind != "null").cloned();
        schema["type"] = one.unwrap_or_default();
    }
}

#[cfg(test)]
mod tests;
