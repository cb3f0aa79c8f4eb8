//! From a handler to an exit code.

use std::process::ExitCode;

use crate::{Error, Request, Response, output};

/// Answers the one request that this process was started for.
///
/// Calls `handler` once, writes what it gives, and returns the exit code for `main` to return. An
/// [`Error`] is written as the response of its status and message, and its detail goes to stderr. See
/// the [crate's documentation](crate) for how status and headers reach the caller.
///
/// A panic is not caught: the caller gets 500, and the message is in the function's log.
#[must_use = "`main` has to return it: else a failure looks like a success"]
pub fn serve<R: Into<Response>>(handler: impl FnOnce(Request) -> Result<R, Error>) -> ExitCode {
    let response = match handler(Request::of_this_process()) {
        Ok(response) => response.into(),
        Err(error) => {
            output::log(&format!("{error:?}"));
            error.into_response()
        }
    };
    let form = output::Form::of_this_process();
    match output::write(response, form, &mut output::Stdout) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            output::log(&format!("the response could not be written: {error}"));
            ExitCode::FAILURE
        }
    }
}
