//! The read-only directory in which one function sees its secrets, and no other's.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bramble_provider::{DEFAULT_NAMESPACE, FunctionName, ProviderError, SecretName};

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
            show(dir.path(), name, &read(from, function.namespace(), name)?)?;
        }
        Ok(Some(Self { dir }))
    }

    /// Shows the value that a secret has now. A guest that has the file open goes on reading the old one.
    ///
    /// # Errors
    /// As [`Self::make`].
    pub(crate) fn refresh(
        &self,
        from: &Path,
        namespace: &str,
        name: &SecretName,
    ) -> Result<(), ProviderError> {
        show(self.path(), name, &read(from, namespace, name)?)
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

fn read(from: &Path, namespace: &str, name: &SecretName) -> Result<Vec<u8>, ProviderError> {
    fs::read(from.join(name.in_namespace(namespace))).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            ProviderError::UnknownSecret { name: name.clone(), choices: choices(from, namespace) }
        }
        _ => ProviderError::internal(format!("reading secret {name}"), error),
    })
}

/// Puts a value into a view, in place of the one before: a guest sees either, and whole.
fn show(view: &Path, name: &SecretName, value: &[u8]) -> Result<(), ProviderError> {
    // Beside the view, on the same disk: guests list what is in it.
    let beside = view.parent().unwrap_or(view);
    let mut options = tempfile::Builder::new();
    let file = options.permissions(fs::Permissions::from_mode(0o400)).tempfile_in(beside);
    let mut file = file.map_err(storage_error)?;
    io::Write::write_all(&mut file, value).map_err(storage_error)?;
    file.persist(view.join(name.as_str())).map(drop).map_err(|error| storage_error(error.error))
}

/// The secrets of a namespace, for the message about another one.
fn choices(from: &Path, namespace: &str) -> String {
    let names = fs::read_dir(from).into_iter().flatten().flatten();
    let own = |file: String| {
        let (name, of) = file.rsplit_once('_').unwrap_or((&file, DEFAULT_NAMESPACE));
        (of == namespace).then(|| SecretName::parse(name).ok()).flatten()
    };
    let names = names.filter_map(|entry| own(entry.file_name().into_string().ok()?));
    let mut names: Vec<String> = names.map(|name| name.to_string()).collect();
    names.sort();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
