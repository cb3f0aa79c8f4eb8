//! The answer of an asynchronous invocation, sent to where its caller wants it.

mod tls;

use std::path::Path;
use std::time::Duration;

use bramble_provider::FunctionName;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderName, TRANSFER_ENCODING, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use self::tls::Trust;
use super::call::Call;
use crate::invoke::headers;
use crate::invoke::internal::Ended;

/// Longest until a host is connected, from looking it up to the end of the handshake.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// The waits between tries: there is one try more.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// Most that is read of an answer, which is for nobody.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Most of a function's answer that is sent on; of a longer one only the headers are.
pub(super) const MAX_BODY_BYTES: usize = 1 << 20;

const FUNCTION_NAME: HeaderName = HeaderName::from_static("x-function-name");
const FUNCTION_STATUS: HeaderName = HeaderName::from_static("x-function-status");
const RETRY: HeaderName = HeaderName::from_static("x-retry");
const TOO_LARGE: HeaderName = HeaderName::from_static("x-function-body-too-large");

/// Where an answer is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallbackUrl {
    host: String,
    port: u16,
    /// Whom the certificate must be for, where it is over TLS.
    tls: Option<ServerName<'static>>,
    authority: String,
    path: String,
}

impl CallbackUrl {
    /// The host and the port.
    pub(super) fn place(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Reads `http://host[:port][/path][?query]`, or the same with `https`.
    ///
    /// # Errors
    /// What is wrong with it, to be put behind it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const MALFORMED: &str = "is no URL such as http://127.0.0.1:8080/done";
        let uri: Uri = text.parse().map_err(|_| MALFORMED)?;
        let over_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(MALFORMED),
        };
        let authority = uri.authority().ok_or(MALFORMED)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(MALFORMED);
        }
        // `Uri` takes a port that is no number for none.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") if over_tls => 443,
            Some("") => 80,
            _ => authority.port_u16().ok_or(MALFORMED)?,
        };
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let tls = over_tls.then(|| ServerName::try_from(host.clone())).transpose();
        Ok(Self {
            host,
            port,
            tls: tls.map_err(|_| "names a host that no certificate can be for")?,
            authority: authority.to_string(),
            path: match uri.path_and_query().map_or("", |path| path.as_str()) {
                path if path.starts_with('/') => path.to_owned(),
                query => format!("/{query}"),
            },
        })
    }
}

/// What is sent.
#[derive(Debug)]
pub(super) struct Message {
    headers: HeaderMap,
    body: Bytes,
}

impl Message {
    /// The answer of a function, with its headers and ours.
    pub(super) fn of(function: &FunctionName, ended: Ended) -> Self {
        let Ended { status, mut headers, body } = ended;
        for name in [TRANSFER_ENCODING, HOST, RETRY] {
            headers.remove(name);
        }
        if let Ok(name) = HeaderValue::from_str(function.as_str()) {
            headers.insert(FUNCTION_NAME, name);
        }
        headers.insert(FUNCTION_STATUS, HeaderValue::from(status.as_u16()));
        if body.is_none() {
            headers.insert(TOO_LARGE, HeaderValue::from_static("true"));
        }
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("bramble-gateway/", env!("CARGO_PKG_VERSION"))),
        );
        let body = body.unwrap_or_default();
        // Hyper says nothing of an empty body, and some servers want a length with every POST.
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        Self { headers, body }
    }
}

impl Message {
    /// That a call did not run: as the original has it where it does not reach the function.
    pub(super) fn of_unrun(call: &Call) -> Self {
        let mut headers = HeaderMap::new();
        headers::answer(&mut headers, &call.call_id(), call.accepted_at(), Duration::ZERO);
        let ended = Ended { status: StatusCode::SERVICE_UNAVAILABLE, headers, body: Some(Bytes::new()) };
        Self::of(&call.function, ended)
    }
}

