//! A request's body on its way to a function: small ones whole, large ones as they arrive.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bramble_provider::{Body, BodyError};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

use crate::error::GatewayError;
use crate::serve::lingering::Lingering;

/// Bodies up to here are taken whole before a slot is, so a slow sender of a small body holds none.
const WHOLE_BYTES: u64 = 64 << 10;
/// How long that may take; after it the function reads the rest as it arrives.
const PATIENCE: Duration = Duration::from_millis(100);

/// A body that has begun to arrive.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) body: Body,
    /// What becomes of the rest; `None` when all of it is there.
    pub(super) rest: Option<Rest>,
}

/// What became of a body that a function reads as it arrives.
#[derive(Debug, Clone, Default)]
pub(super) struct Rest(Arc<AtomicU8>);

/// Why the rest of a body does not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Broken {
    /// It went over the limit.
    TooLarge = 1,
    /// The client went away, or sent what is no body.
    ClientGone = 2,
    /// The step of a chain that makes it failed.
    StepBroke = 3,
}

impl Broken {
    /// What the client is told, and what the invocation is counted as.
    pub(super) fn error(self, limit_bytes: u64) -> GatewayError {
        match self {
            Self::TooLarge => GatewayError::BodyTooLarge { limit_bytes },
            Self::ClientGone => GatewayError::BodyCut("the client went away".to_owned()),
            Self::StepBroke => GatewayError::StepBroke,
        }
    }
}

impl Rest {
    /// `first`, and then `body` as it arrives, up to `limit_bytes` of it; `broken` is what an error of it means.
    pub(super) fn of<B>(first: Bytes, body: B, limit_bytes: u64, broken: Broken) -> (Body, Self)
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BodyError>,
    {
        let rest = Self::default();
        let body = LimitedBody { body, left: limit_bytes, rest: rest.clone(), broken };
        (Body::stream(first, body), rest)
    }

    /// Why it does not come, once that is known.
    pub(super) fn broken(&self) -> Option<Broken> {
        let found = self.0.load(Ordering::Relaxed);
        [Broken::TooLarge, Broken::ClientGone, Broken::StepBroke]
            .into_iter()
            .find(|broken| *broken as u8 == found)
    }

    pub(super) fn set(&self, broken: Broken) {
        self.0.store(broken as u8, Ordering::Relaxed);
    }
}

impl Arrived {
    /// Takes a small body whole, and begins to stream any other.
    ///
    /// # Errors
    /// [`GatewayError::BodyTooLarge`] when the announced length is over the limit, and
    /// [`GatewayError::BodyCut`] when the client went away.
    pub(super) async fn gather(mut incoming: Lingering, limit_bytes: u64) -> Result<Self, GatewayError> {
        let whole = |bytes| Ok(Self { body: Body::whole(bytes), rest: None });
        if incoming.is_end_stream() {
            return whole(Bytes::new());
        }
        let Some(length) = incoming.size_hint().exact() else {
            return Ok(Self::streamed(Bytes::new(), incoming, limit_bytes));
        };
        if length > limit_bytes {
            return Err(GatewayError::BodyTooLarge { limit_bytes });
        }
        if length > WHOLE_BYTES {
            return Ok(Self::streamed(Bytes::new(), incoming, length));
        }
        // Nearly always the first frame is all of it, and came with the head.
        let first = next_data(&mut incoming).now_or_never().transpose()?.unwrap_or_default();
        if first.len() as u64 == length {
            return whole(first);
        }
        // Boxed, so that the usual case does not carry the room for this one.
        Box::pin(Self::gather_rest(first, length, incoming)).await
    }

    async fn gather_rest(first: Bytes, length: u64, mut incoming: Lingering) -> Result<Self, GatewayError> {
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
            Ok(done) => done.map(|()| Self { body: Body::whole(gathered.freeze()), rest: None }),
            Err(_) => Ok(Self::streamed(gathered.freeze(), incoming, length)),
        }
    }

    fn streamed(first: Bytes, incoming: Lingering, limit_bytes: u64) -> Self {
        let (body, rest) = Rest::of(first, incoming, limit_bytes, Broken::ClientGone);
        Self { body, rest: Some(rest) }
    }
}

/// The next bytes; empty at the end.
async fn next_data(incoming: &mut Lingering) -> Result<Bytes, GatewayError> {
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

/// A body that may not go over a limit, and tells when it breaks off.
struct LimitedBody<B> {
    body: B,
    left: u64,
    rest: Rest,
    /// What an error of `body` means.
    broken: Broken,
}

impl<B> HttpBody for LimitedBody<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => {
                self.rest.set(self.broken);
                return Poll::Ready(Some(Err(error.into())));
            }
            Some(Ok(frame)) => frame,
        };
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        match self.left.checked_sub(length) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            None => {
                self.rest.set(Broken::TooLarge);
                Poll::Ready(Some(Err("the body is larger than the limit".into())))
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
