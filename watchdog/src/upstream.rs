//! `mode=http`: one long-lived process that serves HTTP itself; requests are passed on and streamed both ways.

mod child;
mod link;
mod outgoing;
mod relay;

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::calls::Call;
use crate::config::{HttpSettings, Timeouts};
use crate::duration::parse_duration;
use crate::listen::Place;
use crate::log::log;
use crate::payload::{Payload, plain};
pub(crate) use child::Server;
use link::{Link, Links, connect};
pub(crate) use outgoing::asks_for_upgrade;
use outgoing::{Arriving, BodyError, Outgoing, outgoing_head, repeatable, strip_hop_by_hop};
pub(crate) use relay::Relay;

/// Largest chunked body that `http_buffer_req_body` collects.
const BUFFERED_BODY_MAX_BYTES: usize = 16 << 20;
/// Pause between two looks at a server that does not listen yet.
const LOOK_PAUSE: Duration = Duration::from_millis(5);
/// Says that the watchdog answered, not the function.
const INTERNAL_HEADER: HeaderName = HeaderName::from_static("x-openfaas-internal");

/// Passes requests on to the function's own server.
#[derive(Debug)]
pub(crate) struct Upstream {
    addresses: Vec<SocketAddr>,
    base: String,
    links: Arc<Links>,
    timeouts: Timeouts,
    buffer_request: bool,
    log_call_id: bool,
    listens: watch::Sender<bool>,
}

/// A client that asks for another protocol on its connection.
struct Upgrade {
    client: OnUpgrade,
    /// The connection's own, for as long as the other protocol is spoken.
    place: Option<Place>,
}

/// Why the function's server gave no response.
enum Refusal {
    TimedOut(Duration),
    NoConnection(std::io::Error),
    Broken(hyper::Error),
    BodyTooLarge,
    ReadTimeout,
}

impl Upgrade {
    fn of(request: &mut Request<Incoming>) -> Self {
        let place = request.extensions_mut().remove();
        Self { client: hyper::upgrade::on(request), place }
    }
}

impl Upstream {
    /// Takes the settings and looks the server's address up.
    ///
    /// # Errors
    /// The host of `upstream_url` has no address.
    pub(crate) fn new(settings: &HttpSettings, timeouts: Timeouts) -> Result<Self, String> {
        let url = &settings.upstream_url;
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = url.port_u16().unwrap_or(80);
        // An empty image has no /etc/hosts that could tell.
        let host = if host.eq_ignore_ascii_case("localhost") { "127.0.0.1" } else { host };
        let addresses: Vec<_> = (host, port)
            .to_socket_addrs()
            .map_err(|error| format!("upstream_url={:?}: cannot find {host}: {error}", url.to_string()))?
            .collect();
        Ok(Self {
            addresses,
            base: url.path().trim_end_matches('/').to_owned(),
            links: Arc::default(),
            timeouts,
            buffer_request: settings.buffer_request,
            log_call_id: settings.log_call_id,
            listens: watch::Sender::new(false),
        })
    }

    /// Returns when the server takes connections; until then requests wait.
    pub(crate) async fn listening(&self) {
        while connect(&self.addresses).await.is_err() {
            sleep(LOOK_PAUSE).await;
        }
        self.listens.send_replace(true);
    }

