//! The programs that are measured.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bytes::Bytes;

use crate::config;

/// Copies stdin to stdout through one buffer: the least that a WASI program can do.
///
/// One page of memory; the buffer of 60 KiB lies behind the two vectors.
const ECHO: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1 1)
  (func (export "_start") (local $left i32)
    (loop $next
      (i32.store (i32.const 0) (i32.const 1024))
      (i32.store (i32.const 4) (i32.const 61440))
      (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))
        (then (call $exit (i32.const 1))))
      (local.set $left (i32.load (i32.const 8)))
      (if (i32.eqz (local.get $left)) (then (return)))
      (loop $rest
        (i32.store (i32.const 4) (local.get $left))
        (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))
          (then (call $exit (i32.const 2))))
        (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.load (i32.const 8))))
        (local.set $left (i32.sub (local.get $left) (i32.load (i32.const 8))))
        (br_if $rest (local.get $left)))
      (br $next)))
  EXTRA)"#;

/// The echo program.
pub(crate) fn echo() -> Bytes {
    assemble(&ECHO.replace("EXTRA", ""))
}

/// The echo program with a mark that gives it a digest of its own.
pub(crate) fn marked_echo(mark: usize) -> Bytes {
    assemble(&ECHO.replace("EXTRA", &format!("(data \"{mark:08}\")")))
}

/// The echo program among code it never runs: about `size_bytes` of wasm.
pub(crate) fn padded_echo(size_bytes: usize) -> Bytes {
    /// Wasm bytes of one padding function, by measure.
    const FUNCTION_BYTES: usize = 122;
    let mut padding = String::new();
    for at in 0..size_bytes / FUNCTION_BYTES {
        // Different constants, so that no compiler can fold two functions into one.
        let _ = writeln!(padding, "(func (param i32) (result i32) (local i32)");
        padding.push_str("(local.set 1 (local.get 0))");
        for step in 0..8 {
            let constant = 1_000_003 * (at + 1) + 7_919 * step;
            let _ = writeln!(
                padding,
                "(local.set 1 (i32.xor (i32.mul (local.get 1) (i32.const {})) (local.get 0)))",
                constant % 0x7fff_ffff
            );
        }
        padding.push_str("(local.get 1))\n");
    }
    assemble(&ECHO.replace("EXTRA", &padding))
}

fn assemble(text: &str) -> Bytes {
    wat::parse_str(text).expect("the text is valid, as the test shows").into()
}

/// Where the SDK's hello is: the file that was named, or the built example.
pub(crate) fn sdk_guest_path(named: Option<&Path>) -> Option<PathBuf> {
    let built = || config::examples_dir().map(|dir| dir.join("hello.wasm")).filter(|path| path.is_file());
    named.map(Path::to_owned).or_else(built)
}

/// A module from a file.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn read(path: &Path) -> Result<Bytes> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read the module {}", path.display()))?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_assemble() {
        assert!(echo().len() < 500);
        assert_ne!(marked_echo(1), marked_echo(2));
    }

    #[test]
    fn padding_is_as_large_as_asked_for() {
        let size = padded_echo(100 << 10).len();
        assert!((90 << 10..110 << 10).contains(&size), "{size}");
    }
}
