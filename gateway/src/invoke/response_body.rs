//! A response's body on its way to the client: counts the invocation when it has ended.

use std::pin::Pin;
use std::task::{Context, Poll};

use bramble_provider::{Body, BodyError};
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::deadline::Deadline;
use crate::functions::Inflight;

/// What a response that broke off is counted as, whatever its head said.
const BROKEN_OFF: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

/// A streamed body that holds its invocation's place until it ends, fails, is dropped or times out.
pub(super) struct CountedBody {
    body: Body,
    inflight: Option<Inflight>,
    status: StatusCode,
    deadline: Deadline,
}

impl CountedBody {
    /// Counts a whole response at once, and a streamed one at its end.
    pub(super) fn wrap(response: Response<Body>, inflight: Inflight, deadline: Deadline) -> Response<Body> {
        let status = response.status();
        let (parts, body) = response.into_parts();
        let body = match body.into_whole() {
            Ok(bytes) => {
                inflight.finish(status);
                Body::whole(bytes)
            }
            Err(body) => Body::stream(Bytes::new(), Self { body, inflight: Some(inflight), status, deadline }),
        };
        Response::from_parts(parts, body)
    }

    fn finish(&mut self, status: StatusCode) {
        if let Some(inflight) = self.inflight.take() {
            inflight.finish(status);
        }
    }
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
            Poll::Ready(Some(Err(error))) => {
                self.finish(BROKEN_OFF);
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => {
                let status = self.status;
                self.finish(status);
                Poll::Ready(None)
            }
            Poll::Pending => {
                std::task::ready!(self.deadline.poll_over(cx));
                self.finish(StatusCode::GATEWAY_TIMEOUT);
                Poll::Ready(Some(Err("the invocation ran out of time".into())))
            }
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
        // A server that knows the length stops asking at the last byte; then nothing was cut short.
        if self.body.is_end_stream() {
            let status = self.status;
            self.finish(status);
        }
    }
}
