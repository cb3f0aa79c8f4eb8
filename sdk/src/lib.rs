//! Write a Bramble function in Rust once; build it for wasm or for a container.
//!
//! A function is one handler, given to [`serve`] by `main`:
//!
//! ```
//! use std::process::ExitCode;
//! use bramble_sdk::{Error, Request, Response, serve};
//!
//! fn hello(request: Request) -> Result<Response, Error> {
//!     let name = request.query("name").unwrap_or_else(|| "world".to_owned());
//!     Ok(Response::text(format!("Hello, {name}!\n")))
//! }
//!
//! fn main() -> ExitCode {
//!     serve(hello)
//! }
//! ```
//!
//! Build it with `--target wasm32-wasip1` and the gateway runs it in its own process; build it for the
//! machine and `fwatchdog` runs it in a container. A handler is tested with a [`Request`] made by hand:
//!
//! ```
//! # use bramble_sdk::{Error, Request, Response};
//! # fn hello(request: Request) -> Result<Response, Error> {
//! #     Ok(Response::text(format!("Hello, {}!\n", request.query("name").unwrap_or_default())))
//! # }
//! let response = hello(Request::new("GET", "/?name=Ada"))?;
//! assert_eq!(response.into_bytes()?, b"Hello, Ada!\n");
//! # Ok::<(), Error>(())
//! ```
//!
//! # Status and headers
//! A function's output is its response's body, and nothing else, unless it is deployed with the
//! annotation `bramble.output: cgi`. Then the platform sets the variable `BRAMBLE_OUTPUT` to `cgi`, and
//! the output begins with the status and the headers, as CGI has it (RFC 3875, section 6). A handler is
//! the same for both. What a plain output cannot say is said otherwise or lost:
//!
//! | response | `BRAMBLE_OUTPUT=cgi` | else |
//! | --- | --- | --- |
//! | status 2xx | sent, exit code 0 | exit code 0, so the caller gets 200 |
//! | another status | sent, exit code 0 | named on stderr, exit code 1, so the caller gets 500 |
//! | headers | sent | lost; the function's `content_type` setting gives the type |
//! | body | sent | sent |
//!
//! # What it costs
//! Nothing is read until it is asked for. A handler that only writes makes three calls of the host: two
//! for the environment and one for the output. The body is read into one buffer of the right size.

#![forbid(unsafe_code)]

mod body;
mod environment;
mod error;
mod output;
mod query;
mod request;
mod response;

pub use body::RequestBody;
pub use error::Error;
pub use request::Request;
pub use response::Response;
pub use serve::serve;

mod serve;
mod stdio;
