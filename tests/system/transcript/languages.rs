//! Every template that makes wasm: a new function is built and run.
//!
//! Rust and C must be there; a language whose compiler is not is skipped, and says what it lacks.

use std::process::Command;

use super::{said, with_stdin};
use crate::support::gateway::bramble;

/// The compilers of this machine, which are in the home of whoever runs the tests.
#[expect(clippy::disallowed_methods, reason = "this only hands on where compilers and their caches are")]
fn command(folder: &std::path::Path, words: &[&str]) -> Command {
    let mut command = Command::new(bramble());
    command.env_clear().current_dir(folder).args(words).stdin(std::process::Stdio::null());
    for name in [
        "PATH",
        "HOME",
        "XDG_CACHE_HOME",
        "CARGO_HOME",
        "RUSTUP_HOME",
        "BRAMBLE_RUSTC",
        "BRAMBLE_NODE_MODULES",
    ] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// Makes a function, builds it and greets with it.
#[track_caller]
fn check(lang: &str, required: bool) {
    let folder = tempfile::tempdir().unwrap();
    let new = command(folder.path(), &["new", "--lang", lang, "hello"]).output().unwrap();
    said(new, "new", 0);
    let built = command(folder.path(), &["build", "-f", "hello.yml"]).output().unwrap();
    let complaint = String::from_utf8_lossy(&built.stderr).into_owned();
    if !built.status.success() && !required && complaint.contains("is missing") {
        #[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
        {
            eprintln!("skipped {lang}: {complaint}");
        }
        return;
    }
    said(built, "build", 0);
    for (body, greeting) in [("Ada", "Hello, Ada!\n"), ("", "Hello, world!\n")] {
        let mut run = command(folder.path(), &["local-run", "hello", "-f", "hello.yml", "--no-build"]);
        assert_eq!(said(with_stdin(&mut run, body), "local-run", 0), greeting, "{lang}");
    }
}

#[test]
fn rust() {
    check("rust", true);
}

#[test]
fn c() {
    check("c", true);
}

#[test]
fn zig() {
    check("zig", false);
}

#[test]
fn go() {
    check("go", false);
}

#[test]
fn javascript() {
    check("javascript", false);
}

#[test]
fn assemblyscript() {
    check("assemblyscript", false);
}

#[test]
fn python() {
    check("python", false);
}
