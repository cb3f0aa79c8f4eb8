//! The program that `fprocess` names: where it is, and why it does not start.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hyper::StatusCode;

/// A command line whose program is found once.
#[derive(Debug)]
pub(crate) struct Program {
    /// Never empty.
    words: Vec<String>,
    search_path: OsString,
    found: OnceLock<PathBuf>,
}

/// A program that did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct SpawnError {
    /// 503 when the machine is out of something, else 500.
    pub(crate) status: StatusCode,
    text: String,
}

impl Program {
    /// `words` are the program and its arguments.
    pub(crate) fn new(words: Vec<String>, search_path: OsString) -> Self {
        Self { words, search_path, found: OnceLock::new() }
    }

    /// The program as it was named: `argv[0]`.
    pub(crate) fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// What follows the program's name.
    pub(crate) fn arguments(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The program's file. A name without a slash is looked for in `PATH` until it is found once.
    ///
    /// # Errors
    /// [`SpawnError`] when it is nowhere.
    pub(crate) fn find(&self) -> Result<&Path, SpawnError> {
        if self.name().contains('/') {
            return Ok(Path::new(self.name()));
        }
        if let Some(path) = self.found.get() {
            return Ok(path);
        }
        let mut candidates =
            std::env::split_paths(&self.search_path).map(|directory| directory.join(self.name()));
        match candidates.find(|path| is_executable(path)) {
            // A relative directory in PATH still gives a path with a slash.
            Some(path) => Ok(self.found.get_or_init(|| Path::new(".").join(path))),
            None => Err(SpawnError::new(
                self.name(),
                &format!("executable file not found in PATH={:?}", self.search_path),
            )),
        }
    }
}

impl SpawnError {
    fn new(name: &str, reason: &str) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, text: format!("fork/exec {name}: {reason}") }
    }

    /// Says what an error of `posix_spawn` means for the author of an image.
    pub(crate) fn explain(name: &str, path: &Path, error: &io::Error) -> Self {
        let reason = match error.kind() {
            ErrorKind::NotFound if path.exists() => {
                "no such file or directory: the file is there, but the interpreter or dynamic loader that it \
                 names is not in the image"
            }
            ErrorKind::NotFound => "no such file or directory",
            ErrorKind::PermissionDenied => "permission denied: is it an executable file?",
            _ => match rustix::io::Errno::from_io_error(error) {
                Some(rustix::io::Errno::NOEXEC) => {
                    "exec format error: built for another processor, or a script without a #! line"
                }
                Some(rustix::io::Errno::TOOBIG) => {
                    "the headers and the environment are too long for a process"
                }
                _ => return Self::out_of_resources(name, error),
            },
        };
        Self::new(name, reason)
    }

    /// The machine cannot start anything at the moment.
    pub(crate) fn out_of_resources(name: &str, error: &io::Error) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, ..Self::new(name, &error.to_string()) }
    }
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &str) -> Program {
        Program::new(vec![name.to_owned()], "/nonexistent:/usr/bin:/bin".into())
    }

    #[test]
    fn finds_a_name_in_the_path_and_takes_a_path_as_it_is() {
        assert!(program("sh").find().unwrap().ends_with("bin/sh"));
        assert_eq!(program("./handler").find().unwrap(), Path::new("./handler"));
        let error = program("no-such-program").find().unwrap_err().to_string();
        assert!(error.contains("no-such-program") && error.contains("/nonexistent"), "{error}");
    }

    #[test]
    fn tells_a_missing_loader_from_a_missing_file() {
        let missing = io::Error::from(ErrorKind::NotFound);
        let explain = |path: &str| SpawnError::explain("x", Path::new(path), &missing).to_string();
        assert!(explain("/proc/self/exe").contains("interpreter"));
        assert_eq!(explain("/nonexistent"), "fork/exec x: no such file or directory");
    }

    #[test]
    fn a_full_machine_is_no_fault_of_the_function() {
        let full = io::Error::from_raw_os_error(11);
        assert_eq!(SpawnError::explain("x", Path::new("/x"), &full).status, StatusCode::SERVICE_UNAVAILABLE);
    }
}
