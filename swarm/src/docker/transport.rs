//! Bytes to and from a daemon.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::BollardRequest;
use bollard::errors::Error;
use bytes::Bytes;
use http::header::{HOST, HeaderName};
use http::{HeaderValue, Request, Response};
use http_body::Body as HttpBody;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::host::{DockerHost, Endpoint, TlsFiles, effective_port};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const REGISTRY_AUTH: HeaderName = HeaderName::from_static("x-registry-auth");

/// The way to one daemon.
pub(super) struct Transport {
    shown: String,
    endpoint: Endpoint,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Transport {
    pub(super) fn new(host: &DockerHost) -> Result<Self, String> {
        let tls = match (&host.endpoint, &host.tls) {
            (Endpoint::Tcp { host, .. }, Some(files)) => {
                let name = ServerName::try_from(host.clone())
                    .map_err(|_| format!("{host:?} is no name that a certificate can be for"))?;
                Some((connector(files)?, name))
            }
            _ => None,
        };
        Ok(Self { shown: host.to_string(), endpoint: host.endpoint.clone(), tls })
    }

    pub(super) fn host(&self) -> &str {
        &self.shown
    }

    pub(super) fn is_local(&self) -> bool {
        match &self.endpoint {
            Endpoint::Socket(_) => true,
            Endpoint::Tcp { .. } => false,
        }
    }

    /// Whether its daemon may run on this machine: behind the loopback there may be a tunnel too.
    pub(super) fn may_be_local(&self) -> bool {
        match &self.endpoint {
            Endpoint::Socket(_) => true,
            Endpoint::Tcp { host, .. } => {
                host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
            }
        }
    }

    /// Sends one request over a connection of its own.
    pub(super) async fn request(&self, mut request: BollardRequest) -> Result<Response<Incoming>, Error> {
        mend_registry_auth(&mut request);
        self.send(request).await
    }

    /// As [`Self::request`], for any body.
    pub(super) async fn send<B>(&self, mut request: Request<B>) -> Result<Response<Incoming>, Error>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await;
        let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to Docker ended badly");
            }
        });
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).parse();
        *request.uri_mut() = path.map_err(http::Error::from)?;
        request.headers_mut().insert(HOST, HeaderValue::from_static("docker"));
        Ok(sender.send_request(request).await?)
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        match &self.endpoint {
            Endpoint::Socket(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Endpoint::Tcp { host, port } => {
                let port = effective_port(*port, self.tls.is_some());
                let stream = TcpStream::connect((host.as_str(), port)).await?;
                stream.set_nodelay(true)?;
                match &self.tls {
                    None => Ok(Box::new(stream)),
                    Some((connector, name)) => Ok(Box::new(connector.connect(name.clone(), stream).await?)),
                }
            }
        }
    }
}

/// bollard 0.21 encodes credentials with the alphabet of RFC 4648 section 4; daemons read that of
/// section 5 and take anything else for no credentials at all.
fn mend_registry_auth(request: &mut BollardRequest) {
    if let Some(value) = request.headers_mut().get_mut(REGISTRY_AUTH)
        && value.as_bytes().iter().any(|byte| matches!(byte, b'+' | b'/'))
    {
        let mended: Vec<u8> = value
            .as_bytes()
            .iter()
            .map(|byte| match byte {
                b'+' => b'-',
                b'/' => b'_',
                other => *other,
            })
            .collect();
        if let Ok(mut mended) = HeaderValue::from_bytes(&mended) {
            mended.set_sensitive(true);
            *value = mended;
        }
    }
}

fn connector(files: &TlsFiles) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&files.directory.join("ca.pem"))? {
        roots.add(certificate).map_err(|error| {
            format!("{}: not a certificate authority: {error}", files.directory.join("ca.pem").display())
        })?;
    }
    let certificate = certificates(&files.directory.join("cert.pem"))?;
    let path = files.directory.join("key.pem");
    let key = PrivateKeyDer::from_pem_file(&path)
        .map_err(|error| format!("cannot read a private key from {}: {error}", path.display()))?;
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_root_certificates(roots).with_client_auth_cert(certificate, key))
        .map_err(|error| format!("cannot use the certificates in {}: {error}", files.directory.display()))?;
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!("{} holds no certificate", path.display())),
        Err(error) => Err(format!("cannot read certificates from {}: {error}", path.display())),
    }
}
