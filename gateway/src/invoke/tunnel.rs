//! Requests that leave HTTP: websockets and whatever else `Upgrade` names, to a function in a container.
//!
//! Both sides are joined byte by byte. The invocation is counted when they part.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bramble_provider::{Body, Runtime};
use http::header::{CONNECTION, UPGRADE};
use http::{Extensions, HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::functions::Inflight;
use crate::serve::lingering::Lingering;

/// Longest that neither side says anything.
const IDLE_AT_MOST: Duration = Duration::from_secs(3_600);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Longest wait until both sides have left HTTP.
const SWITCH_TIMEOUT: Duration = Duration::from_secs(10);
const PIECE_BYTES: usize = 16 << 10;

/// A request that asks to leave HTTP.
pub(super) struct Upgrade {
    protocol: HeaderValue,
    client: OnUpgrade,
}

impl Upgrade {
    /// What the request asks for, if it asks and the runtime can: a wasm program has but a stdin.
    pub(super) fn of(request: &mut Request<Lingering>, runtime: Runtime) -> Option<Self> {
        match runtime {
            Runtime::Wasm => return None,
            Runtime::Container | Runtime::Hybrid => {}
        }
        let protocol = asked_for(request.headers())?.clone();
        Some(Self { protocol, client: hyper::upgrade::on(request) })
    }

    /// Puts back what is about the connection: for once it is the function's business.
    pub(super) fn keep(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.protocol.clone());
    }

    /// Joins the client and the function as soon as the client has the response.
    pub(super) fn join(
        self,
        mut response: Response<Body>,
        inflight: Inflight,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Response<Body> {
        // With it goes what the provider wants to be kept until the end.
        let mut kept = std::mem::take(response.extensions_mut());
        if let Some(function) = kept.remove::<OnUpgrade>() {
            tokio::spawn(tunnel(self.client, function, kept, inflight, stop));
        }
        response
    }
}

/// The protocol that a request wants to change to. An offer to go on in HTTP/2 is none: many clients make it with
/// every request, and it may be left alone (RFC 9110 section 7.8).
fn asked_for(headers: &HeaderMap) -> Option<&HeaderValue> {
    let protocol = headers.get(UPGRADE)?;
    let has = |value: &HeaderValue, wanted: fn(&str) -> bool| {
        value.to_str().is_ok_and(|value| value.split(',').map(str::trim).any(wanted))
    };
    let named = headers
        .get_all(CONNECTION)
        .iter()
        .any(|value| has(value, |word| word.eq_ignore_ascii_case("upgrade")));
    (named && has(protocol, |word| !word.is_empty() && !word.eq_ignore_ascii_case("h2c"))).then_some(protocol)
}

async fn tunnel(
    client: OnUpgrade,
    function: OnUpgrade,
    _kept: Extensions,
    inflight: Inflight,
    stop: impl Future<Output = ()>,
) {
    let both = async { tokio::try_join!(client, function) };
    let Ok(Ok((client, function))) = tokio::time::timeout(SWITCH_TIMEOUT, both).await else { return };
    let (client_read, client_write) = tokio::io::split(TokioIo::new(client));
    let (function_read, function_write) = tokio::io::split(TokioIo::new(function));
    let clock = Clock::new();
    let to_function = pipe(client_read, function_write, &clock);
    let to_client = pipe(function_read, client_write, &clock);
    let joined = async { tokio::join!(to_function, to_client) };
    tokio::select! {
        _ = joined => {}
        () = clock.idle() => tracing::debug!("an upgraded connection was idle for too long"),
        () = pin!(stop) => {}
    }
    inflight.finish(StatusCode::SWITCHING_PROTOCOLS);
}

/// One direction. Its end is passed on, so that either side may finish first.
async fn pipe(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, clock: &Clock) {
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        clock.tick();
        if to.write_all(&piece[..length]).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
    // The other side may have gone.
    drop(to.shutdown().await);
}

/// When a byte last went either way.
struct Clock {
    start: Instant,
    last_millis: AtomicU64,
}

impl Clock {
    fn new() -> Self {
        Self { start: Instant::now(), last_millis: AtomicU64::new(0) }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn tick(&self) {
        self.last_millis.store(self.now(), Relaxed);
    }

    /// Resolves when nothing went either way for [`IDLE_AT_MOST`].
    async fn idle(&self) {
        while Duration::from_millis(self.now() - self.last_millis.load(Relaxed)) < IDLE_AT_MOST {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_of_http_2_is_no_wish_to_leave_http() {
        for (connection, upgrade, wanted) in [
            ("Upgrade", "websocket", true),
            ("keep-alive, upgrade", "websocket", true),
            ("Upgrade", "h2c, websocket", true),
            ("Upgrade, HTTP2-Settings", "h2c", false),
            ("Upgrade", "H2C", false),
            ("Upgrade", "", false),
            ("keep-alive", "websocket", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONNECTION, connection.parse().unwrap());
            headers.insert(UPGRADE, upgrade.parse().unwrap());
            assert_eq!(asked_for(&headers).is_some(), wanted, "{connection:?}, {upgrade:?}");
        }
    }
}
