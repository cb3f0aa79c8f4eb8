//! Bodies that are too large for the database: one file each.
//!
//! A file is complete and synced before the call that names it is stored, and goes after the call is
//! gone. What a crash leaves between the two is cleared up at the next start.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bramble_provider::{Body, BodyError};
use bytes::{Bytes, BytesMut};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::call::BodyPlace;

/// Bodies up to here are stored beside their call.
pub(crate) const INLINE_BYTES: usize = 16 << 10;

/// How much of a file is read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// The directory of bodies.
#[derive(Debug, Clone)]
pub(super) struct Spool(Arc<PathBuf>);

/// A file that is being written. Dropping it before it is kept removes it.
#[derive(Debug)]
pub(crate) struct Spooled {
    path: PathBuf,
    name: String,
    file: File,
    bytes: u64,
    kept: bool,
}

impl Spool {
    /// Opens the directory, making it when it is missing. Blocking.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        Ok(Self(Arc::new(path.to_owned())))
    }

    /// Removes every file that no call names. Blocking; before anything is written.
    pub(super) fn clear(&self, named: &HashSet<String>) -> io::Result<()> {
        for entry in std::fs::read_dir(&*self.0)? {
            let entry = entry?;
            let known = entry.file_name().to_str().is_some_and(|name| named.contains(name));
            if !known {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Begins a file.
    pub(super) async fn begin(&self) -> io::Result<Spooled> {
        let name = format!("{:032x}", fastrand::u128(..));
        let path = self.0.join(&name);
        let file = File::options().write(true).create_new(true).open(&path).await?;
        Ok(Spooled { path, name, file, bytes: 0, kept: false })
    }

    /// A body that reads a file.
    pub(super) async fn read(&self, name: &str) -> io::Result<Body> {
        let file = File::open(self.0.join(name)).await?;
        let pieces = futures_util::stream::unfold(Some(file), |file| async move {
            let mut file = file?;
            let mut piece = BytesMut::with_capacity(CHUNK_BYTES);
            match file.read_buf(&mut piece).await {
                Ok(0) => None,
                Ok(_) => Some((Ok::<_, BodyError>(Frame::data(piece.freeze())), Some(file))),
                Err(error) => Some((Err(error.into()), None)),
            }
        });
        Ok(Body::stream(Bytes::new(), StreamBody::new(pieces)))
    }

    /// Removes a file. Blocking.
    pub(super) fn remove(&self, name: &str) {
        if let Err(error) = std::fs::remove_file(self.0.join(name)) {
            tracing::debug!(%error, name, "the body of a call that ended stays until the next start");
        }
    }
}

impl Spooled {
    /// Adds bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).await
    }

    /// Has all of it on the disk, the name too. From here on it stays.
    pub(crate) async fn keep(mut self) -> io::Result<Keeping> {
        self.file.flush().await?;
        self.file.sync_data().await?;
        if let Some(directory) = self.path.parent() {
            File::open(directory).await?.sync_all().await?;
        }
        Ok(Keeping(self))
    }
}

/// A complete file that no call names yet. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Keeping(Spooled);

impl Keeping {
    /// Where the body is.
    pub(super) fn place(&self) -> BodyPlace {
        BodyPlace::File { name: self.0.name.clone(), bytes: self.0.bytes }
    }

    /// A call that names it is stored.
    pub(super) fn stored(mut self) {
        self.0.kept = true;
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        if !self.kept {
            // Quick, and what cannot be removed goes at the next start.
            let _gone = std::fs::remove_file(&self.path).is_ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn keeps_what_is_named_and_clears_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        let mut kept = spool.begin().await.unwrap();
        let bytes = vec![7; CHUNK_BYTES + 1];
        kept.write(&bytes).await.unwrap();
        let kept = kept.keep().await.unwrap();
        let BodyPlace::File { name, bytes: length } = kept.place() else { panic!("it is a file") };
        kept.stored();
        assert_eq!(length, bytes.len() as u64);
        let other = spool.begin().await.unwrap();
        other.keep().await.unwrap().stored();
        drop(spool.begin().await.unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
        spool.clear(&HashSet::from([name.clone()])).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let read = spool.read(&name).await.unwrap().collect().await.unwrap().to_bytes();
        assert_eq!(read, bytes);
        spool.remove(&name);
        assert!(spool.read(&name).await.is_err());
    }
}
