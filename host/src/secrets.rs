//! The read-only directory in which one function sees its secrets, and no other's.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bramble_provider::{FunctionName, ProviderError, SecretName};

use crate::module_store::storage_error;

/// Where a guest finds its secrets, one file each.
pub(crate) const SECRETS_PATH: &str = "/var/openfaas/secrets";

/// A directory of copies, removed when the revision that uses it is gone.
#[derive(Debug)]
pub(crate) struct SecretsView {
    dir: tempfile::TempDir,
}

impl SecretsView {
    /// Copies the named secrets of `from` to a new directory below `views`; `None` when none are named.
    ///
    /// # Errors
    /// [`ProviderError::UnknownSecret`] for one that does not exist.
    pub(crate) fn make(
        views: &Path,
        from: &Path,
        function: &FunctionName,
        secrets: &[SecretName],
    ) -> Result<Option<Self>, ProviderError> {
        if secrets.is_empty() {
            return Ok(None);
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(views).map_err(storage_error)?;
        let prefix = format!("{function}-");
        let dir = tempfile::Builder::new().prefix(&prefix).tempdir_in(views).map_err(storage_error)?;
        for name in secrets {
            let value = fs::read(from.join(name.as_str())).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    ProviderError::UnknownSecret { name: name.clone(), choices: choices(from) }
                }
                _ => ProviderError::internal(format!("reading secret {name}"), error),
            })?;
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o400)
                .open(dir.path().join(name.as_str()))
                .map_err(storage_error)?;
            io::Write::write_all(&mut file, &value).map_err(storage_error)?;
        }
        Ok(Some(Self { dir }))
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Removes what an earlier process left behind.
pub(crate) fn clear_views(views: &PathBuf) {
    if let Err(error) = fs::remove_dir_all(views)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %views.display(), "old secret views cannot be removed");
    }
}

fn choices(from: &Path) -> String {
    let names = fs::read_dir(from).into_iter().flatten().flatten();
    let mut names: Vec<String> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
