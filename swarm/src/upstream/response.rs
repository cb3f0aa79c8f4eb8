//! One exchange: a request out, the head of the response back, and where its body comes from.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bramble_provider::Body;
use bytes::{Bytes, BytesMut};
use http::header::{TRANSFER_ENCODING, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body::Body as HttpBody;
use hyper::body::Incoming;
use tokio::sync::oneshot;

use super::body::{Attached, Detached, Ended};
use super::connection::{Connection, Sent, nobody};
use super::error::{NoConnection, SendError};
use super::pool::Pool;

/// Bodies up to here are passed on whole, when all of them came with the head.
const WHOLE_BYTES: usize = 64 << 10;
/// How long the rest of a request may take once its response is complete: the replica does not want it.
const LINGER: Duration = Duration::from_secs(5);

/// Sends `request` over `connection`, which goes to `pool` when the exchange is complete.
///
/// # Errors
/// [`SendError`]; `NotSent` has the request that was given.
pub(super) fn exchange(
    mut connection: Connection,
    mut request: Request<Body>,
    pool: &Arc<Pool>,
) -> impl Future<Output = Result<Response<Body>, SendError>> {
    let is_whole = take_whole(request.body_mut());
    let wants_upgrade = request.headers().contains_key(UPGRADE);
    let begun = connection.begin(request);
    async move {
        let sent = connection.response(begun).await;
        answer(connection, sent, Asked { is_whole, wants_upgrade }, pool)
    }
}

/// What has to be known of a request when its response has come.
struct Asked {
    /// All of its body was in memory.
    is_whole: bool,
    wants_upgrade: bool,
}

/// Turns what came of a request into its response.
fn answer(
    connection: Connection,
    sent: Sent,
    asked: Asked,
    pool: &Arc<Pool>,
) -> Result<Response<Body>, SendError> {
    let (mut head, incoming) = match sent {
        Ok(response) => response.into_parts(),
        Err(mut error) => {
            return Err(match error.take_message() {
                Some(request) => {
                    let cause = NoConnection::Closed(error.into_error());
                    SendError::NotSent { request: Box::new(request), cause }
                }
                None => SendError::after_sending(error.into_error()),
            });
        }
    };
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        if !asked.wants_upgrade {
            return Err(SendError::InvalidResponse(
                "the replica switched protocols without being asked to".to_owned(),
            ));
        }
        if !connection.is_closed() {
            tokio::spawn(drive(connection, Arc::clone(pool), Ended::already()));
        }
        return Ok(Response::from_parts(head, Body::empty()));
    }
    head.headers.remove(TRANSFER_ENCODING);
    let body = receive(connection, incoming, asked.is_whole, pool)?;
    Ok(Response::from_parts(head, body))
}

/// The body of a response: whole when it has come, else one that streams.
fn receive(
    mut connection: Connection,
    mut incoming: Incoming,
    is_request_whole: bool,
    pool: &Arc<Pool>,
) -> Result<Body, SendError> {
    let (first, is_whole) = gather(&mut connection, &mut incoming).map_err(SendError::after_sending)?;
    let is_complete = is_request_whole || connection.is_idle() || connection.is_closed();
    Ok(match (is_whole, is_complete) {
        (true, true) => {
            pool.put(connection);
            Body::whole(first)
        }
        (true, false) => {
            tokio::spawn(drive(connection, Arc::clone(pool), Ended::already()));
            Body::whole(first)
        }
        (false, true) => Body::stream(first, Attached::new(incoming, connection, Arc::clone(pool))),
        (false, false) => {
            let (body, ended) = Detached::new(incoming);
            tokio::spawn(drive(connection, Arc::clone(pool), ended));
            Body::stream(first, body)
        }
    })
}

/// Takes what of a small body is there already, and tells whether that is all of it. Waits for nothing.
///
/// # Errors
/// hyper's, when the body broke off.
fn gather(connection: &mut Connection, incoming: &mut Incoming) -> hyper::Result<(Bytes, bool)> {
    let mut gathered = Gathered::default();
    if incoming.size_hint().lower() > WHOLE_BYTES as u64 {
        return Ok((gathered.take(), false));
    }
    let mut is_polled = false;
    while gathered.length < WHOLE_BYTES && !incoming.is_end_stream() {
        match Pin::new(&mut *incoming).poll_frame(&mut nobody()) {
            Poll::Ready(None) => return Ok((gathered.take(), true)),
            Poll::Ready(Some(frame)) => {
                is_polled = false;
                gathered.add(frame?.into_data().unwrap_or_default());
            }
            Poll::Pending if is_polled => return Ok((gathered.take(), false)),
            Poll::Pending => {
                connection.poll_now();
                is_polled = true;
            }
        }
    }
    let is_whole = incoming.is_end_stream();
    Ok((gathered.take(), is_whole))
}

/// The beginning of a body; copied only when it came in pieces.
#[derive(Default)]
struct Gathered {
    first: Bytes,
    more: BytesMut,
    length: usize,
}

impl Gathered {
    fn add(&mut self, data: Bytes) {
        self.length += data.len();
        if self.first.is_empty() {
            self.first = data;
        } else {
            if self.more.is_empty() {
                self.more.extend_from_slice(&self.first);
            }
            self.more.extend_from_slice(&data);
        }
    }

    fn take(&mut self) -> Bytes {
        if self.more.is_empty() { std::mem::take(&mut self.first) } else { self.more.split().freeze() }
    }
}

/// Whether all of a request's body is in memory.
fn take_whole(body: &mut Body) -> bool {
    let (kept, is_whole) = match std::mem::take(body).into_whole() {
        Ok(bytes) => (Body::whole(bytes), true),
        Err(body) => (body, false),
    };
    *body = kept;
    is_whole
}

/// Goes on with an exchange whose request is still being sent, for as long as the response is wanted.
async fn drive(mut connection: Connection, pool: Arc<Pool>, ended: oneshot::Receiver<Ended>) {
    let is_idle = tokio::select! {
        is_idle = connection.finish() => is_idle,
        ended = ended => match ended {
            Ok(Ended) => tokio::time::timeout(LINGER, connection.finish()).await.unwrap_or(false),
            // Nobody wants the rest of it.
            Err(_) => false,
        },
    };
    if is_idle {
        pool.put(connection);
    }
}
