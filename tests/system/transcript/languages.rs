//! Every template that makes wasm: a new function is built and run.
//!
//! Rust and C must be there, and what `BRAMBLE_TEST_LANGUAGES` names (`scripts/languages.sh` makes that list, of all
//! where `CI` is `true`); a language whose compiler is not is skipped, and says what it lacks.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::{said, with_stdin};
use crate::support::Gateway;
use crate::support::gateway::bramble;

/// Where the compilers of this machine are, which are in the home of whoever runs the tests.
#[expect(clippy::disallowed_methods, reason = "this only hands on where compilers and their caches are")]
fn compilers() -> impl Iterator<Item = (&'static str, OsString)> {
    let names = [
        "PATH",
        "HOME",
        "XDG_CACHE_HOME",
        "CARGO_HOME",
        "RUSTUP_HOME",
        "BRAMBLE_RUSTC",
        "BRAMBLE_NODE_MODULES",
    ];
    names.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)))
}

fn command(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(bramble());
    command.env_clear().current_dir(folder).args(words).stdin(std::process::Stdio::null());
    command.envs(compilers());
    command
}

#[expect(clippy::disallowed_methods, reason = "who runs the tests says which compilers there are")]
fn is_required(lang: &str) -> bool {
    let named = std::env::var("BRAMBLE_TEST_LANGUAGES").unwrap_or_default();
    ["rust", "c"].contains(&lang) || named.split_whitespace().any(|known| known == lang)
}

/// Makes a function `hello`, writes these files over its source, and builds it; nothing where its compiler is
/// missing and need not be there.
#[track_caller]
fn built(lang: &str, files: &[(&str, &str)]) -> Option<TempDir> {
    let folder = tempfile::tempdir().unwrap();
    let new = command(folder.path(), &["new", "--lang", lang, "hello"]).output().unwrap();
    said(new, "new", 0);
    for (file, content) in files {
        std::fs::write(folder.path().join("hello").join(file), content).unwrap();
    }
    let built = command(folder.path(), &["build", "-f", "hello.yml"]).output().unwrap();
    let complaint = String::from_utf8_lossy(&built.stderr).into_owned();
    if !built.status.success() && !is_required(lang) && complaint.contains("is missing") {
        #[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
        {
            eprintln!("skipped {lang}: {complaint}");
        }
        return None;
    }
    said(built, "build", 0);
    Some(folder)
}

#[track_caller]
fn answer(folder: &TempDir, body: &str) -> String {
    let mut run = command(folder.path(), &["local-run", "hello", "-f", "hello.yml", "--no-build"]);
    said(with_stdin(&mut run, body), "local-run", 0)
}

#[track_caller]
fn greets(folder: &TempDir, names: &[&str]) {
    for name in names {
        let greeted = if name.is_empty() { "world" } else { name };
        assert!(answer(folder, name) == format!("Hello, {greeted}!\n"), "{} bytes", name.len());
    }
}

/// Makes a function, builds it and greets with it.
#[track_caller]
fn check(lang: &str) {
    if let Some(folder) = built(lang, &[]) {
        greets(&folder, &["Ada", ""]);
    }
}

/// A name whose last character lies across two reads of 64 KiB.
fn long_name() -> String {
    format!("{}é", "a".repeat((64 << 10) - 1))
}

/// Two commands, as the README has them, and one to see what they made.
#[test]
fn a_new_function_is_brought_up_and_answers() {
    let (gateway, folder) = (Gateway::start(), tempfile::tempdir().unwrap());
    let program = bramble();
    let words = "\"$0\" new --lang rust hello && \"$0\" up -f hello.yml && printf Ada | \"$0\" invoke hello";
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(words).arg(&program).current_dir(folder.path());
    shell.env_clear().envs(compilers()).env("OPENFAAS_URL", gateway.url());
    shell.env("OPENFAAS_CONFIG", folder.path().join("logins"));
    let told = said(shell.stdin(std::process::Stdio::null()).output().unwrap(), words, 0);
    super::contains(&told, &["built hello", "deployed hello", "Hello, Ada!\n"]);
    assert_eq!(gateway.counted("hello", 200), 1.0);
}

#[test]
fn rust() {
    check("rust");
}

#[test]
fn c() {
    check("c");
}

#[test]
fn zig() {
    check("zig");
}

#[test]
fn go() {
    check("go");
}

#[test]
fn javascript() {
    // Names that what reads the body has too.
    let source = "
        const PART = 'Hello, ';
        function body(text) { return text.trim() || 'world'; }
        const decode = body, encode = (text) => `${PART}${text}!\\n`;
        const run = (text) => encode(decode(text));
        const getStdin = run, getStdout = run;
        export function handle(text) { return run(text); }
    ";
    if let Some(folder) = built("javascript", &[]) {
        greets(&folder, &[""]);
    }
    if let Some(folder) = built("javascript", &[("main.js", source)]) {
        greets(&folder, &["Ada", &long_name()]);
    }
}

#[test]
fn assemblyscript() {
    if let Some(folder) = built("assemblyscript", &[]) {
        greets(&folder, &["Ada", "", &long_name()]);
    }
}

#[test]
fn python() {
    check("python");
}
