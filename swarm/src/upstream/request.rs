//! What a replica is sent for an invocation.

use bramble_provider::{Body, Invocation};
use http::header::{CONTENT_LENGTH, EXPECT, Entry, HOST, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{Extensions, HeaderMap, HeaderValue, Request, Uri, Version};
use http_body::Body as HttpBody;

/// Turns an invocation into the request for a replica.
///
/// The method and the client's headers stay, the path is what follows the function's name, and the
/// platform's headers are added. How the body is framed follows from the body alone.
pub(crate) fn request(invocation: Invocation) -> Request<Body> {
    let uri = uri(&invocation);
    let added: [_; 4] = {
        let mut added = invocation.added_headers();
        std::array::from_fn(|_| added.next())
    };
    let Invocation { request: mut head, body, .. } = invocation;
    for (name, value) in added.into_iter().flatten() {
        head.headers.insert(name, value);
    }
    frame(&mut head.headers, &body);
    // The body is sent without waiting to be asked for.
    head.headers.remove(EXPECT);
    if let Entry::Vacant(host) = head.headers.entry(HOST) {
        // A client of HTTP/1.0 need not name one, a server of HTTP/1.1 wants to be told so.
        host.insert(HeaderValue::from_static(""));
    }
    head.uri = uri;
    head.version = Version::HTTP_11;
    // What is about the client's connection is of no use on this one.
    head.extensions = Extensions::new();
    Request::from_parts(head, body)
}

/// The function's own path and the query, without an allocation for the usual `/`.
fn uri(invocation: &Invocation) -> Uri {
    let own = match (invocation.path(), invocation.query()) {
        ("/", None) => return Uri::from_static("/"),
        (path, None) => PathAndQuery::try_from(path),
        (path, Some(query)) => PathAndQuery::try_from(format!("{path}?{query}")),
    };
    // Both came out of a valid URI.
    own.map(Uri::from).unwrap_or_default()
}

/// Makes the headers tell the length of the body as it is now, not as the client sent it.
fn frame(headers: &mut HeaderMap, body: &Body) {
    let Some(length) = body.size_hint().exact() else {
        headers.remove(CONTENT_LENGTH);
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        return;
    };
    headers.remove(TRANSFER_ENCODING);
    // No header at all says that there is no body.
    let told = headers.get(CONTENT_LENGTH).map_or(Some(0), |told| told.to_str().ok()?.parse().ok());
    if told != Some(length) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}
