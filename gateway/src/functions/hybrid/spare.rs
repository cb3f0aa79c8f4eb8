//! A second copy of an invocation, for the runtime that is asked when the first one refused it.
//!
//! The property that must hold: there is no second copy of a streamed body, and none of an invocation
//! whose body was looked at.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bramble_provider::{Body, BodyError, Invocation};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;

/// What is kept of an invocation that was handed on.
pub(super) struct Spare {
    invocation: Invocation<()>,
    body: Kept,
}

enum Kept {
    /// Bytes are shared, not copied.
    Whole(Bytes),
    /// Where the body lies until somebody begins to read it.
    Streamed(Arc<Mutex<Option<Body>>>),
}

/// Keeps what a second try needs.
pub(super) fn lend(invocation: Invocation) -> (Invocation, Spare) {
    let (invocation, body) = invocation.into_parts();
    let (body, kept) = match body.into_whole() {
        Ok(bytes) => (Body::whole(bytes.clone()), Kept::Whole(bytes)),
        Err(body) => {
            let place = Arc::new(Mutex::new(Some(body)));
            let lent = Lent { place: place.clone(), taken: None };
            (Body::stream(Bytes::new(), lent), Kept::Streamed(place))
        }
    };
    let spare = Spare { invocation: copy(&invocation), body: kept };
    (copy_into(invocation, body), spare)
}

impl Spare {
    /// The invocation as it was; `None` when somebody began to read its body.
    pub(super) fn recover(self) -> Option<Invocation> {
        let body = match self.body {
            Kept::Whole(bytes) => Body::whole(bytes),
            Kept::Streamed(place) => place.lock().take()?,
        };
        Some(copy_into(self.invocation, body))
    }
}

fn copy(invocation: &Invocation<()>) -> Invocation<()> {
    let Invocation { call_id, request, path_offset, body: (), peer, started_at } = invocation;
    let (call_id, request) = (call_id.clone(), request.clone());
    Invocation { call_id, request, path_offset: *path_offset, body: (), peer: *peer, started_at: *started_at }
}

fn copy_into<B>(invocation: Invocation<()>, body: B) -> Invocation<B> {
    let Invocation { call_id, request, path_offset, body: (), peer, started_at } = invocation;
    Invocation { call_id, request, path_offset, body, peer, started_at }
}

/// A streamed body that can be asked for its length, and be taken back, until it is read.
struct Lent {
    place: Arc<Mutex<Option<Body>>>,
    taken: Option<Body>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.taken.is_none() {
            this.taken = this.place.lock().take();
        }
        match &mut this.taken {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(Some(Err("the body was taken back".into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.taken {
            Some(body) => body.is_end_stream(),
            None => self.place.lock().as_ref().is_some_and(HttpBody::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.taken {
            Some(body) => body.size_hint(),
            None => self.place.lock().as_ref().map(HttpBody::size_hint).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bramble_provider::CallId;
    use futures_util::FutureExt;
    use http_body_util::{BodyExt, Full};

    use super::*;

    fn invocation(body: Body) -> Invocation {
        let (request, ()) =
            http::Request::post("/function/echo/a?b").header("x", "y").body(()).unwrap().into_parts();
        let call_id = CallId::from_random(1);
        Invocation { call_id, request, path_offset: 14, body, peer: None, started_at: SystemTime::now() }
    }

    fn streamed() -> Body {
        Body::stream(Bytes::from_static(b"first "), Full::new(Bytes::from_static(b"rest")))
    }

    fn read(body: Body) -> Bytes {
        body.collect().now_or_never().unwrap().unwrap().to_bytes()
    }

    #[test]
    fn a_whole_body_can_be_sent_twice() {
        let (first, spare) = lend(invocation(Body::whole(Bytes::from_static(b"hello"))));
        assert_eq!(read(first.body), "hello");
        let second = spare.recover().unwrap();
        assert_eq!(
            (second.path(), second.query(), &second.request.headers["x"]),
            ("/a", Some("b"), &"y".parse().unwrap())
        );
        assert_eq!(read(second.body), "hello");
    }

    #[test]
    fn a_streamed_body_comes_back_untouched() {
        let (first, spare) = lend(invocation(streamed()));
        assert_eq!(first.body.size_hint().exact(), Some(10));
        assert!(!first.body.is_end_stream());
        let second = spare.recover().unwrap();
        assert_eq!(read(second.body), "first rest");
        assert!(first.body.collect().now_or_never().unwrap().is_err(), "it was taken back");
    }

    #[test]
    fn a_body_that_was_begun_does_not_come_back() {
        let (mut first, spare) = lend(invocation(streamed()));
        assert!(first.body.frame().now_or_never().unwrap().is_some());
        assert!(spare.recover().is_none());
        assert_eq!(read(first.body), "rest");
    }
}
