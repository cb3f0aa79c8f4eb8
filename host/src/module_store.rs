//! Uploaded modules on disk, by digest: `modules/sha256/<hex>.wasm` and a line of JSON-free facts beside it.
//!
//! A file appears under its name only when it is whole and on disk: it is written to a temporary
//! name, synced, and renamed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bramble_provider::{Digest, ProviderError};
use sha2::{Digest as _, Sha256};

use crate::error::HostError;
use crate::inspect::{GuestKind, Inspected};

/// A stored module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleInfo {
    /// Its digest, by which functions name it.
    pub digest: Digest,
    /// What it is.
    pub kind: GuestKind,
    /// Its size, in bytes.
    pub size_bytes: u64,
    /// What it imports, sorted: `wasi_snapshot_preview1.fd_write`, or interfaces for components.
    pub imports: Vec<String>,
}

/// The directory of modules.
#[derive(Debug)]
pub(crate) struct ModuleStore {
    dir: PathBuf,
}

/// The digest of a module's bytes.
pub(crate) fn digest_of(wasm: &[u8]) -> Digest {
    Digest::from_sha256(Sha256::digest(wasm).into())
}

impl ModuleStore {
    /// Opens `modules/sha256` below the data directory, made when it is not there.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, HostError> {
        let dir = data_dir.join("modules").join("sha256");
        fs::create_dir_all(&dir).map_err(|source| HostError::Storage {
            action: "create",
            path: dir.clone(),
            source,
        })?;
        Ok(Self { dir })
    }

    /// Stores a module; the facts come first, so that a module never stands without them.
    pub(crate) fn put(&self, digest: Digest, wasm: &[u8], facts: &Inspected) -> Result<(), ProviderError> {
        let mut text = format!("{}\n", facts.kind.as_str());
        for import in &facts.imports {
            text.push_str(import);
            text.push('\n');
        }
        write_whole(&self.facts_path(digest), text.as_bytes()).map_err(storage_error)?;
        write_whole(&self.wasm_path(digest), wasm).map_err(storage_error)
    }

    /// What is stored under a digest.
    pub(crate) fn info(&self, digest: Digest) -> Result<ModuleInfo, ProviderError> {
        let missing = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => ProviderError::UnknownModule(digest),
            _ => ProviderError::internal(format!("reading module {digest}"), error),
        };
        let size_bytes = fs::metadata(self.wasm_path(digest)).map_err(missing)?.len();
        let facts = fs::read_to_string(self.facts_path(digest)).map_err(missing)?;
        let mut lines = facts.lines();
        let kind = lines.next().and_then(GuestKind::from_word).ok_or_else(|| {
            ProviderError::internal(
                format!("reading module {digest}"),
                "its facts are damaged; upload it again",
            )
        })?;
        Ok(ModuleInfo { digest, kind, size_bytes, imports: lines.map(str::to_owned).collect() })
    }

    /// The bytes of a module, checked against the digest.
    pub(crate) fn read(&self, digest: Digest) -> Result<Vec<u8>, ProviderError> {
        let wasm = fs::read(self.wasm_path(digest)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ProviderError::UnknownModule(digest),
            _ => ProviderError::internal(format!("reading module {digest}"), error),
        })?;
        if digest_of(&wasm) != digest {
            return Err(ProviderError::internal(
                format!("reading module {digest}"),
                "the file does not have that digest; upload the module again",
            ));
        }
        Ok(wasm)
    }

    /// Every stored module, by digest.
    pub(crate) fn list(&self) -> Result<Vec<ModuleInfo>, ProviderError> {
        let reading = |error| ProviderError::internal("listing modules", error);
        let mut modules = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(reading)? {
            let name = entry.map_err(reading)?.file_name();
            let Some(hex) = name.to_str().and_then(|name| name.strip_suffix(".wasm")) else { continue };
            let Ok(digest) = Digest::parse(&format!("{}{hex}", Digest::PREFIX)) else { continue };
            modules.push(self.info(digest)?);
        }
        modules.sort_by_key(|module| module.digest);
        Ok(modules)
    }

    /// Forgets a module.
    pub(crate) fn remove(&self, digest: Digest) -> Result<(), ProviderError> {
        match fs::remove_file(self.wasm_path(digest)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ProviderError::UnknownModule(digest));
            }
            Err(error) => return Err(ProviderError::internal(format!("removing module {digest}"), error)),
        }
        // The facts alone mean nothing; a leftover is overwritten by the next upload.
        let _ = fs::remove_file(self.facts_path(digest));
        Ok(())
    }

    fn wasm_path(&self, digest: Digest) -> PathBuf {
        self.dir.join(format!("{}.wasm", digest.hex()))
    }

    fn facts_path(&self, digest: Digest) -> PathBuf {
        self.dir.join(format!("{}.facts", digest.hex()))
    }
}

/// Writes a file so that it is there whole or not at all, also after a power cut.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = staged(path, bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(parent(path))?.sync_all()
}

/// Writes a file so that no reader sees a part of it. After a power cut it may be damaged: only for what
/// is checked when it is read and can be made again. Waiting for the disk would take longer than making it.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    staged(path, bytes)?.persist(path).map(drop).map_err(|error| error.error)
}

fn staged(path: &Path, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::NamedTempFile::new_in(parent(path))?;
    file.write_all(bytes)?;
    Ok(file)
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

/// Turns a failed write into what the client can act on.
pub(crate) fn storage_error(error: io::Error) -> ProviderError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            ProviderError::OutOfStorage(format!(
                "no space left in the data directory ({error}); remove modules or functions, or enlarge it"
            ))
        }
        _ => ProviderError::internal("writing to the data directory", error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_lists_and_removes() {
        let dir = tempfile::tempdir().unwrap();
        let store = ModuleStore::open(dir.path()).unwrap();
        let wasm = b"\0asm whatever";
        let digest = digest_of(wasm);
        let facts = Inspected { kind: GuestKind::CommandModule, imports: vec!["a.b".into()] };
        store.put(digest, wasm, &facts).unwrap();
        let info = ModuleInfo { digest, kind: facts.kind, size_bytes: 13, imports: facts.imports };
        assert_eq!(store.list().unwrap(), vec![info.clone()]);
        assert_eq!(store.info(digest).unwrap(), info);
        assert_eq!(store.read(digest).unwrap(), wasm);
        store.remove(digest).unwrap();
        assert!(matches!(store.info(digest), Err(ProviderError::UnknownModule(_))));
        assert!(matches!(store.remove(digest), Err(ProviderError::UnknownModule(_))));
    }

    #[test]
    fn a_damaged_module_is_not_given_out() {
        let dir = tempfile::tempdir().unwrap();
        let store = ModuleStore::open(dir.path()).unwrap();
        let digest = digest_of(b"good");
        let facts = Inspected { kind: GuestKind::CommandModule, imports: Vec::new() };
        store.put(digest, b"evil", &facts).unwrap();
        assert!(matches!(store.read(digest), Err(ProviderError::Internal { .. })));
    }
}
