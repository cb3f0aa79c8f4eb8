//! A request's body on its way to a function: small ones whole, large ones as they arrive.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bramble_provider::{Body, BodyError};
use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::error::GatewayError;

/// Bodies up to here are taken whole before a slot is, so a slow sender of a small body holds none.
const WHOLE_BYTES: u64 = 64 << 10;
/// How long that may take; after it the function reads the rest as it arrives.
const PATIENCE: Duration = Duration::from_millis(100);

/// A body that has begun to arrive.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) body: Body,
    /// Tells afterwards whether the body went over the limit; `None` when its length was known.
    pub(super) refused: Option<Refused>,
}

/// Whether a body of unknown length turned out too large.
#[derive(Debug, Clone, Default)]
pub(super) struct Refused(Arc<AtomicBool>);

impl Refused {
    pub(super) fn happened(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Arrived {
    /// Takes a small body whole, and begins to stream any other.
    ///
    /// # Errors
    /// [`GatewayError::BodyTooLarge`] when the announced length is over the limit, and
    /// [`GatewayError::BodyCut`] when the client went away.
    pub(super) async fn gather(mut incoming: Incoming, limit_bytes: u64) -> Result<Self, GatewayError> {
        let whole = |bytes| Ok(Self { body: Body::whole(bytes), refused: None });
        if incoming.is_end_stream() {
            return whole(Bytes::new());
        }
        let Some(length) = incoming.size_hint().exact() else {
            return Ok(Self::limited(incoming, limit_bytes));
        };
        if length > limit_bytes {
            return Err(GatewayError::BodyTooLarge { limit_bytes });
        }
        if length > WHOLE_BYTES {
            return Ok(Self { body: Body::stream(Bytes::new(), incoming), refused: None });
        }
        // Nearly always the first frame is all of it, and came with the head.
        let first = next_data(&mut incoming).await?;
        if first.len() as u64 == length {
            return whole(first);
        }
        let mut gathered = BytesMut::with_capacity(usize::try_from(length).unwrap_or_default());
        gathered.extend_from_slice(&first);
        let rest = async {
            while (gathered.len() as u64) < length {
                let data = next_data(&mut incoming).await?;
                if data.is_empty() {
                    break;
                }
                gathered.extend_from_slice(&data);
            }
            Ok::<_, GatewayError>(())
        };
        match tokio::time::timeout(PATIENCE, rest).await {
            Ok(done) => done.and_then(|()| whole(gathered.freeze())),
            Err(_) => Ok(Self { body: Body::stream(gathered.freeze(), incoming), refused: None }),
        }
    }

    fn limited(incoming: Incoming, limit_bytes: u64) -> Self {
        let refused = Refused::default();
        let body = LimitedBody { incoming, left: limit_bytes, refused: refused.clone() };
        Self { body: Body::stream(Bytes::new(), body), refused: Some(refused) }
    }
}

/// The next bytes; empty at the end.
async fn next_data(incoming: &mut Incoming) -> Result<Bytes, GatewayError> {
    loop {
        match incoming.frame().await {
            None => return Ok(Bytes::new()),
            Some(Err(error)) => return Err(GatewayError::BodyCut(error.to_string())),
            // Trailers are of no use to a function.
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Ok(data),
                Err(_) => {}
            },
        }
    }
}

/// A body of unknown length that may not go over the limit.
struct LimitedBody {
    incoming: Incoming,
    left: u64,
    refused: Refused,
}

impl HttpBody for LimitedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match std::task::ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            Some(Ok(frame)) => frame,
        };
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        match self.left.checked_sub(length) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            None => {
                self.refused.0.store(true, Ordering::Relaxed);
                Poll::Ready(Some(Err("the body is larger than the limit".into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
