//! HTTP to the gateway, and to where files are fetched from: one request, one connection, both directions at once.
//!
//! A client that first sends the whole request and then reads the response would stand still with
//! a function that answers while it reads: `bramble invoke cat < big.file` fills every buffer on
//! the way back. Hyper reads while it writes.

pub(crate) mod body;
pub(crate) mod tls;

use std::io;
use std::time::Duration;

use bramble_provider::HttpUrl;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::error::{CliError, Exit};
use crate::logins::Shown;
pub(crate) use body::RequestBody;
pub(crate) use tls::Trust;

/// Longest wait for a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Longest wait for the answer to a question that the gateway answers from memory.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Largest answer that is held in memory: the list of ten thousand functions is 5 MB.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// What is sent as `User-Agent`.
const USER_AGENT: &str = concat!("bramble/", env!("CARGO_PKG_VERSION"));

/// Speaks to one gateway, or to another server.
#[derive(Clone)]
pub(crate) struct Client {
    url: HttpUrl,
    server: Server,
    /// What is shown to the API; never to a function, which would learn it.
    login: Option<Shown>,
    tls: Option<TlsConnector>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What a client speaks to, for what it says when that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    Gateway,
    Other,
}

/// A connection, in the clear or over TLS.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its body.
    pub(crate) body: Bytes,
    /// What a gateway's API was shown.
    pub(crate) shown: Option<Shown>,
}

impl Client {
    /// A client of this gateway, over TLS when its URL says so. Nothing is sent yet.
    ///
    /// # Errors
    /// [`CliError`] when the authorities that are trusted cannot be read.
    pub(crate) fn trusting(url: HttpUrl, trust: &Trust) -> Result<Self, CliError> {
        let tls = if url.is_tls() { Some(tls::connector(trust)?) } else { None };
        Ok(Self { url, server: Server::Gateway, login: None, tls })
    }

    /// A client of a server that is no gateway, with a certificate of the authorities that this machine knows.
    ///
    /// # Errors
    /// As [`Self::trusting`].
    pub(crate) fn elsewhere(url: HttpUrl) -> Result<Self, CliError> {
        Ok(Self { server: Server::Other, ..Self::trusting(url, &Trust::System)? })
    }

    /// The same, showing these credentials to the gateway's API.
    pub(crate) fn logged_in(self, login: Option<Shown>) -> Self {
        Self { login, ..self }
    }

    /// What the gateway's API is shown.
    pub(crate) fn shown(&self) -> Option<&Shown> {
        self.login.as_ref()
    }

    /// The gateway.
    pub(crate) fn url(&self) -> &HttpUrl {
        &self.url
    }

    /// Starts a request for a path of the gateway (and a query, encoded), such as `/healthz`.
    pub(crate) fn request(&self, method: Method, path_and_query: &str) -> http::request::Builder {
        let request = Request::builder()
            .method(method)
            .uri(self.url.path(path_and_query))
            .header(header::HOST, self.url.authority())
            .header(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        match &self.login {
            Some(login) if path_and_query.starts_with("/system/") => {
                request.header(header::AUTHORIZATION, &login.header)
            }
            _ => request,
        }
    }

    /// Sends a request and waits for the head of its response, as long as `limit` says.
    ///
    /// The connection lives as long as the response; dropping that, or this future, closes it,
    /// which cancels the invocation.
    ///
    /// # Errors
    /// [`CliError`] of kind [`Exit::Unreachable`] when there is no connection or it breaks, of kind
    /// [`Exit::Failed`] when time is up, and before anything is sent when it would show an expired token.
    pub(crate) async fn send(
        &self,
        request: Request<RequestBody>,
        limit: Option<Duration>,
    ) -> Result<Response<Incoming>, CliError> {
        let shown = request.headers().get(header::AUTHORIZATION);
        if let Some(login) = self.login.as_ref().filter(|login| shown == Some(&login.header)) {
            login.check(&self.url, Timestamp::now())?;
        }
        let stream = self.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(&error))?;
        tokio::spawn(connection);
        let response = sender.send_request(request);
        let response = match limit {
            None => response.await,
            Some(limit) => timeout(limit, response)
                .await
                .map_err(|_| CliError::failed(format!("{} did not answer within {limit:?}", self.named())))?,
        };
        response.map_err(|error| self.broken(&error))
    }

