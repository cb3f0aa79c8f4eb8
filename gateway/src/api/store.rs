//! `/store/functions.json`: ready-made functions, in the form that OpenFaaS' store has.
//!
//! The list is that of `examples/`; the `bramble store` command has the same. What is deployed of it for
//! [`WASM_PLATFORM`] is told by digest, so that it is deployed like any other module.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use axum::Json;
use axum::extract::State;
use bramble_host::Upload;
use bramble_provider::Digest;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::modules;
use crate::error::GatewayError;
use crate::state::Gateway;

/// Where the list is, for everybody.
pub const PATH: &str = "/store/functions.json";

/// The platform of functions in wasm.
pub const WASM_PLATFORM: &str = "wasm32-wasi";

/// The version of the list's form.
const VERSION: &str = "0.2.1";

/// The examples, and what is to be told of them.
const EXAMPLES: &str = include_str!("../../../examples/manifest.json");

/// The functions of our store. The image for [`WASM_PLATFORM`] is the name of a file.
static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let examples: Vec<Example> = serde_json::from_str(EXAMPLES).expect("a test reads it");
    examples.into_iter().filter_map(Example::entry).collect()
});

/// A list of functions.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = StoreList)]
pub struct List {
    /// The version of its form.
    #[serde(default)]
    pub version: String,
    /// The functions.
    pub functions: Vec<Entry>,
}

/// One function of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "camelCase")]
#[schema(as = StoreFunction)]
pub struct Entry {
    /// Its title.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// What runs, by platform.
    pub images: BTreeMap<String, String>,
    /// Its command or arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fprocess: Option<String>,
    /// Where its source is.
    #[serde(rename = "repo_url", skip_serializing_if = "Option::is_none")]
    pub repo_url: Option<String>,
    /// Who wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Its environment.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Its labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Whether a container may not write to its root file system.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only_root_filesystem: bool,
}

/// One object of `examples/manifest.json`, as far as the store has it.
#[derive(Debug, Deserialize)]
struct Example {
    name: String,
    file: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    process: Option<String>,
    /// Only of those that are in the store.
    store: Option<Told>,
}

#[derive(Debug, Deserialize)]
struct Told {
    title: String,
    description: String,
    #[serde(default)]
    images: BTreeMap<String, String>,
}

impl Example {
    fn entry(self) -> Option<Entry> {
        let Told { title, description, mut images } = self.store?;
        images.insert(WASM_PLATFORM.to_owned(), self.file);
        Some(Entry {
            title,
            name: self.name,
            description,
            images,
            fprocess: self.process,
            environment: self.env,
            annotations: self.annotations,
            ..Entry::default()
        })
    }
}

impl Entry {
    /// What runs on a platform, whose name is in any case.
    pub fn image(&self, platform: &str) -> Option<&str> {
        let found = self.images.iter().find(|(known, _)| known.eq_ignore_ascii_case(platform));
        found.map(|(_, image)| image.as_str())
    }

    /// The platforms that it is for.
    pub fn platforms(&self) -> String {
        self.images.keys().map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

/// The functions of our store, where the image for [`WASM_PLATFORM`] is the name of the file that
/// `examples/build.sh` makes.
pub fn entries() -> &'static [Entry] {
    &ENTRIES
}

/// The names of all files.
pub(crate) fn files() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().filter_map(|entry| entry.image(WASM_PLATFORM))
}

/// What can be deployed from here.
#[utoipa::path(
    get, path = "/store/functions.json", operation_id = "listStore", tag = "functions",
    security(()),
    responses(
        (status = 200, description = "ready-made functions, in the form of OpenFaaS' store", body = List),
    ),
)]
pub(super) async fn list(State(gateway): State<Arc<Gateway>>) -> Result<Json<List>, GatewayError> {
    let digests = gateway.catalogue.digests().await?;
    let functions = ENTRIES.iter().filter_map(|entry| with_digest(entry, &digests)).collect();
    Ok(Json(List { version: VERSION.to_owned(), functions }))
}

/// The entry with the digest of its module, or without it where there is none; `None` when nothing is left.
fn with_digest(entry: &Entry, digests: &HashMap<&str, Digest>) -> Option<Entry> {
    let mut entry = entry.clone();
    let file = entry.images.remove(WASM_PLATFORM);
    if let Some(digest) = file.and_then(|file| digests.get(file.as_str())) {
        entry.images.insert(WASM_PLATFORM.to_owned(), digest.to_string());
    }
    (!entry.images.is_empty()).then_some(entry)
}

/// Stores a module that nobody uploaded, where it is one of the store. Nobody can remove it while what this answers
/// lives.
pub(super) async fn provide(
    gateway: &Gateway,
    module: Digest,
) -> Result<Option<modules::Taken>, GatewayError> {
    let Some(file) = gateway.catalogue.find(module).await? else { return Ok(None) };
    let _permit = modules::permit(gateway).await?;
    let upload = Upload::hash(gateway.catalogue.read(file).await?).await?;
    modules::store(gateway, upload).await.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_that_of_the_examples() {
        let figlet = entries().iter().find(|entry| entry.name == "figlet").unwrap();
        assert_eq!(figlet.image("WASM32-wasi"), Some("figlet.wasm"));
        assert!(figlet.image("arm64").unwrap().contains("figlet"));
        assert_eq!(figlet.environment["content_type"], "text/plain; charset=utf-8");
        for entry in entries() {
            assert!(!entry.title.is_empty() && !entry.description.is_empty(), "{entry:?}");
        }
    }

    #[test]
    fn a_module_is_told_by_its_digest_or_not_at_all() {
        let entry = |name: &str| entries().iter().find(|entry| entry.name == name).unwrap();
        let digest = Digest::from_sha256([7; 32]);
        let digests = HashMap::from([("figlet.wasm", digest)]);
        let figlet = with_digest(entry("figlet"), &digests).unwrap();
        assert_eq!(figlet.image(WASM_PLATFORM), Some(digest.to_string().as_str()));
        assert_eq!(with_digest(entry("nodeinfo"), &digests).unwrap().platforms(), "arm64 armhf x86_64");
        assert_eq!(with_digest(entry("http-hello"), &digests), None);
    }
}
