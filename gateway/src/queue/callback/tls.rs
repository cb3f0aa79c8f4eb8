//! Whose certificates callbacks trust.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use tokio::sync::OnceCell;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// The certificate authorities that this machine knows, and those of a file.
#[derive(Debug)]
pub(super) struct Trust {
    /// Those of the file.
    own: RootCertStore,
    /// Made for the first callback over TLS: the machine's list takes half a megabyte.
    config: OnceCell<Arc<ClientConfig>>,
}

impl Trust {
    /// Reads the file, where there is one. Blocking.
    ///
    /// # Errors
    /// A text that names the setting, the file and what is wrong with it.
    pub(super) fn with(file: Option<&Path>) -> anyhow::Result<Self> {
        let mut own = RootCertStore::empty();
        if let Some(path) = file {
            read(path, &mut own).with_context(|| format!("cannot use callback_ca = {}", path.display()))?;
        }
        Ok(Self { own, config: OnceCell::new() })
    }

    /// What a connection is made with.
    ///
    /// # Errors
    /// In words, where nobody is trusted.
    pub(super) async fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let config = self.config.get_or_try_init(async || {
            let own = self.own.clone();
            let made = tokio::task::spawn_blocking(move || client(own)).await;
            made.unwrap_or_else(|panic| Err(panic.to_string()))
        });
        config.await.cloned()
    }
}

fn read(path: &Path, roots: &mut RootCertStore) -> anyhow::Result<()> {
    let certificates =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>)?;
    if certificates.is_empty() {
        return Err(anyhow!("it holds no certificate in PEM"));
    }
    certificates.into_iter().try_for_each(|certificate| Ok(roots.add(certificate)?))
}

fn client(mut roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let reason = "this machine has no list of certificate authorities; install one, or name a file with --callback-ca";
        return Err(reason.to_owned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
