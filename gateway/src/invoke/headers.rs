//! Headers between a client and a function.

use std::io::Write;
use std::time::{Duration, SystemTime};

use bramble_provider::CallId;
use bramble_provider::invoke::{CALL_ID, START_TIME};
use http::header::{CONNECTION, HeaderName, TE, TRAILER, UPGRADE};
use http::{HeaderMap, HeaderValue};

const DURATION: HeaderName = HeaderName::from_static("x-duration-seconds");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Headers about the connection to the client, not about the request (RFC 9110 section 7.6.1).
///
/// `Transfer-Encoding` stays: the classic watchdog shows it to functions, and nothing forwards it.
const HOP_BY_HOP: [HeaderName; 6] = [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRAILER, UPGRADE];

/// The id that the client brought, or a new one.
pub(crate) fn call_id(headers: &HeaderMap) -> CallId {
    let brought = headers.get(CALL_ID).and_then(CallId::from_header);
    brought.unwrap_or_else(|| CallId::from_random(fastrand::u128(..)))
}

/// Takes out what belongs to the connection, with what its `Connection` header names.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if !headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Adds what every response to an invocation carries.
pub(crate) fn answer(headers: &mut HeaderMap, call_id: &CallId, started_at: SystemTime, took: Duration) {
    strip_hop_by_hop(headers);
    headers.insert(CALL_ID, call_id.header().clone());
    let since_1970 = started_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let nanos = u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX);
    // `HeaderValue::from` a number would allocate twice.
    let nanos = HeaderValue::from_str(itoa::Buffer::new().format(nanos));
    headers.insert(START_TIME, nanos.expect("digits are visible ASCII"));
    headers.insert(DURATION, seconds(took));
}

/// Seconds with six decimals, as the original's watchdogs write them.
fn seconds(took: Duration) -> HeaderValue {
    let mut text = [0; 32];
    let mut rest = &mut text[..];
    let written = write!(rest, "{}.{:06}", took.as_secs(), took.subsec_micros());
    let left = rest.len();
    written
        .ok()
        .and_then(|()| HeaderValue::from_bytes(&text[..text.len() - left]).ok())
        .unwrap_or_else(|| HeaderValue::from_static("0.000000"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_out_what_is_about_the_connection() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("connection", "close, X-Private"), ("x-private", "1"), ("te", "trailers"), ("accept", "*/*")]
        {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["accept"]);
    }

    #[test]
    fn writes_seconds_with_six_decimals() {
        assert_eq!(seconds(Duration::from_micros(1_690)), "0.001690");
        assert_eq!(seconds(Duration::from_secs(12)), "12.000000");
    }
}
