//! Components that export `wasi:http/incoming-handler`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bramble_provider::{Body, BodyError, ProviderError};
use bytes::Bytes;
use http::uri::{PathAndQuery, Uri};
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::{
    HostFutureTrailers, HostIncomingBody, HostOutgoingBody, HyperOutgoingBody,
};
use wasmtime_wasi_http::p2::types::{HostIncomingRequest, HostResponseOutparam};
use wasmtime_wasi_http::{Error, WasiHttpView};

use crate::call::Call;
use crate::function::Admitted;
use crate::guest::{ComponentGuest, MAX_KEPT_RESOURCES};
use crate::kept::Instance;
use crate::run::{Exit, GuestRun, exit_of, take_turns};

type Answer = Result<Response<HyperOutgoingBody>, ErrorCode>;

/// Runs the handler on one request; its answer comes through `answer`, its end is returned.
///
/// With an instance that was kept no other is made. One that ends well is kept where the function asks
/// for it; any other end, and dropping this, frees the instance.
pub(crate) async fn handle(
    code: ProxyPre<ComponentGuest>,
    call: Arc<Call>,
    body: Body,
    answer: oneshot::Sender<Answer>,
    kept: Option<Instance>,
) -> Exit {
    let request = request_of(&call, body);
    let (mut store, proxy, served) = match kept {
        Some(Instance { mut store, proxy, served }) => {
            store.data_mut().turn_to(Some(&call));
            take_turns(&mut store);
            (store, Some(proxy), served)
        }
        None => (ComponentGuest::store(code.engine(), &call), None, 0),
    };
    let result = async {
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
        let out = store.data_mut().http().new_response_outparam(answer)?;
        let proxy = match proxy {
            Some(proxy) => proxy,
            None => {
                let making = Instant::now();
                let proxy = code.instantiate_async(&mut store).await?;
                call.revision.metrics.instantiated(making.elapsed());
                if let Some(kept) = &call.revision.kept {
                    kept.made();
                }
                proxy
            }
        };
        proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out).await?;
        wasmtime::error::Ok(proxy)
    }
    .await;
    match result {
        Ok(proxy) => {
            if let Some(kept) = &call.revision.kept
                && is_clean(store.data_mut())
            {
                store.data_mut().turn_to(None);
                kept.put(Instance { store, proxy, served: served + 1 });
            }
            Exit::Status(0)
        }
        Err(error) => exit_of(Err(error), &call, &store.data().meter),
    }
}

/// Whether an instance let go of everything that belongs to a request, stayed within its memory, and does not
/// gather what it never lets go of.
///
/// What it holds on to would keep a response from ending, or a client's connection busy.
fn is_clean(guest: &mut ComponentGuest) -> bool {
    let mut held = 0;
    !guest.meter.refused()
        && guest.table.iter_mut().all(|entry| {
            held += 1;
            held <= MAX_KEPT_RESOURCES
                && !(entry.is::<HostIncomingRequest>()
                    || entry.is::<HostIncomingBody>()
                    || entry.is::<HostFutureTrailers>()
                    || entry.is::<HostOutgoingBody>()
                    || entry.is::<HostResponseOutparam>())
        })
}

/// The request as the function sees it: its own path, and an authority, which the interface wants.
fn request_of(call: &Call, body: Body) -> Request<http_body_util::combinators::UnsyncBoxBody<Bytes, Error>> {
    let invocation = &call.invocation;
    let mut uri = invocation.request.uri.clone().into_parts();
    let path = match invocation.query() {
        Some(query) => PathAndQuery::try_from(format!("{}?{query}", invocation.path())),
        None => PathAndQuery::try_from(invocation.path()),
    };
    uri.path_and_query = path.ok().or(uri.path_and_query);
    let mut request = Request::new(body.map_err(|_| Error::ConnectionTerminated).boxed_unsync());
    if uri.authority.is_none() && !invocation.request.headers.contains_key(http::header::HOST) {
        uri.authority = Some(http::uri::Authority::from_static("localhost"));
        uri.scheme = Some(http::uri::Scheme::HTTP);
    }
    *request.method_mut() = invocation.request.method.clone();
    *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
    *request.headers_mut() = invocation.request.headers.clone();
    request.headers_mut().extend(invocation.added_headers());
    request
}

/// A handler whose answer is awaited.
pub(crate) struct Answering {
    pub(crate) run: GuestRun,
    pub(crate) answer: oneshot::Receiver<Answer>,
    pub(crate) call: Arc<Call>,
    pub(crate) admitted: Admitted,
}

impl Answering {
    /// Waits for the response's head; the handler goes on writing the body.
    pub(crate) async fn response(mut self) -> Result<Response<Body>, ProviderError> {
        let mut ended = None;
        let answer = std::future::poll_fn(|cx| {
            if ended.is_none()
                && let Poll::Ready(exit) = self.run.poll(cx)
            {
                ended = Some(exit);
            }
            Pin::new(&mut self.answer).poll(cx)
        })
        .await;
        let name = self.call.revision.name.clone();
        let reason = match (answer, &ended) {
            (_, Some(Exit::TimedOut(timeout))) => {
                return Err(ProviderError::TimedOut { name, timeout: *timeout });
            }
            (_, Some(Exit::NoRoom)) => return Err(self.admitted.function.saturated()),
            (Ok(Err(code)), _) => format!("it answered with error {code}"),
            (answer, ended) => match (ended.as_ref().and_then(Exit::failure), answer) {
                // Of a response that was set nothing is sent yet, and its body would end as if it were whole.
                (Some(reason), _) => reason,
                (None, Ok(Ok(response))) => return Ok(self.streamed(response, ended.is_none())),
                (None, _) => "it ended without setting a response".to_owned(),
            },
        };
        Err(ProviderError::FunctionFailed { name, reason })
    }

    fn streamed(self, response: Response<HyperOutgoingBody>, running: bool) -> Response<Body> {
        let (run, call, admitted) = (self.run, self.call, self.admitted);
        response.map(|inner| {
            let left = call.revision.max_output_bytes;
            let body = HandlerBody { run: running.then_some(run), inner, left, call, _admitted: admitted };
            Body::stream(Bytes::new(), body)
        })
    }
}

/// A body that drives the handler writing it.
struct HandlerBody {
    run: Option<GuestRun>,
    inner: HyperOutgoingBody,
    /// Bytes that it may still write.
    left: u64,
    call: Arc<Call>,
    _admitted: Admitted,
}

impl HttpBody for HandlerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(run) = &mut this.run
            && let Poll::Ready(exit) = run.poll(cx)
        {
            this.run = None;
            if let Some(error) = exit.cuts_short(&this.call.revision.name) {
                return Poll::Ready(Some(Err(error)));
            }
        }
        match std::task::ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
            Some(Ok(frame)) => {
                let len = frame.data_ref().map_or(0, Bytes::len) as u64;
                let Some(left) = this.left.checked_sub(len) else {
                    this.run = None;
                    return Poll::Ready(Some(Err("it wrote more than its output limit".into())));
                };
                this.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(format!("{error:?}").into()))),
            // The body is whole; what the handler still does is not waited for longer than its time limit.
            None if this.run.is_some() => Poll::Pending,
            None => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.inner.size_hint()
    }
}
