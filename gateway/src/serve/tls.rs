//! TLS for functions and the API, with a certificate that may change while they are served.
//!
//! The files are read again when they look different. A pair that does not fit together, as half of a
//! renewal does, is left alone: the one before stays, and the log says so once.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ServerConfig, crypto};
use tokio_rustls::server::TlsStream;

use crate::config::GatewayConfig;
use crate::error::excerpt;

/// Time between two looks at the files.
const LOOK: Duration = Duration::from_secs(2);

/// Speaks TLS to clients. Cloning copies a pointer.
#[derive(Clone)]
pub(super) struct Tls {
    acceptor: TlsAcceptor,
    current: Arc<Current>,
}

/// The certificate that new connections get.
#[derive(Debug)]
struct Current {
    files: Files,
    key: ArcSwap<CertifiedKey>,
}

#[derive(Debug)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

/// What a file looks like without being read: when it was written, and how long it is.
type Look = [Option<(SystemTime, u64)>; 2];

impl Tls {
    /// Reads the pair that the settings name; `None` when they name none. Blocking.
    ///
    /// # Errors
    /// A text that names the file and what is wrong with it.
    pub(super) fn open(config: &GatewayConfig) -> anyhow::Result<Option<Self>> {
        let files = match (&config.tls_cert, &config.tls_key) {
            (None, None) => return Ok(None),
            (Some(cert), Some(key)) => Files { cert: cert.clone(), key: key.clone() },
            (Some(_), None) => return Err(anyhow!("tls_cert is set and tls_key is not; set both")),
            (None, Some(_)) => return Err(anyhow!("tls_key is set and tls_cert is not; set both")),
        };
        let current = Arc::new(Current { key: ArcSwap::from_pointee(files.read()?), files });
        let mut server = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .context("TLS cannot be used")?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Self { acceptor: TlsAcceptor::from(Arc::new(server)), current }))
    }

    /// Shakes hands with a client, for as long as `limit` says.
    ///
    /// # Errors
    /// What the client did wrong, or [`io::ErrorKind::TimedOut`].
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
        limit: Duration,
    ) -> io::Result<TlsStream<TcpStream>> {
        let accepted = tokio::time::timeout(limit, self.acceptor.accept(stream)).await;
        accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Follows the files, for ever.
    pub(super) async fn follow(self) {
        let (mut seen, mut told) = (self.current.files.look(), None);
        loop {
            tokio::time::sleep(LOOK).await;
            let now = self.current.files.look();
            // A pair that was refused is tried again: its other half may be on its way within one tick of the clock.
            if now == seen && told.is_none() {
                continue;
            }
            let current = Arc::clone(&self.current);
            let read = tokio::task::spawn_blocking(move || current.files.read()).await;
            match read.map_err(anyhow::Error::from).flatten() {
                Ok(key) => {
                    if key.cert != self.current.key.load().cert {
                        tracing::info!(certificate = %self.current.files.cert.display(), "took up a new certificate");
                    }
                    self.current.key.store(Arc::new(key));
                    told = None;
                }
                Err(error) => {
                    let reason = excerpt(&format!("{error:#}"));
                    if told.replace(now) != Some(now) {
                        tracing::error!(reason, "the new certificate cannot be used; the one before stays");
                    }
                }
            }
            seen = now;
        }
    }
}

impl Files {
    fn look(&self) -> Look {
        [&self.cert, &self.key].map(|path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        })
    }

    fn read(&self) -> anyhow::Result<CertifiedKey> {
        let chain =
            CertificateDer::pem_file_iter(&self.cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.with_context(|| naming("tls_cert", &self.cert))?;
        if chain.is_empty() {
            return Err(anyhow!("it holds no certificate in PEM")).context(naming("tls_cert", &self.cert));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).with_context(|| naming("tls_key", &self.key))?;
        CertifiedKey::from_der(chain, key, &crypto::ring::default_provider()).with_context(|| {
            format!("the key in {} is not that of {}", self.key.display(), self.cert.display())
        })
    }
}

fn naming(setting: &str, path: &Path) -> String {
    format!("cannot use {setting} = {}", path.display())
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.load_full())
    }
}
