//! The one directory that holds everything the gateway must not lose, and the lock that makes it ours.
//!
//! In: making the directory, checking that it can be used, refusing a second gateway on it.
//! Out: what is inside; the store and the wasm host know their own files.
//! The property that must hold: while a [`DataDir`] lives, no other process has one of the same path.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, FlockOperation};

/// A data directory that is locked for this process until it is dropped.
///
/// The kernel takes the lock back when the process ends, however it ends, so there is no stale lock.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Why a data directory cannot be used. Each message names the path and the cause.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It is not there and cannot be made.
    #[error("cannot create the data directory {}: {source}", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is there, and this process may not read or write it, or it is no directory.
    #[error("the data directory {} cannot be used: {source}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another gateway has it.
    #[error(
        "the data directory {} is in use by another gateway{}; stop that one or choose another --data-dir",
        path.display(),
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The other process, when it has written its number.
        pid: Option<u32>,
    },
}

impl DataDir {
    /// The lock file's name inside the directory. It holds the process number of the owner.
    pub const LOCK_FILE: &'static str = "lock";

    /// Makes the directory (mode 0700) when it is missing, checks it, and takes its lock. Blocking.
    ///
    /// # Errors
    /// [`DataDirError`], one variant for each thing that can be in the way.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        create(path)?;
        let unusable = |source: io::Error| DataDirError::Unusable { path: path.to_owned(), source };
        check(path).map_err(unusable)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(Self::LOCK_FILE))
            .map_err(unusable)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(DataDirError::InUse { path: path.to_owned(), pid: read_pid(&mut lock) });
            }
            Err(errno) => return Err(unusable(errno.into())),
        }
        // Only a help for the message of a second gateway: a full disk must not stop the start.
        if let Err(error) = write_pid(&mut lock) {
            tracing::warn!(%error, path = %path.display(), "cannot write the process number into the lock file");
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn create(path: &Path) -> Result<(), DataDirError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| DataDirError::Create { path: path.to_owned(), source })
}

fn check(path: &Path) -> io::Result<()> {
    rustix::fs::access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)?;
    let mode = path.metadata()?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        // Somebody else's choice of mode is not ours to change, but it deserves a word.
        tracing::warn!(path = %path.display(), mode = format!("{mode:o}"), "other users can read the data directory");
    }
    Ok(())
}

fn read_pid(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_a_private_directory() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let data_dir = DataDir::open(&path).unwrap();
        assert_eq!(data_dir.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn refuses_a_second_owner_and_names_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(dir.path()).unwrap();
        let error = DataDir::open(dir.path()).unwrap_err();
        assert!(matches!(&error, DataDirError::InUse { pid: Some(pid), .. } if *pid == std::process::id()));
        assert!(error.to_string().contains(&*dir.path().to_string_lossy()), "{error}");
        drop(first);
        assert!(DataDir::open(dir.path()).is_ok());
    }

    #[test]
    fn names_the_path_that_cannot_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("below")] {
            let error = DataDir::open(&path).unwrap_err();
            assert!(matches!(error, DataDirError::Create { .. }), "{error:?}");
            assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
        }
    }

    #[test]
    fn refuses_a_directory_it_may_not_write() {
        if rustix::process::geteuid().is_root() {
            return; // Permissions do not bind root; the test of the binary runs it as another user.
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o500)).unwrap();
        assert!(matches!(DataDir::open(dir.path()), Err(DataDirError::Unusable { .. })));
    }
}
