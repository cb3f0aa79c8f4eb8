//! Templates from elsewhere: a folder or a git repository with a `template` folder in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::{FOLDER, MANIFEST, place, read_folder};
use crate::error::CliError;

/// The variable that names where templates come from, faas-cli's.
pub(crate) const ADDRESS_VARIABLE: &str = "OPENFAAS_TEMPLATE_URL";

/// Copies the templates at `address` to `directory/template`, `only` one of them or all; answers their
/// names. Those that are there stay, unless they are to be overwritten.
///
/// # Errors
/// When there is none at the address, or git fails.
pub(crate) fn pull(
    address: &str,
    directory: &Path,
    only: Option<&str>,
    overwrite: bool,
) -> Result<Vec<String>> {
    let local = directory.join(address);
    // Removed when it goes out of scope.
    let cloned = if local.is_dir() { None } else { Some(Clone::of(address, directory)?) };
    let root = cloned.as_ref().map_or(local.as_path(), |cloned| cloned.folder.as_path());
    let templates = root.join(FOLDER);
    let entries = std::fs::read_dir(&templates)
        .map_err(|error| CliError::failed(format!("{address} has no folder `{FOLDER}`: {error}")))?;
    let mut pulled = Vec::new();
    for entry in entries {
        let folder = entry.context("reading the templates")?.path();
        let Some(name) = folder.file_name().and_then(|name| name.to_str()) else { continue };
        if !folder.join(MANIFEST).is_file() || only.is_some_and(|only| only != name) {
            continue;
        }
        let target = directory.join(FOLDER).join(name);
        if target.exists() && !overwrite {
            return Err(CliError::failed(format!("template {name} is there already: {}", target.display()))
                .hint("--overwrite replaces it")
                .into());
        }
        // Before anything is removed: it may not be readable, or too much.
        let files = read_folder(&folder, None)?;
        // Files that a new version does not have any more would be part of every build.
        if target.exists() {
            if folder.canonicalize().ok() == target.canonicalize().ok() {
                let message = format!("{address} is where the templates are: {}", target.display());
                return Err(CliError::usage(message).hint("name the folder that has others").into());
            }
            std::fs::remove_dir_all(&target).with_context(|| format!("removing {}", target.display()))?;
        }
        place(&files, &target)?;
        pulled.push(name.to_owned());
    }
    if pulled.is_empty() {
        let what = only.map_or("no template".to_owned(), |only| format!("no template {only}"));
        return Err(CliError::failed(format!("{address} has {what} with a {MANIFEST}")).into());
    }
    pulled.sort();
    Ok(pulled)
}

/// A repository in a temporary folder.
#[derive(Debug)]
struct Clone {
    folder: PathBuf,
}

impl Clone {
    fn of(address: &str, directory: &Path) -> Result<Self> {
        let (address, reference) =
            address.split_once('#').map_or((address, None), |(address, r)| (address, Some(r)));
        if address.starts_with('-') || reference.is_some_and(|reference| reference.starts_with('-')) {
            return Err(CliError::usage(format!("{address} is no git address")).into());
        }
        let clone = Self { folder: directory.join(format!(".bramble-pull-{}", std::process::id())) };
        let mut git = Command::new("git");
        git.args(["clone", "--quiet", "--depth", "1"]);
        if let Some(reference) = reference {
            git.args(["--branch", reference]);
        }
        // A repository that asks for a password is one that is not there.
        git.env("GIT_TERMINAL_PROMPT", "0").arg("--").arg(address).arg(&clone.folder).stdin(Stdio::null());
        let output = git.output().map_err(|error| {
            CliError::failed(format!("git does not start: {error}"))
                .hint("install git, or give the path of a folder that has the templates")
        })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(CliError::failed(format!("cannot clone {address}: {}", said.trim())).into());
        }
        Ok(clone)
    }
}

impl Drop for Clone {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_not_replaced_by_themselves() {
        let directory = tempfile::tempdir().unwrap();
        let mine = directory.path().join("template/mine");
        std::fs::create_dir_all(&mine).unwrap();
        std::fs::write(mine.join(MANIFEST), "language: mine\n").unwrap();
        std::os::unix::fs::symlink(directory.path(), directory.path().join("link")).unwrap();
        for address in [".", "./link"] {
            let error = pull(address, directory.path(), None, true).unwrap_err();
            assert!(error.to_string().contains("where the templates are"), "{error}");
            assert!(mine.join(MANIFEST).exists(), "{address}");
        }
    }

    #[test]
    fn what_cannot_be_read_replaces_nothing() {
        let directory = tempfile::tempdir().unwrap();
        for (folder, file) in [("template/a", "mine"), ("new/template/a", "theirs")] {
            let folder = directory.path().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(MANIFEST), "language: a\n").unwrap();
            std::fs::write(folder.join(file), "").unwrap();
        }
        let lost = directory.path().join("new/template/a/lost");
        std::os::unix::fs::symlink("nowhere", &lost).unwrap();
        assert!(pull("new", directory.path(), None, true).is_err());
        assert!(directory.path().join("template/a/mine").exists());
        std::fs::remove_file(lost).unwrap();
        pull("new", directory.path(), None, true).unwrap();
        assert!(directory.path().join("template/a/theirs").exists());
        assert!(!directory.path().join("template/a/mine").exists());
    }
}
