//! From a running command to an HTTP response.
//!
//! The head is held back while the outcome may still change: a program that prints something and
//! then exits with 3 answers 500. It goes out early when the program has written more than
//! [`EARLY_BYTES`], waits for more input with output unsent, or has let output lie for
//! [`EARLY_AFTER`]. After that a failure can only cut the body short.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bramble_provider::{Body, BodyError, OutputForm, ProviderError};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use tokio::time::Sleep;

use crate::call::Call;
use crate::cgi;
use crate::function::Admitted;
use crate::run::{Exit, GuestRun};

/// Output that starts a response before the program has ended.
const EARLY_BYTES: usize = 64 << 10;
/// The guest goes on writing when no more than this is left to send.
const LOW_WATER_BYTES: usize = 64 << 10;
/// Headers of a response that sets none itself.
const RESPONSE_HEADERS: usize = 6;
/// How long output may lie before it is sent.
const EARLY_AFTER: Duration = Duration::from_millis(100);

/// A command whose response is awaited.
pub(crate) struct Responding {
    pub(crate) run: GuestRun,
    pub(crate) call: Arc<Call>,
    pub(crate) admitted: Admitted,
}

impl Responding {
    /// Waits until the response's head is certain.
    pub(crate) async fn response(mut self) -> Result<Response<Body>, ProviderError> {
        let mut lying: Option<Pin<Box<Sleep>>> = None;
        let exit = std::future::poll_fn(|cx| match self.run.poll(cx) {
            Poll::Ready(exit) => Poll::Ready(Some(exit)),
            Poll::Pending => self.poll_early(&mut lying, cx).map(|()| None),
        })
        .await;
        match exit {
            Some(exit) => self.whole(exit),
            None => self.streamed(),
        }
    }

    /// Ready when the response should start though the program has not ended.
    fn poll_early(&self, lying: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> Poll<()> {
        let held = self.call.output.lock().held();
        if held == 0 {
            *lying = None;
            return Poll::Pending;
        }
        if !self.head_is_there() {
            return Poll::Pending;
        }
        if held >= EARLY_BYTES || self.call.input.lock().guest_waits() {
            return Poll::Ready(());
        }
        lying.get_or_insert_with(|| Box::pin(tokio::time::sleep(EARLY_AFTER))).as_mut().poll(cx)
    }

    /// Whether what is held tells the response's head: CGI headers may be printed bit by bit.
    fn head_is_there(&self) -> bool {
        if self.call.revision.settings.output != OutputForm::Cgi {
            return true;
        }
        let mut output = self.call.output.lock();
        let held = output.take_all();
        // What is no CGI head is known at once, and more output does not mend it.
        let there = !matches!(cgi::parse(&held), Ok(None));
        output.put_back(held);
        there
    }

    fn whole(self, exit: Exit) -> Result<Response<Body>, ProviderError> {
        let name = || self.call.revision.name.clone();
        match exit {
            Exit::Status(0) => {}
            Exit::TimedOut(timeout) => return Err(ProviderError::TimedOut { name: name(), timeout }),
            Exit::NoRoom => return Err(self.admitted.function.saturated()),
            Exit::Status(_) | Exit::Failed(_) => {
                let reason = exit.failure().unwrap_or_default();
                return Err(ProviderError::FunctionFailed { name: name(), reason });
            }
        }
        let bytes = self.call.output.lock().take_all();
        let (mut response, len) = self.head(&bytes)?;
        *response.body_mut() = Body::whole(bytes.slice(len..));
        Ok(response)
    }

    fn streamed(self) -> Result<Response<Body>, ProviderError> {
        let first = self.call.output.lock().take_all();
        let (response, len) = self.head(&first)?;
        self.call.output.lock().put_back(first.slice(len..));
        let body = StreamedBody { run: Some(self.run), call: self.call, _admitted: self.admitted };
        Ok(response.map(|_| Body::stream(Bytes::new(), body)))
    }

    /// The response without its body, and how many bytes of the output were its head.
    fn head(&self, output: &[u8]) -> Result<(Response<Body>, usize), ProviderError> {
        let mut response = Response::new(Body::empty());
        // Ours and those that the gateway adds. One more would double the map, beyond what the
        // allocator keeps ready on each thread.
        response.headers_mut().reserve(RESPONSE_HEADERS);
        let mut len = 0;
        let revision = &self.call.revision;
        if revision.settings.output == OutputForm::Cgi {
            let invalid = |reason| ProviderError::InvalidResponse { name: revision.name.clone(), reason };
            let head = cgi::parse(output).map_err(invalid)?;
            let head = head.ok_or_else(|| invalid("its output ends before its CGI headers do".to_owned()))?;
            *response.status_mut() = head.status;
            *response.headers_mut() = head.headers;
            len = head.len;
        }
        if !response.headers().contains_key(CONTENT_TYPE) && response.status() != StatusCode::NO_CONTENT {
            let content_type = self.content_type(&output[len..]);
            response.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        Ok((response, len))
    }

    fn content_type(&self, body: &[u8]) -> HeaderValue {
        // The request's own type is the response's when nothing else is said.
        let request = &self.call.invocation.request;
        let told =
            self.call.revision.settings.content_type.as_ref().or_else(|| request.headers.get(CONTENT_TYPE));
        told.cloned().unwrap_or_else(|| sniff(body))
    }
}

/// Text or not, from a body's first bytes.
fn sniff(body: &[u8]) -> HeaderValue {
    const LOOK_AT_BYTES: usize = 512;
    let start = &body[..body.len().min(LOOK_AT_BYTES)];
    // A character may be cut in two at the end of what is looked at.
    let text = match std::str::from_utf8(start) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && start.len() == LOOK_AT_BYTES,
    };
    let control = |byte: &u8| *byte < b' ' && !matches!(*byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b);
    HeaderValue::from_static(match text && !start.iter().any(control) {
        true => "text/plain; charset=utf-8",
        false => "application/octet-stream",
    })
}

/// A body that drives the command writing it.
struct StreamedBody {
    run: Option<GuestRun>,
    call: Arc<Call>,
    _admitted: Admitted,
}

impl HttpBody for StreamedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        // Waking the guest for every piece would cost a switch of stacks each time.
        let low = this.call.output.lock().held() <= LOW_WATER_BYTES;
        if let Some(run) = this.run.as_mut().filter(|_| low)
            && let Poll::Ready(exit) = run.poll(cx)
        {
            this.run = None;
            if let Some(error) = exit.cuts_short(&this.call.revision.name) {
                return Poll::Ready(Some(Err(error)));
            }
        }
        match this.call.output.lock().take_piece() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None if this.run.is_none() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.run.is_none() && self.call.output.lock().held() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_text_from_bytes() {
        assert_eq!(sniff(b"hello\n"), "text/plain; charset=utf-8");
        assert_eq!(sniff("grüße".as_bytes()), "text/plain; charset=utf-8");
        assert_eq!(sniff(b"\x89PNG\r\n\x1a\n"), "application/octet-stream");
        assert_eq!(sniff(b"a\0b"), "application/octet-stream");
    }
}
