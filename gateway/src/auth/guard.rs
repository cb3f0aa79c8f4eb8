//! The layer around the API: credentials before, the audit log after.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::audit;
use crate::error::excerpt;
use crate::state::Gateway;

/// Where a request comes from; whoever accepts connections puts it into the request's extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Refuses who may not, and logs what changes something.
pub(crate) async fn guard(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let peer: Option<IpAddr> = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    let who = match gateway.auth.admit(request.uri().path(), request.headers(), peer) {
        Ok(who) => who.unwrap_or("anonymous"),
        Err(refusal) => return refusal.into_response(),
    };
    if !audit::is_change(request.method(), request.uri().path()) {
        return next.run(request).await;
    }
    let what = (request.method().clone(), excerpt(request.uri().path()));
    audit::logged(who, peer, what, next.run(request), Response::status).await
}
