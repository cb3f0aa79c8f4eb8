//! Reading the results of a run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::results::{FILE, Results, SCHEMA_VERSION};

/// What is looked at before the rest, which another version may have in another form.
#[derive(Deserialize)]
struct Version {
    schema_version: u32,
}

/// The file of results in a directory, or the file itself.
pub(crate) fn path(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(FILE) } else { path.to_owned() }
}

/// Reads the results of a run from their file or its directory.
///
/// # Errors
/// When the file cannot be read, is of another version, or is not what a run writes.
pub(crate) fn read(file_or_dir: &Path) -> Result<Results> {
    let path = path(file_or_dir);
    let text =
        std::fs::read(&path).with_context(|| format!("cannot read the results in {}", path.display()))?;
    let not_ours = || format!("{} is not what `bramble-bench suite` writes", path.display());
    let Version { schema_version } = serde_json::from_slice(&text).with_context(not_ours)?;
    ensure!(
        schema_version == SCHEMA_VERSION,
        "{} is of version {schema_version}, and this program reads version {SCHEMA_VERSION}: use the one that wrote it",
        path.display()
    );
    serde_json::from_slice(&text).with_context(not_ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_refused_before_its_form_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), r#"{"schema_version": 99, "machine": 7}"#).unwrap();
        let error = format!("{:#}", read(dir.path()).unwrap_err());
        assert!(error.contains("version 99"), "{error}");
        let error = format!("{:#}", read(&dir.path().join("none.json")).unwrap_err());
        assert!(error.contains("cannot read"), "{error}");
    }
}
