//! Which gateway runs on a data directory, for the commands that start and stop one.
//!
//! A gateway that is ready writes its process number and its URL to `DATA_DIR/gateway.pid` and
//! keeps that file locked. The kernel takes the lock back however the process ends, so what is
//! locked is alive and wrote what is in it: a number that was given to another process since can
//! not be mistaken for ours.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// The file's name in the data directory.
const FILE_NAME: &str = "gateway.pid";

/// Longest content that is read: a number and a URL.
const MAX_BYTES: u64 = 1_024;

/// The announcement of a running gateway, which ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Announcement(File);

/// A gateway that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running {
    /// Its process number.
    pub(crate) pid: i32,
    /// Where it is reached from this machine.
    pub(crate) url: String,
}

impl Announcement {
    /// Announces this process. The caller is the only gateway on `data_dir`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn make(data_dir: &Path, url: &str) -> Result<Self> {
        let path = data_dir.join(FILE_NAME);
        let write = || -> io::Result<File> {
            let mut options = OpenOptions::new();
            let mut file =
                options.read(true).write(true).create(true).truncate(false).mode(0o644).open(&path)?;
            // Held by nobody else but for the moment in which `find` looks.
            file.lock()?;
            file.set_len(0)?;
            file.write_all(format!("{}\n{url}\n", std::process::id()).as_bytes())?;
            Ok(file)
        };
        write().map(Self).with_context(|| format!("writing {}", path.display()))
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // The lock goes with the file; this is for people who look inside.
        let _ = self.0.set_len(0);
    }
}

/// The gateway that runs on a data directory, if one does.
///
/// # Errors
/// When the file is there and cannot be read.
pub(crate) fn find(data_dir: &Path) -> Result<Option<Running>> {
    let path = data_dir.join(FILE_NAME);
    let read = || -> io::Result<Option<Running>> {
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                file.rewind()?;
                file.take(MAX_BYTES).read_to_string(&mut text)?;
                Ok(parse(&text))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    };
    read().with_context(|| format!("reading {}", path.display()))
}

/// `None` while it is being written, which is as good as not running yet.
fn parse(text: &str) -> Option<Running> {
    let mut lines = text.strip_suffix('\n')?.lines();
    let (pid, url) = (lines.next()?.parse().ok()?, lines.next()?.to_owned());
    Some(Running { pid, url })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_found_as_long_as_it_lives() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(find(directory.path()).unwrap(), None);
        let announcement = Announcement::make(directory.path(), "http://127.0.0.1:1").unwrap();
        let running = find(directory.path()).unwrap().unwrap();
        assert_eq!(
            (running.pid, running.url.as_str()),
            (std::process::id().cast_signed(), "http://127.0.0.1:1")
        );
        drop(announcement);
        assert_eq!(find(directory.path()).unwrap(), None);
    }

    #[test]
    fn a_number_without_a_lock_is_nobody() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE_NAME), "1\nhttp://127.0.0.1:1\n").unwrap();
        assert_eq!(find(directory.path()).unwrap(), None);
    }

    #[test]
    fn waits_for_the_whole_content() {
        for part in ["", "12", "12\n", "12\nhttp", "x\nhttp://a\n"] {
            assert_eq!(parse(part), None, "{part:?}");
        }
    }
}
