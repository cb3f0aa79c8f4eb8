//! What a developer types, from a template to a running function: the real command, a real gateway.

mod auth;
mod containers;
mod curl;
pub(crate) mod exchange;
mod faas_cli;
mod languages;
mod pattern;
mod stacks;
mod templates;

use std::path::Path;
use std::process::{Command, Output};

use crate::support::Gateway;

/// A folder in which the command is typed, and the gateway that it speaks to.
struct Desk {
    gateway: Gateway,
    folder: tempfile::TempDir,
    /// The Docker that builds and pushes, if one does.
    docker: Option<String>,
}

impl Desk {
    fn new() -> Self {
        Self::of(Gateway::start())
    }

    fn of(gateway: Gateway) -> Self {
        Self { gateway, folder: tempfile::tempdir().unwrap(), docker: None }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file, and the folders above it.
    fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path().join(file)).unwrap()
    }

    /// `bramble` and these words, split at spaces.
    fn command(&self, words: &str) -> Command {
        let words: Vec<&str> = words.split(' ').collect();
        let mut command = self.gateway.cli(&words);
        command.current_dir(self.path());
        command.envs(self.docker.iter().map(|host| ("DOCKER_HOST", host)));
        command
    }

    /// Types the words; the exit code must be this. Answers stdout, and stderr behind it.
    #[track_caller]
    fn types(&self, words: &str, code: i32) -> String {
        said(self.command(words).output().unwrap(), words, code)
    }

    /// Types the words with something on stdin.
    #[track_caller]
    fn pipes(&self, stdin: &str, words: &str, code: i32) -> String {
        let mut command = self.command(words);
        said(with_stdin(&mut command, stdin), words, code)
    }
}

#[track_caller]
fn said(output: Output, words: &str, code: i32) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "bramble {words}\n{out}\n{err}");
    format!("{out}{err}")
}

fn with_stdin(command: &mut Command, stdin: &str) -> Output {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), stdin).unwrap();
    command.stdin(std::fs::File::open(file.path()).unwrap()).output().unwrap()
}

#[track_caller]
fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}
