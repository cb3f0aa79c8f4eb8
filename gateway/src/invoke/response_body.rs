//! A response's body on its way to the client: counts the invocation when it has ended.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bramble_provider::{Body, BodyError, ProviderError};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::response::Parts;
use http::{Method, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::deadline::Deadline;
use super::request_body::{Broken, Rest};
use crate::error::status_of;
use crate::functions::Inflight;
use crate::serve::connection::{ConnectionTask, CutOff};

/// What a response that broke off for no known cause is counted as, whatever its head said.
const BROKEN_OFF: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

/// A streamed body that holds its invocation's place until it ends, fails, is dropped or times out.
pub(super) struct CountedBody {
    body: Body,
    inflight: Option<Inflight>,
    status: StatusCode,
    deadline: Deadline,
    /// Ends the connection at the deadline: a client that does not read keeps the body from being asked.
    _cut_off: CutOff,
    /// What becomes of the request's body, of which the function may still be reading.
    request: Option<Rest>,
    /// Bytes that the server still sends, where the head tells that.
    ///
    /// It drops a body of which it has them all, also unasked. Then nothing was cut short, and a guest that
    /// goes on is ended as one whose client has gone: nobody would ever read what it does.
    owed: Option<u64>,
}

impl CountedBody {
    /// Counts a whole response to a request of this method at once, with the time that it `took`, and a
    /// streamed one at its end.
    pub(super) fn wrap(
        response: Response<Body>,
        method: &Method,
        inflight: Inflight,
        took: Duration,
        deadline: Deadline,
        request: Option<Rest>,
        connection: &ConnectionTask,
    ) -> Response<Body> {
        let status = response.status();
        let (parts, body) = response.into_parts();
        let body = match body.into_whole() {
            Ok(bytes) => {
                inflight.finish_after(status, took);
                Body::whole(bytes)
            }
            Err(body) => {
                let (inflight, _cut_off) = (Some(inflight), connection.cut_off_at(deadline.at()));
                let owed = owed(method, &parts);
                Body::stream(Bytes::new(), Self { body, inflight, status, deadline, _cut_off, request, owed })
            }
        };
        Response::from_parts(parts, body)
    }

    fn request_broken(&self) -> Option<Broken> {
        self.request.as_ref().and_then(Rest::broken)
    }

    /// Counts what has to end early, by whose fault it is.
    fn break_off(&mut self, error: Option<&BodyError>) {
        let cause = error.and_then(|error| error.downcast_ref::<ProviderError>());
        match self.request_broken() {
            None => self.finish(cause.map_or(BROKEN_OFF, status_of)),
            Some(Broken::TooLarge) => self.finish(StatusCode::PAYLOAD_TOO_LARGE),
            Some(Broken::StepBroke) => self.finish(StatusCode::BAD_GATEWAY),
            // Dropped without a word it counts as given up by the client.
            Some(Broken::ClientGone) => drop(self.inflight.take()),
        }
    }

    fn finish(&mut self, status: StatusCode) {
        if let Some(inflight) = self.inflight.take() {
            inflight.finish(status);
        }
    }
}

/// How many bytes of a body a server sends after this head; `None` when all that come.
fn owed(method: &Method, head: &Parts) -> Option<u64> {
    const WITHOUT_BODY: [StatusCode; 2] = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
    if method == Method::HEAD || WITHOUT_BODY.contains(&head.status) {
        return Some(0);
    }
    head.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // Before the body: one that always has more would never let it be looked at.
        if self.deadline.poll_over(cx).is_ready() {
            self.finish(StatusCode::GATEWAY_TIMEOUT);
            return Poll::Ready(Some(Err("the invocation ran out of time".into())));
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let sent = frame.data_ref().map_or(0, Bytes::len) as u64;
                self.owed = self.owed.map(|owed| owed.saturating_sub(sent));
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.break_off(Some(&error));
                Poll::Ready(Some(Err(error)))
            }
            // What a function made of half a request must not look whole.
            Poll::Ready(None) | Poll::Pending if self.request_broken().is_some() => {
                self.break_off(None);
                Poll::Ready(Some(Err("the request broke off".into())))
            }
            Poll::Ready(None) => {
                let status = self.status;
                self.finish(status);
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for CountedBody {
    fn drop(&mut self) {
        if self.owed == Some(0) || self.body.is_end_stream() {
            let status = self.status;
            self.finish(status);
        } else if self.deadline.is_over() {
            self.finish(StatusCode::GATEWAY_TIMEOUT);
        }
    }
}
