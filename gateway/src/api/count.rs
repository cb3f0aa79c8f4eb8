//! Counts every request to `/system/…`, by route and not by what the client wrote.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::state::Gateway;

/// For an endless response the time is that to its head.
pub(super) async fn count(
    State(gateway): State<Arc<Gateway>>,
    path: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    let (began, method) = (Instant::now(), request.method().clone());
    let response = next.run(request).await;
    // The star is the router's affair: it lets a name with a slash in it reach the check of names.
    let path = path.as_str().replace("{*", "{");
    gateway.metrics.count_request(&method, &path, response.status(), began.elapsed());
    response
}
