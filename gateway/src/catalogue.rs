//! The folder with the modules of the function store: which of them are there, and their digests.
//!
//! In: looking, hashing, reading. Out: the list and its form (`api::store`). The property that must hold: a
//! file is hashed once, and again only when it looks different; one look at a time, however many ask.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::bail;
use bramble_provider::{Digest, ProviderError};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use crate::api::store::files;

/// The modules of the store.
#[derive(Debug)]
pub struct Catalogue {
    dir: Option<PathBuf>,
    /// Larger files are left out: they could not be deployed.
    max_bytes: u64,
    seen: Arc<Mutex<Seen>>,
}

/// By file, what it looked like and its digest.
type Seen = HashMap<&'static str, (Look, Digest)>;

/// What a file looks like without being read: when it was written, and how long it is.
type Look = (SystemTime, u64);

impl Catalogue {
    /// Those in a folder, or none. Blocking; no file is read yet.
    ///
    /// # Errors
    /// A text that names the setting and the folder when it is none.
    pub fn open(dir: Option<&Path>, max_bytes: u64) -> anyhow::Result<Self> {
        if let Some(dir) = dir.filter(|dir| !dir.is_dir()) {
            bail!("cannot use store_dir = {}: it is no directory", dir.display());
        }
        Ok(Self { dir: dir.map(Path::to_owned), max_bytes, seen: Arc::default() })
    }

    /// The digests of the files that are there.
    ///
    /// # Errors
    /// [`ProviderError::Internal`] for a panic.
    pub(crate) async fn digests(&self) -> Result<HashMap<&'static str, Digest>, ProviderError> {
        let Some(dir) = self.dir.clone() else { return Ok(HashMap::new()) };
        let mut seen = Arc::clone(&self.seen).lock_owned().await;
        let max_bytes = self.max_bytes;
        // It goes on when whoever asks hangs up: what was hashed is known to the next one.
        let looked = tokio::task::spawn_blocking(move || {
            *seen = look(&dir, max_bytes, &seen);
            seen.iter().map(|(file, (_, digest))| (*file, *digest)).collect()
        });
        looked.await.map_err(|panic| ProviderError::internal("looking at the store's folder", panic))
    }

    /// The file with this digest.
    ///
    /// # Errors
    /// As [`Self::digests`].
    pub(crate) async fn find(&self, module: Digest) -> Result<Option<&'static str>, ProviderError> {
        let digests = self.digests().await?;
        Ok(digests.into_iter().find(|(_, digest)| *digest == module).map(|(file, _)| file))
    }

    /// The bytes of a file that [`Self::find`] answered.
    ///
    /// # Errors
    /// [`ProviderError::Internal`] when it is gone.
    pub(crate) async fn read(&self, file: &str) -> Result<Bytes, ProviderError> {
        let path = self.dir.as_deref().unwrap_or(Path::new("")).join(file);
        let read = tokio::fs::read(&path).await;
        read.map(Bytes::from).map_err(|error| {
            ProviderError::internal(format!("reading {} of the store's folder", path.display()), error)
        })
    }
}

fn look(dir: &Path, max_bytes: u64, before: &Seen) -> Seen {
    let one = |file: &'static str| {
        let path = dir.join(file);
        let metadata = std::fs::metadata(&path).ok().filter(|metadata| metadata.len() <= max_bytes)?;
        let look = (metadata.modified().ok()?, metadata.len());
        let known = before.get(file).filter(|(known, _)| *known == look);
        let digest = match known {
            Some((_, digest)) => *digest,
            None => Digest::from_sha256(Sha256::digest(std::fs::read(&path).ok()?).into()),
        };
        Some((file, (look, digest)))
    };
    files().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn what_was_hashed_for_somebody_who_hung_up_is_known() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("echo.wasm"), "a").unwrap();
        let catalogue = Catalogue::open(Some(dir.path()), 4).unwrap();
        assert!(catalogue.digests().now_or_never().is_none(), "it hangs up while files are read");
        let seen = catalogue.seen.lock().await;
        assert_eq!(seen.keys().copied().collect::<Vec<_>>(), ["echo.wasm"]);
    }

    #[tokio::test]
    async fn a_file_is_known_by_the_digest_it_has_now() {
        let dir = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(Some(dir.path()), 4).unwrap();
        assert!(catalogue.digests().await.unwrap().is_empty());
        let mut found = Vec::new();
        for content in ["a", "bc"] {
            std::fs::write(dir.path().join("echo.wasm"), content).unwrap();
            std::fs::write(dir.path().join("other.wasm"), content).unwrap();
            std::fs::write(dir.path().join("figlet.wasm"), "large").unwrap();
            let digests = catalogue.digests().await.unwrap();
            assert_eq!(digests.keys().copied().collect::<Vec<_>>(), ["echo.wasm"]);
            let digest = digests["echo.wasm"];
            assert_eq!(catalogue.find(digest).await.unwrap(), Some("echo.wasm"));
            assert_eq!(catalogue.read("echo.wasm").await.unwrap(), content);
            found.push(digest);
        }
        assert_ne!(found[0], found[1]);
        assert_eq!(catalogue.find(found[0]).await.unwrap(), None);
        assert!(Catalogue::open(Some(&dir.path().join("echo.wasm")), 1).is_err());
    }
}