    /// Sends a request and reads the whole answer, within `limit`.
    ///
    /// # Errors
    /// As [`Self::send`]. A status that is no success is an answer, not an error.
    pub(crate) async fn ask(
        &self,
        request: Request<RequestBody>,
        limit: Duration,
    ) -> Result<Answer, CliError> {
        let answer = async {
            let response = self.send(request, None).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| self.broken(&*error))?.to_bytes();
            Ok(Answer { status, body, shown: self.login.clone() })
        };
        timeout(limit, answer).await.unwrap_or_else(|_| {
            Err(CliError::failed(format!("{} did not answer within {limit:?}", self.named())))
        })
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, CliError> {
        let stream = self.reach().await?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(self.url.host().to_owned());
        let name = name.map_err(|_| {
            CliError::usage(format!("{:?} is no name that a certificate can be for", self.url.host()))
        })?;
        match timeout(CONNECT_LIMIT, tls.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(self.untrusted(&error)),
            Err(_) => Err(self.unreachable(&io::Error::from(io::ErrorKind::TimedOut))),
        }
    }

    async fn reach(&self) -> Result<TcpStream, CliError> {
        let address = (self.url.host(), self.url.port());
        let stream = match timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.unreachable(&error)),
            Err(_) => return Err(self.unreachable(&io::Error::from(io::ErrorKind::TimedOut))),
        };
        stream.set_nodelay(true).map_err(|error| self.unreachable(&error))?;
        Ok(stream)
    }

    fn unreachable(&self, error: &io::Error) -> CliError {
        let message = format!("cannot reach {}: {error}", self.named());
        CliError::new(Exit::Unreachable, message).hint(
            "is the gateway running? start it with `bramble up`, or name another one with --gateway \
             or OPENFAAS_URL",
        )
    }

    fn untrusted(&self, error: &io::Error) -> CliError {
        let message = format!("no TLS with {}: {error}", self.named());
        CliError::new(Exit::Unreachable, message).hint(
            "name the authority of its certificate with --tls-ca FILE; --tls-no-verify takes any certificate, \
             also that of somebody in between",
        )
    }

    fn broken(&self, error: &dyn std::error::Error) -> CliError {
        // Hyper's own text says little; what the socket said is at the end of the chain.
        let mut cause = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        CliError::new(Exit::Unreachable, format!("the connection to {} broke: {cause}", self.named()))
    }

    fn named(&self) -> String {
        match self.server {
            Server::Gateway => format!("the gateway at {}", self.url),
            Server::Other => self.url.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::service::service_fn;
    use std::convert::Infallible;
    use tokio::net::TcpListener;

    /// A server on port 0 that sends every request's body back while it comes in.
    async fn echo() -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/base/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = service_fn(|request: Request<Incoming>| async move {
                    let path = request.uri().to_string();
                    Ok::<_, Infallible>(
                        Response::builder().header("x-path", path).body(request.into_body()).unwrap(),
                    )
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Client::trusting(url.parse().unwrap(), &Trust::System).unwrap()
    }

    #[tokio::test]
    async fn asks_below_the_base_path() {
        let client = echo().await;
        let request = client.request(Method::POST, "/function/x?a=b").body(RequestBody::full("hi")).unwrap();
        let response = client.send(request, Some(ANSWER_LIMIT)).await.unwrap();
        assert_eq!(response.headers()["x-path"], "/base/function/x?a=b");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hi");
    }

    /// More than all buffers between the two can hold.
    #[tokio::test]
    async fn reads_the_response_while_it_sends_the_request() {
        const CHUNKS: usize = 512;
        let client = echo().await;
        let (sender, body) = RequestBody::channel(None);
        let chunk = Bytes::from(vec![7; 64 << 10]);
        let sending = tokio::spawn(async move {
            for _ in 0..CHUNKS {
                sender.send(Ok(chunk.clone())).await.unwrap();
            }
        });
        let request = client.request(Method::POST, "/").body(body).unwrap();
        let mut body = client.send(request, None).await.unwrap().into_body();
        let mut received = 0;
        while let Some(frame) = body.frame().await {
            received += frame.unwrap().into_data().unwrap().len();
        }
        sending.await.unwrap();
        assert_eq!(received, CHUNKS * (64 << 10));
    }

    #[tokio::test]
    async fn nobody_there_is_unreachable() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let client = Client::trusting(url.parse().unwrap(), &Trust::System).unwrap();
        let request = client.request(Method::GET, "/healthz").body(RequestBody::empty()).unwrap();
        assert_eq!(client.ask(request, ANSWER_LIMIT).await.unwrap_err().exit(), Exit::Unreachable);
    }
}
