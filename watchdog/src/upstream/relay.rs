//! The body of a server's response on its way to the client.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::link::{Link, Links};
use crate::log::log;
use crate::payload::Aborted;

/// Reads a body and drives the connection it comes from, which is kept for the next request.
pub(crate) struct Relay {
    body: Incoming,
    link: Option<Link>,
    links: Arc<Links>,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Relay {
    /// A body that has to end before `deadline`.
    pub(crate) fn new(body: Incoming, link: Link, links: Arc<Links>, deadline: Option<Instant>) -> Self {
        let deadline = deadline.map(|deadline| Box::pin(sleep_until(deadline)));
        Self { body, link: Some(link), links, deadline }
    }

    /// The next piece, as `http_body::Body` has it.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        // Asking tells the connection that there is room; driving it then fetches what is there.
        let mut next = Pin::new(&mut self.body).poll_frame(cx);
        if next.is_pending()
            && let Some(link) = &mut self.link
        {
            link.drive(cx);
            next = Pin::new(&mut self.body).poll_frame(cx);
        }
        match next {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
            Poll::Ready(Some(Err(error))) => {
                log!("Upstream HTTP response error: {error}");
                self.link = None;
                Poll::Ready(Some(Err(Aborted)))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => self.poll_deadline(cx),
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let Some(deadline) = &mut self.deadline else { return Poll::Pending };
        ready!(deadline.as_mut().poll(cx));
        log!("Upstream HTTP response error: it did not end in time");
        self.link = None;
        Poll::Ready(Some(Err(Aborted)))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(link) = self.link.take()
            && self.body.is_end_stream()
        {
            self.links.put(link);
        }
    }
}
