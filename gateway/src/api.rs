//! The OpenFaaS REST API and ours beside it. The only part that knows OpenFaaS' JSON.
//!
//! In: routes, wire forms, what status answers what. Out: invoking functions (`invoke`), accepting
//! connections (`serve`), doing what is asked (`functions`, the wasm host).
//! The property that must hold: every refusal of ours is `{"error":{"code","message"}}`.

mod alert;
mod async_;
mod body;
mod count;
mod extract;
mod functions;
mod logs;
mod modules;
mod namespaces;
mod openapi;
mod queue;
mod scaler;
mod secrets;
pub mod store;
mod system;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post, put};

use crate::auth::guard::guard;
use crate::error::{GatewayError, excerpt};
use crate::state::Gateway;
use store::PATH as STORE;

/// Everything that is answered on the main port, but for invocations.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .merge(counted().route_layer(from_fn_with_state(gateway.clone(), count::count)))
        .merge(uncounted())
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(from_fn_with_state(gateway.clone(), guard))
        .with_state(gateway)
}

/// The API. What is added here is described in [`openapi`] too.
fn counted() -> Router<Arc<Gateway>> {
    Router::new()
        .route(
            "/system/functions",
            get(functions::list).post(functions::create).put(functions::update).delete(functions::remove),
        )
        .route("/system/functions/{*name}", put(functions::upload))
        .route("/system/function/{*name}", get(functions::describe))
        .route("/system/scale-function/{*name}", get(scaler::explain).post(functions::scale))
        .route("/system/freeze-function/{*name}", post(functions::freeze))
        .route("/system/alert", post(alert::receive))
        .route("/system/scaler", get(scaler::view))
        .route("/system/scaler/changes", post(scaler::change))
        .route("/system/scaler/explanation", put(scaler::explanation))
        .route("/system/scaler-lease", put(scaler::lease).delete(scaler::give_back))
        .route("/system/modules", get(modules::list).put(modules::upload))
        .route("/system/modules/{*digest}", delete(modules::remove))
        .route(
            "/system/secrets",
            get(secrets::list).post(secrets::create).put(secrets::update).delete(secrets::remove),
        )
        .route("/system/namespaces", get(namespaces::list))
        .route("/system/namespace/", post(namespaces::create_unnamed))
        .route(
            "/system/namespace/{*name}",
            get(namespaces::describe)
                .post(namespaces::create)
                .put(namespaces::update)
                .delete(namespaces::remove),
        )
        .route("/system/logs", get(logs::stream))
        .route("/system/info", get(system::info))
        .route("/system/async", get(queue::overview))
        .route("/system/async/dead", get(queue::dead))
        .route("/system/async/dead/{id}/replay", post(queue::replay))
        .route("/system/async/{id}", get(queue::status).delete(queue::cancel))
        .route("/async-function/{*name}", post(async_::accept).delete(async_::cancel))
}

/// What the gateway says about itself to whoever watches it.
fn uncounted() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/healthz", get(system::healthz))
        .route("/readyz", get(system::readyz))
        .route(STORE, get(store::list))
        .route("/openapi.json", get(openapi::serve))
        .route("/", get(system::root))
}

/// What is answered on the port that Prometheus scrapes.
pub fn metrics_router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/metrics", get(system::metrics))
        .route("/healthz", get(system::healthz))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .with_state(gateway)
}

async fn unknown_path(uri: Uri) -> GatewayError {
    GatewayError::UnknownPath(excerpt(uri.path()))
}

async fn unknown_method(method: Method) -> GatewayError {
    GatewayError::UnknownMethod(method)
}