    /// Answers one request. Dropping the future closes the connection to the server.
    pub(crate) async fn respond(&self, mut request: Request<Incoming>, call: Call) -> Response<Payload> {
        let started = call.started();
        let line = self.log_line(&request);
        let limit = self.limit(request.headers());
        let upgrade = asks_for_upgrade(request.headers()).then(|| Upgrade::of(&mut request));
        let read_until = self.timeouts.read.map(|timeout| started + timeout);
        let sent = self.send(request, upgrade.is_some(), read_until);
        let answer = match limit {
            None => sent.await,
            Some(limit) => timeout_at(started + limit, sent).await.unwrap_or(Err(Refusal::TimedOut(limit))),
        };
        let mut response = match answer {
            Ok((link, response)) => self.accept(link, response, upgrade, limit, call),
            Err(refusal) => {
                let mut response = refuse(&refusal);
                finish(&mut response, call);
                response
            }
        };
        let took = started.elapsed().as_secs_f64();
        let length =
            response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).unwrap_or("-1");
        log!("{line} - {} - ContentLength: {length}B ({took:.4}s)", response.status());
        if let Ok(value) = HeaderValue::from_str(&format!("{took:.6}")) {
            response.headers_mut().insert("x-duration-seconds", value);
        }
        response
    }

    fn log_line(&self, request: &Request<Incoming>) -> String {
        let id = request.headers().get("x-call-id").filter(|_| self.log_call_id);
        let id = id.map(|id| format!("[{}] ", id.to_str().unwrap_or_default())).unwrap_or_default();
        let path = request.uri().path_and_query().map_or("/", hyper::http::uri::PathAndQuery::as_str);
        format!("{id}{} {path}", request.method())
    }

    /// `exec_timeout`, which the request's `X-Timeout` may shorten.
    fn limit(&self, headers: &HeaderMap) -> Option<Duration> {
        let asked = headers.get("x-timeout").and_then(|value| value.to_str().ok()).and_then(parse_duration);
        [asked, self.timeouts.exec, self.timeouts.write].into_iter().flatten().min()
    }

    async fn send(
        &self,
        request: Request<Incoming>,
        upgrade: bool,
        read_until: Option<Instant>,
    ) -> Result<(Link, Response<Incoming>), Refusal> {
        let mut request = self.outgoing(request, upgrade, read_until).await?;
        let mut idle = if upgrade { None } else { self.links.take().await };
        loop {
            let reused = idle.is_some();
            let mut link = match idle.take() {
                Some(link) => link,
                None => self.connect().await?,
            };
            if upgrade {
                link.spawn_with_upgrades();
            }
            let copy = repeatable(&request).filter(|_| reused);
            match link.send(request).await {
                Ok(response) => return Ok((link, response)),
                // An idle connection that was closed under the request; a new one tells the truth.
                Err(failed) => match failed.request.filter(|_| reused).map(|request| *request).or(copy) {
                    Some(again) => request = again,
                    None if is_late(&failed.error) => return Err(Refusal::ReadTimeout),
                    None => return Err(Refusal::Broken(failed.error)),
                },
            }
        }
    }

    /// A new connection; waits for a server that has not listened yet.
    async fn connect(&self) -> Result<Link, Refusal> {
        let mut listens = self.listens.subscribe();
        // The sender lives in `self`.
        let _ = listens.wait_for(|listens| *listens).await;
        let stream = connect(&self.addresses).await.map_err(Refusal::NoConnection)?;
        Link::new(stream).await.map_err(Refusal::Broken)
    }

    async fn outgoing(
        &self,
        request: Request<Incoming>,
        upgrade: bool,
        read_until: Option<Instant>,
    ) -> Result<Request<Outgoing>, Refusal> {
        let (parts, body) = request.into_parts();
        let body = Arriving::new(body, read_until);
        let mut parts = outgoing_head(parts, &self.base, upgrade);
        if !self.buffer_request || body.size_hint().exact().is_some() {
            return Ok(Request::from_parts(parts, Outgoing::Client(body)));
        }
        let body = Limited::new(body, BUFFERED_BODY_MAX_BYTES).collect().await;
        let refused = |error: Box<dyn std::error::Error + Send + Sync>| match error.downcast_ref() {
            Some(BodyError::ReadTimeout) => Refusal::ReadTimeout,
            Some(BodyError::Broken(_)) | None => Refusal::BodyTooLarge,
        };
        let body: Bytes = body.map_err(refused)?.to_bytes();
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        Ok(Request::from_parts(parts, Outgoing::Whole(body)))
    }

    fn accept(
        &self,
        link: Link,
        mut response: Response<Incoming>,
        upgrade: Option<Upgrade>,
        limit: Option<Duration>,
        mut call: Call,
    ) -> Response<Payload> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(upgrade) = upgrade
        {
            call.set_status(response.status());
            tokio::spawn(tunnel(upgrade, hyper::upgrade::on(&mut response), call));
            return response.map(|_| Payload::whole(Bytes::new()));
        }
        let (mut head, body) = response.into_parts();
        strip_hop_by_hop(&mut head.headers);
        // Events are meant to go on for longer than one answer may take.
        let limit = if is_event_stream(&head.headers) { self.timeouts.write } else { limit };
        let deadline = limit.map(|limit| call.started() + limit);
        let relay = Relay::new(body, link, Arc::clone(&self.links), deadline);
        let mut response = Response::from_parts(head, Payload::upstream(relay));
        finish(&mut response, call);
        response
    }
}

/// Whether a request failed because its client did not send its body in time.
fn is_late(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(BodyError::ReadTimeout))
}

/// Lets `call` end with the response's body.
fn finish(response: &mut Response<Payload>, mut call: Call) {
    call.set_status(response.status());
    response.body_mut().hold(call);
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let mime =
        headers.get(hyper::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    mime.starts_with("text/event-stream") || mime.starts_with("application/x-ndjson")
}

fn refuse(refusal: &Refusal) -> Response<Payload> {
    let (status, text) = match refusal {
        Refusal::TimedOut(limit) => {
            (StatusCode::GATEWAY_TIMEOUT, format!("the function did not answer within {limit:?}\n"))
        }
        Refusal::NoConnection(error) => {
            let text = format!("the function's server does not take connections at upstream_url: {error}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, text)
        }
        Refusal::Broken(error) if error.is_parse() || error.is_incomplete_message() => {
            (StatusCode::BAD_GATEWAY, format!("the function's server gave no valid response: {error}\n"))
        }
        Refusal::Broken(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("the function's server failed: {error}\n"))
        }
        Refusal::BodyTooLarge => {
            let text = format!("http_buffer_req_body takes at most {BUFFERED_BODY_MAX_BYTES} bytes\n");
            (StatusCode::PAYLOAD_TOO_LARGE, text)
        }
        Refusal::ReadTimeout => (StatusCode::REQUEST_TIMEOUT, format!("{}\n", BodyError::ReadTimeout)),
    };
    log!("Upstream HTTP request error: {}", text.trim_end());
    let mut response = plain(status, text);
    response.headers_mut().insert(INTERNAL_HEADER, HeaderValue::from_static("of-watchdog"));
    response
}

/// Passes bytes both ways until both sides have ended. The call stays in flight meanwhile, and the connection
/// keeps its place.
async fn tunnel(upgrade: Upgrade, server: OnUpgrade, call: Call) {
    let Upgrade { client, place } = upgrade;
    // Both follow the 101 at once; a client that vanished in between must not be waited for.
    let both = timeout(Duration::from_secs(10), async { tokio::try_join!(client, server) }).await;
    match both {
        Ok(Ok((client, server))) => {
            let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        }
        Ok(Err(error)) => log!("Upgrade failed: {error}"),
        Err(_) => log!("Upgrade failed: the connection did not follow"),
    }
    drop((call, place));
}
