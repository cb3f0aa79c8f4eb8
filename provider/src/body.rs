//! Request and response bodies: whole in memory, or a stream.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;

/// Why a body ended early. The detail goes to the log; a peer only sees the connection close.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body, small and whole or streamed.
///
/// The whole form costs no allocation and tells its exact length, so that small invocations stay
/// on the fast path. The streamed form may begin with bytes that were read already.
pub struct Body(Form);

enum Form {
    Whole(Bytes),
    Stream { first: Bytes, rest: UnsyncBoxBody<Bytes, BodyError> },
}

impl Body {
    /// A body of no bytes.
    pub const fn empty() -> Self {
        Self(Form::Whole(Bytes::new()))
    }

    /// A body that is wholly in memory.
    pub const fn whole(bytes: Bytes) -> Self {
        Self(Form::Whole(bytes))
    }

    /// A body that begins with `first` and goes on with `rest`.
    pub fn stream<B>(first: Bytes, rest: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        use http_body_util::BodyExt;
        Self(Form::Stream { first, rest: rest.map_err(Into::into).boxed_unsync() })
    }

    /// The bytes, when all of them are in memory.
    ///
    /// # Errors
    /// The body itself, when it streams.
    pub fn into_whole(self) -> Result<Bytes, Self> {
        match self.0 {
            Form::Whole(bytes) => Ok(bytes),
            Form::Stream { .. } => Err(self),
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let first = match &mut self.0 {
            Form::Whole(bytes) => bytes,
            Form::Stream { first, rest } if first.is_empty() => return Pin::new(rest).poll_frame(cx),
            Form::Stream { first, .. } => first,
        };
        let bytes = std::mem::take(first);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Form::Whole(bytes) => bytes.is_empty(),
            Form::Stream { first, rest } => first.is_empty() && rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let (ready, rest) = match &self.0 {
            Form::Whole(bytes) => (bytes.len() as u64, SizeHint::with_exact(0)),
            Form::Stream { first, rest } => (first.len() as u64, rest.size_hint()),
        };
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(ready));
        }
        hint.set_lower(rest.lower().saturating_add(ready));
        hint
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::whole(bytes)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self.0 {
            Form::Whole(_) => "Whole",
            Form::Stream { .. } => "Stream",
        };
        f.debug_struct("Body").field("form", &form).field("size", &self.size_hint()).finish()
    }
}
