//! Why a handler has no response.

use std::borrow::Cow;
use std::fmt;

use crate::Response;

/// A failure: a status and a message for the caller, and a detail for the log.
///
/// `?` makes one of every [`std::error::Error`]: status 500, a message that tells the caller nothing,
/// and the error with its sources as the detail.
///
/// ```
/// # use bramble_sdk::{Error, Request};
/// fn double(mut request: Request) -> Result<String, Error> {
///     let text = request.text()?;
///     let number: i64 = text.trim().parse().map_err(|error| Error::bad_request("no number").because(error))?;
///     Ok((2 * number).to_string())
/// }
/// assert_eq!(double(Request::new("POST", "/").with_body("x")).unwrap_err().status(), 400);
/// ```
pub struct Error {
    status: u16,
    message: Cow<'static, str>,
    detail: Option<String>,
}

impl Error {
    /// A failure with this status and this message, which the caller gets to read.
    pub fn new(status: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, message: message.into(), detail: None }
    }

    /// Status 400: the request is wrong, and the message says how.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, message)
    }

    /// Status 404: there is no such thing, and the message says what.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(404, message)
    }

    /// Status 500, with a detail that only the log gets.
    pub fn internal(detail: impl fmt::Display) -> Self {
        Self::new(500, "the function failed").because(detail)
    }

    /// Adds what only the log gets, after what was added before.
    #[must_use]
    pub fn because(mut self, detail: impl fmt::Display) -> Self {
        self.detail = Some(match self.detail {
            Some(earlier) => format!("{earlier}: {detail}"),
            None => detail.to_string(),
        });
        self
    }

    /// The status that the caller gets.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The response that the caller gets: the message as a line of text.
    pub fn into_response(self) -> Response {
        let mut message = self.message.into_owned();
        message.push('\n');
        Response::text(message).with_status(self.status)
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut failure = Self::internal(&error);
        let mut source = error.source();
        while let Some(cause) = source {
            failure = failure.because(cause);
            source = cause.source();
        }
        failure
    }
}

/// What the caller may read.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What the log gets: status, message and detail.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status, self.message)?;
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errors_sources_are_for_the_log_only() {
        #[derive(Debug)]
        struct Outer(std::num::ParseIntError);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("price of item 7")
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }

        let error = Error::from(Outer("x".parse::<u8>().unwrap_err()));
        assert_eq!(error.status(), 500);
        assert_eq!(error.to_string(), "the function failed");
        let logged = format!("{error:?}");
        assert_eq!(logged, "500: the function failed: price of item 7: invalid digit found in string");
        assert_eq!(error.into_response().into_bytes().unwrap(), b"the function failed\n");
    }
}
