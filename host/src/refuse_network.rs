//! What the HTTP interface asks its host: a component's outgoing requests, of which none are granted, and how
//! much of a response it may be ahead of its client.

use http::{Request, Response};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::output::HIGH_WATER_BYTES;

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

    /// As much at once as a command may write.
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        HIGH_WATER_BYTES
    }
}
