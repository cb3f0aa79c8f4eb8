//! Compiled code on disk: `cache/<engine fingerprint>/<digest>.cwasm`.
//!
//! Safe to delete at any time. A file ends in a checksum of what comes before it; one that does not
//! match, is cut short, or that the engine does not take is deleted and made again from the module.
//!
//! This is the one module of the project with `unsafe` code: loading compiled code means running
//! what a file holds.
#![expect(
    unsafe_code,
    reason = "wasmtime can only load compiled code by trusting the file; see the SAFETY comments"
)]

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bramble_provider::{Digest, ProviderError};
use wasmtime::component::Component;
use wasmtime::{Engine, Module};
use xxhash_rust::xxh3::Xxh3;

use crate::error::HostError;
use crate::inspect::GuestKind;
use crate::module_store::{replace, storage_error};

/// Bytes of the checksum at a file's end: XXH3, 128 bits, big-endian.
const CHECKSUM_BYTES: usize = 16;

/// Code that is in memory and ready to be linked.
pub(crate) enum Loaded {
    Module(Module),
    Component(Component),
}

/// The directory of one engine's compiled code.
#[derive(Debug)]
pub(crate) struct CodeCache {
    dir: PathBuf,
}

impl CodeCache {
    /// Opens the directory for an engine with this fingerprint. Only the owner may enter it.
    pub(crate) fn open(data_dir: &Path, fingerprint: &str) -> Result<Self, HostError> {
        let dir = data_dir.join("cache").join(fingerprint);
        create(&dir).map_err(|source| HostError::Storage { action: "create", path: dir.clone(), source })?;
        Ok(Self { dir })
    }

    /// Whether there is a file for this module; it may still turn out to be damaged.
    pub(crate) fn has(&self, digest: Digest) -> bool {
        self.path(digest).exists()
    }

    /// Writes compiled code.
    pub(crate) fn put(&self, digest: Digest, mut code: Vec<u8>) -> Result<(), ProviderError> {
        let mut hasher = Xxh3::new();
        hasher.update(&code);
        code.extend_from_slice(&hasher.digest128().to_be_bytes());
        // It may have been deleted since it was opened.
        create(&self.dir).and_then(|()| replace(&self.path(digest), &code)).map_err(storage_error)
    }

    /// Removes the code of a module, if there is any.
    pub(crate) fn remove(&self, digest: Digest) {
        let _ = fs::remove_file(self.path(digest));
    }

    /// Maps compiled code into memory; `None` when there is none that can be trusted.
    pub(crate) fn load(&self, engine: &Engine, digest: Digest, kind: GuestKind) -> Option<Loaded> {
        let path = self.path(digest);
        match checksum_matches(&path) {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(%digest, "compiled code is damaged, compiling again");
                self.remove(digest);
                return None;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%digest, %error, "compiled code cannot be read, compiling again");
                return None;
            }
        }
        let loaded = match kind {
            GuestKind::CommandModule => load_module(engine, &path).map(Loaded::Module),
            GuestKind::CommandComponent | GuestKind::HttpComponent => {
                load_component(engine, &path).map(Loaded::Component)
            }
        };
        loaded
            .inspect_err(|error| {
                tracing::warn!(%digest, %error, "compiled code was refused, compiling again");
                self.remove(digest);
            })
            .ok()
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.dir.join(format!("{}.cwasm", digest.hex()))
    }
}

fn create(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn load_module(engine: &Engine, path: &Path) -> wasmtime::Result<Module> {
    // SAFETY: the file must be what `Engine::precompile_module` made, and must not change while it is
    // mapped. It lies in a directory that only we may enter, was written by `put` under a temporary name
    // and renamed, and its checksum was right a moment ago; nothing writes to a file in place, replacing
    // and deleting leave the mapped one as it is. wasmtime itself refuses code of another version,
    // target or configuration.
    unsafe { Module::deserialize_file(engine, path) }
}

fn load_component(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: as for a module; this file was made by `Engine::precompile_component`.
    unsafe { Component::deserialize_file(engine, path) }
}

fn checksum_matches(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let Some(code_bytes) = file.metadata()?.len().checked_sub(CHECKSUM_BYTES as u64) else {
        return Ok(false);
    };
    let mut hasher = Xxh3::new();
    let mut buffer = vec![0; 64 << 10];
    let mut code = (&mut file).take(code_bytes);
    loop {
        match code.read(&mut buffer)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    let mut stored = [0; CHECKSUM_BYTES];
    file.read_exact(&mut stored)?;
    Ok(hasher.digest128().to_be_bytes() == stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled() -> (tempfile::TempDir, CodeCache, Engine, Digest) {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let cache = CodeCache::open(dir.path(), "test").unwrap();
        let digest = Digest::from_sha256([1; 32]);
        let code = engine.precompile_module(b"\0asm\x01\0\0\0").unwrap();
        cache.put(digest, code).unwrap();
        (dir, cache, engine, digest)
    }

    #[test]
    fn loads_what_it_wrote() {
        let (_dir, cache, engine, digest) = compiled();
        assert!(matches!(cache.load(&engine, digest, GuestKind::CommandModule), Some(Loaded::Module(_))));
    }

    #[test]
    fn comes_back_when_it_was_deleted() {
        let (_dir, cache, engine, digest) = compiled();
        fs::remove_dir_all(&cache.dir).unwrap();
        assert!(cache.load(&engine, digest, GuestKind::CommandModule).is_none());
        cache.put(digest, engine.precompile_module(b"\0asm\x01\0\0\0").unwrap()).unwrap();
        assert!(cache.load(&engine, digest, GuestKind::CommandModule).is_some());
    }

    #[test]
    fn refuses_and_deletes_a_damaged_file() {
        let (_dir, cache, engine, digest) = compiled();
        let good = fs::read(cache.path(digest)).unwrap();
        let flipped = {
            let mut bytes = good.clone();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            bytes
        };
        for bad in [&good[..good.len() - 1], &good[..3], b"", &flipped] {
            fs::write(cache.path(digest), bad).unwrap();
            assert!(cache.load(&engine, digest, GuestKind::CommandModule).is_none());
            assert!(!cache.has(digest), "the damaged file is still there");
        }
    }

    #[test]
    fn refuses_code_of_another_engine() {
        let (_dir, cache, engine, digest) = compiled();
        let mut config = wasmtime::Config::new();
        config.consume_fuel(true);
        let other = Engine::new(&config).unwrap();
        cache.put(digest, other.precompile_module(b"\0asm\x01\0\0\0").unwrap()).unwrap();
        assert!(cache.load(&engine, digest, GuestKind::CommandModule).is_none());
    }
}
