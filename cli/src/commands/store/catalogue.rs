//! A store: a `functions.json`, and where its wasm files are.

use std::path::{Path, PathBuf};

use anyhow::Result;
use bramble_gateway::api::store::{Entry, List, entries};

use crate::error::{CliError, Exit};
use crate::fetch;
use crate::rollout::LocalModule;

/// Largest list.
const MAX_LIST_BYTES: u64 = 16 << 20;

/// Largest wasm file that is fetched.
const MAX_MODULE_BYTES: u64 = 128 << 20;

/// The functions of a store.
#[derive(Debug)]
pub(super) struct Catalogue {
    source: Source,
    entries: Vec<Entry>,
}

#[derive(Debug, PartialEq, Eq)]
enum Source {
    Ours,
    File(PathBuf),
    Url(String),
}

impl Catalogue {
    /// Reads the list that is named, or ours.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub(super) async fn read(named: Option<&str>, directory: &Path) -> Result<Self> {
        let (source, text) = match named {
            None => return Ok(Self { source: Source::Ours, entries: entries().to_vec() }),
            Some(url) if url.contains("://") => {
                (Source::Url(url.to_owned()), fetch::get(url, MAX_LIST_BYTES).await?.to_vec())
            }
            Some(path) => {
                let full = directory.join(path);
                let read = std::fs::read(&full);
                let text = read.map_err(|error| CliError::usage(format!("cannot read {path}: {error}")))?;
                (Source::File(full), text)
            }
        };
        let list: List = serde_json::from_slice(&text).map_err(|error| {
            CliError::usage(format!("{} is no list of functions: {error}", named.unwrap_or("the store")))
        })?;
        Ok(Self { source, entries: list.functions })
    }

    /// Where it came from, for messages.
    pub(super) fn source(&self) -> String {
        match &self.source {
            Source::Ours => "Bramble's store".to_owned(),
            Source::File(path) => path.display().to_string(),
            Source::Url(url) => url.clone(),
        }
    }

    /// Its functions.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The function of a name.
    ///
    /// # Errors
    /// [`CliError`] of kind not found, with what may have been meant.
    pub(super) fn find(&self, name: &str) -> Result<&Entry, CliError> {
        self.entries.iter().find(|entry| entry.name == name).ok_or_else(|| {
            let error = CliError::new(Exit::NotFound, format!("{} has no function {name:?}", self.source()));
            let alike =
                self.entries.iter().map(|entry| (strsim::jaro_winkler(name, &entry.name), &entry.name));
            match alike.filter(|(likeness, _)| *likeness > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)) {
                Some((_, like)) => error.hint(format!("did you mean {like}?")),
                None => error.hint("`bramble store list` names those there are"),
            }
        })
    }

    /// What runs: an image, or a wasm file beside the list, read.
    ///
    /// # Errors
    /// When there is nothing for the platform, or the file is not there.
    pub(super) async fn code(
        &self,
        entry: &Entry,
        platform: &str,
        samples: Option<&Path>,
    ) -> Result<(String, Option<LocalModule>)> {
        let image = entry.image(platform).ok_or_else(|| {
            CliError::usage(format!("{} has nothing for the platform {platform:?}", entry.name))
                .hint(format!("choose one with --platform: {}", entry.platforms()))
        })?;
        if !image.ends_with(".wasm") {
            return Ok((image.to_owned(), None));
        }
        let from_file = |path: PathBuf| {
            std::fs::read(&path)
                .map_err(|error| CliError::usage(format!("cannot read {}: {error}", path.display())))
        };
        let wasm = match &self.source {
            _ if image.contains("://") => fetch::get(image, MAX_MODULE_BYTES).await?,
            Source::Url(url) => {
                let folder = url.rsplit_once('/').map_or(url.as_str(), |(folder, _)| folder);
                fetch::get(&format!("{folder}/{image}"), MAX_MODULE_BYTES).await?
            }
            Source::File(list) => from_file(list.parent().unwrap_or(Path::new(".")).join(image))?.into(),
            Source::Ours => {
                let samples = samples.ok_or_else(|| {
                    CliError::usage(format!("where is {image}?")).hint(
                        "name the folder with the samples by --samples, which examples/build.sh of the sources \
                         fills; or a gateway that has them: --url http://127.0.0.1:8080/store/functions.json",
                    )
                })?;
                from_file(samples.join(image))?.into()
            }
        };
        let module = LocalModule::new(wasm);
        Ok((module.digest.clone(), Some(module)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bramble_gateway::api::store::WASM_PLATFORM;

    #[tokio::test]
    async fn ours_is_a_store() {
        let ours = Catalogue::read(None, Path::new(".")).await.unwrap();
        assert!(ours.entries().iter().all(|entry| entry.image(WASM_PLATFORM).is_some()));
        let error = ours.find("figlit").unwrap_err();
        assert_eq!((error.exit(), error.hint_text()), (Exit::NotFound, Some("did you mean figlet?")));
        let figlet = ours.find("figlet").unwrap();
        assert!(ours.code(figlet, "riscv64", None).await.is_err());
        assert!(ours.code(figlet, "X86_64", None).await.unwrap().1.is_none());
    }
}
