//! Writes down which compiler built the bench: a figure means little without it.

use std::process::Command;

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script its compiler in the environment")]
fn main() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().ok().filter(|output| output.status.success());
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let version = version.unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=BRAMBLE_BENCH_RUSTC={version}");
}
