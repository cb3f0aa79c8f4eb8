//! The layer around the API: credentials and whose page it is before, the audit log after.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::audit;
use super::site::Sites;
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
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let refused = Sites::of(&gateway).check(&method, &path, request.headers()).err();
    let answer = async {
        match refused {
            Some(refusal) => refusal.into_response(),
            None => next.run(request).await,
        }
    };
    if !audit::is_change(&method, &path) {
        return answer.await;
    }
    audit::logged(who, peer, (method, excerpt(&path)), answer, Response::status).await
}
