//! A `wasi:http/proxy` component: no stdin, no environment, the function answers HTTP itself.
//!
//! `GET` is greeted with what was asked for; the body of anything else comes back as it was sent.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, OutputStream, ResponseOutparam,
};
use wasip2::io::streams::StreamError;

wasip2::http::proxy::export!(HttpHello);

struct HttpHello;

/// The most that `blocking-write-and-flush` takes at once, by its definition.
const WRITE_MAX_BYTES: usize = 4096;

impl Guest for HttpHello {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let content_type = match request.method() {
            Method::Get => "text/plain; charset=utf-8".to_owned(),
            _ => header(&request, "content-type").unwrap_or_else(|| "application/octet-stream".to_owned()),
        };
        let headers = Fields::new();
        // The host refuses only names that are no header names, and values that are no values.
        let _ = headers.set("content-type", &[content_type.into_bytes()]);
        let response = OutgoingResponse::new(headers);
        let body = response.body().expect("the body is asked for once");
        ResponseOutparam::set(answer, Ok(response));

        let output = body.write().expect("the stream is asked for once");
        let written = match request.method() {
            Method::Get => greet(&request, &output),
            _ => send_back(&request, &output),
        };
        drop(output);
        // Without the end, the host knows that the body was cut short.
        if written.is_ok() {
            let _ = OutgoingBody::finish(body, None);
        }
    }
}

fn header(request: &IncomingRequest, name: &str) -> Option<String> {
    let value = request.headers().get(name).into_iter().next()?;
    String::from_utf8(value).ok()
}

fn greet(request: &IncomingRequest, output: &OutputStream) -> Result<(), StreamError> {
    let target = request.path_with_query().unwrap_or_else(|| "/".to_owned());
    let greeting = format!("Hello from wasi:http, you asked for {target}\n");
    greeting.as_bytes().chunks(WRITE_MAX_BYTES).try_for_each(|piece| output.blocking_write_and_flush(piece))
}

fn send_back(request: &IncomingRequest, output: &OutputStream) -> Result<(), StreamError> {
    let body = request.consume().expect("the body is taken once");
    let input = body.stream().expect("the stream is asked for once");
    loop {
        match output.blocking_splice(&input, 64 << 10) {
            Ok(_) => {}
            Err(StreamError::Closed) => return output.blocking_flush(),
            Err(error) => return Err(error),
        }
    }
}