/// Sends messages.
#[derive(Debug)]
pub(super) struct Callbacks {
    trust: Trust,
    /// Longest that one try may take, to the end of its answer.
    try_limit: Duration,
    waits: [Duration; 2],
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Callbacks {
    /// Trusts the certificate authorities in the file too. A try may take so long, and always some time. Blocking.
    ///
    /// # Errors
    /// A text that names the setting, the file and what is wrong with it.
    pub(super) fn new(authorities: Option<&Path>, limit: Duration) -> anyhow::Result<Self> {
        Ok(Self { trust: Trust::with(authorities)?, try_limit: limit.max(CONNECT_LIMIT), waits: WAITS })
    }

    /// Sends a message until somebody takes it, a few times.
    ///
    /// # Errors
    /// What the last try met, in words.
    pub(super) async fn deliver(&self, url: &CallbackUrl, message: &Message) -> Result<(), String> {
        let mut waits = self.waits.into_iter();
        for tries in 0_u32.. {
            let outcome = match timeout(self.try_limit, self.attempt(url, message, tries)).await {
                Ok(outcome) => outcome,
                Err(_) => Err((format!("no answer within {:?}", self.try_limit), true)),
            };
            match outcome {
                Ok(()) => return Ok(()),
                Err((reason, again)) => match waits.next().filter(|_| again) {
                    Some(wait) => sleep(wait).await,
                    None => return Err(format!("the callback to {} failed: {reason}", url.authority)),
                },
            }
        }
        unreachable!("the waits come to an end")
    }

    /// One try, after so many others; an error says whether another one may do better.
    async fn attempt(&self, url: &CallbackUrl, message: &Message, tries: u32) -> Result<(), (String, bool)> {
        let failed = |error: &dyn std::error::Error| (crate::error::innermost(error), true);
        let connected = timeout(CONNECT_LIMIT, self.connect(url)).await;
        let connected = connected.unwrap_or_else(|_| Err(format!("no connection within {CONNECT_LIMIT:?}")));
        let stream = connected.map_err(|reason| (reason, true))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| failed(&error))?;
        let _connection = Connection(tokio::spawn(connection));
        let mut request = Request::post(&url.path)
            .header(HOST, &url.authority)
            .body(Full::new(message.body.clone()))
            .map_err(|error| (error.to_string(), false))?;
        request.headers_mut().extend(message.headers.clone());
        if tries > 0 {
            // The one before may have been read, and only its answer not.
            request.headers_mut().insert(RETRY, HeaderValue::from(tries));
        }
        let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
        let status = response.status();
        // Read on, so that the other side does not see its answer refused. What it says is for nobody.
        let _read = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await.is_ok();
        match status {
            _ if status.is_success() || status.is_redirection() => Ok(()),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                Err((format!("it answered {status}"), true))
            }
            _ => Err((format!("it answered {status}"), status.is_server_error())),
        }
    }

    async fn connect(&self, url: &CallbackUrl) -> Result<Box<dyn Stream>, String> {
        let stream = TcpStream::connect((url.host.as_str(), url.port)).await;
        let stream = stream.map_err(|error| crate::error::innermost(&error))?;
        let Some(name) = &url.tls else { return Ok(Box::new(stream)) };
        let connector = TlsConnector::from(self.trust.config().await?);
        match connector.connect(name.clone(), stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(format!("no TLS with it: {}", crate::error::innermost(&error))),
        }
    }
}

/// The task that moves a connection's bytes; it ends with the try.
struct Connection(tokio::task::JoinHandle<Result<(), hyper::Error>>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_urls_with_a_path_and_a_query() {
        let url = CallbackUrl::parse("http://127.0.0.1:8080/function/next?a=b").unwrap();
        assert_eq!(
            (url.host.as_str(), url.port, url.path.as_str()),
            ("127.0.0.1", 8080, "/function/next?a=b")
        );
        assert_eq!(CallbackUrl::parse("http://a?b").unwrap().path, "/?b");
        let url = CallbackUrl::parse("http://[::1]").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("::1", 80, "/"));
    }

    #[test]
    fn refuses_what_it_cannot_reach() {
        for text in ["", "next", "/next", "ftp://a", "http://", "http://a:b@c", "http://a:x", "http://a b"] {
            assert!(CallbackUrl::parse(text).is_err(), "{text:?}");
        }
        assert!(CallbackUrl::parse("https://a!/").is_err());
    }

    #[test]
    fn reads_urls_over_tls() {
        let url = CallbackUrl::parse("https://example.com/done").unwrap();
        assert_eq!((url.port, url.tls), (443, Some(ServerName::try_from("example.com").unwrap())));
        let url = CallbackUrl::parse("https://[::1]:8443").unwrap();
        assert_eq!((url.port, url.tls), (8443, Some(ServerName::try_from("::1").unwrap())));
        assert_eq!(CallbackUrl::parse("http://example.com").unwrap().tls, None);
    }

    #[test]
    fn a_try_may_take_as_long_as_a_function() {
        let limit = |seconds| Callbacks::new(None, Duration::from_secs(seconds)).unwrap().try_limit.as_secs();
        assert_eq!((limit(1), limit(300)), (10, 300));
    }

    #[tokio::test]
    async fn a_host_that_never_answers_is_given_up_after_its_tries() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        let callbacks = Callbacks {
            try_limit: Duration::from_millis(20),
            waits: [Duration::ZERO; 2],
            ..Callbacks::new(None, Duration::ZERO).unwrap()
        };
        let message = Message { headers: HeaderMap::new(), body: Bytes::new() };
        let url = CallbackUrl::parse(&format!("http://{address}/")).unwrap();
        let reason = callbacks.deliver(&url, &message).await.unwrap_err();
        assert_eq!(reason, format!("the callback to {address} failed: no answer within 20ms"));
        for tries in 0..3 {
            let (mut stream, _) = silent.accept().await.unwrap();
            let mut sent = String::new();
            tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut sent).await.unwrap();
            let retry = sent.lines().find_map(|line| line.strip_prefix("x-retry: "));
            assert_eq!(retry.map_or(0, |text| text.parse().unwrap()), tries, "{sent}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}", tail in "[ -~]{0,40}") {
            let _either = CallbackUrl::parse(&text);
            if let Ok(url) = CallbackUrl::parse(&format!("http://{tail}")) {
                prop_assert!(!url.host.is_empty() && url.path.starts_with('/'));
            }
        }
    }
}
