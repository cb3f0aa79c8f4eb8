//! A component's outgoing requests: none are granted.

use http::{Request, Response};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// Refuses every outgoing request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefuseNetwork;

type Sending = dyn Future<Output = Result<(), Error>> + Send;
type Answer = dyn Future<Output = Result<(Response<WasiBody>, Box<Sending>), Error>> + Send;

impl WasiHttpHooks for RefuseNetwork {
    fn send_request(
        &mut self,
        _: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<Sending>,
    ) -> Box<Answer> {
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }
}
