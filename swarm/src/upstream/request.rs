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

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bramble_provider::CallId;
    use bytes::Bytes;

    use super::*;

    fn invocation(uri: &str, headers: &[(&'static str, &'static str)], body: Body) -> Invocation {
        let mut request = Request::post(uri).version(Version::HTTP_10);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (request, ()) = request.body(()).unwrap().into_parts();
        Invocation {
            call_id: CallId::from_random(0),
            request,
            path_offset: "/function/echo".len(),
            body,
            peer: Some(([127, 0, 0, 1], 9).into()),
            started_at: SystemTime::now(),
        }
    }

    fn unknown_length() -> Body {
        let frames = futures_util::stream::empty::<Result<http_body::Frame<Bytes>, std::io::Error>>();
        Body::stream(Bytes::new(), http_body_util::StreamBody::new(frames))
    }

    #[test]
    fn a_function_sees_its_own_path() {
        for (uri, own) in [
            ("/function/echo", "/"),
            ("/function/echo/", "/"),
            ("/function/echo?x=1", "/?x=1"),
            ("/function/echo/a%20b/c?x=1&y", "/a%20b/c?x=1&y"),
            ("/function/echo//a/../b", "//a/../b"),
            ("http://gateway:8080/function/echo/a", "/a"),
        ] {
            let uri_offset = uri.find("/function").unwrap();
            let mut invocation = invocation(uri, &[], Body::empty());
            assert!(uri_offset == 0 || invocation.request.uri.authority().is_some());
            invocation.path_offset = "/function/echo".len();
            let request = request(invocation);
            assert_eq!(request.uri().to_string(), own, "{uri}");
            assert_eq!(request.version(), Version::HTTP_11);
        }
    }

    #[test]
    fn the_platforms_headers_are_added() {
        let sent = [("host", "gateway:8080"), ("x-mine", "1"), ("expect", "100-continue")];
        let request = request(invocation("/function/echo", &sent, Body::empty()));
        let headers = request.headers();
        assert_eq!(headers["x-call-id"], "00000000-0000-4000-8000-000000000000");
        assert_eq!(headers["x-forwarded-for"], "127.0.0.1:9");
        assert_eq!(headers["x-forwarded-host"], "gateway:8080");
        assert_eq!(headers["host"], "gateway:8080");
        assert_eq!(headers["x-mine"], "1");
        assert!(headers.contains_key("x-start-time"));
        assert!(!headers.contains_key("expect"));
        assert_eq!(headers.len(), 6);
    }

    #[test]
    fn the_body_tells_how_it_is_framed() {
        let length = ("content-length", "5");
        let chunked = ("transfer-encoding", "chunked");
        let hello = || Body::whole(Bytes::from_static(b"hello"));
        for (told, body, expected) in [
            (vec![length], hello(), (Some("5"), None)),
            (vec![chunked], hello(), (Some("5"), None)),
            (vec![length], Body::empty(), (Some("0"), None)),
            (vec![], Body::empty(), (None, None)),
            (vec![chunked], unknown_length(), (None, Some("chunked"))),
            (vec![length], unknown_length(), (None, Some("chunked"))),
        ] {
            let request = request(invocation("/function/echo", &told, body));
            let header =
                |name| request.headers().get(name).map(|value: &HeaderValue| value.to_str().unwrap());
            assert_eq!((header("content-length"), header("transfer-encoding")), expected, "{told:?}");
        }
    }
}
