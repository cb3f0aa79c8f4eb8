//! Templates: what a new function begins as, and how it is built.
//!
//! A template is a folder with a `template.yml`. Those of Bramble are in this binary; others are in
//! `./template/NAME`, where `bramble template pull` and faas-cli put them, and go first.

mod files;
mod pull;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use include_dir::{Dir, include_dir};
use serde::Deserialize;

use crate::error::CliError;
pub(crate) use files::{File, is_executable, list_folder, place, read_folder, sync};
pub(crate) use pull::{ADDRESS_VARIABLE, pull};

static EMBEDDED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates");

/// The sources that functions in Rust are given: the template has them by path, so that the first
/// build needs no registry.
static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../sdk/src");

/// What finds or makes a compiler for wasm; the repository's own builds use the same.
const WASM_TARGET: &[u8] = include_bytes!("../../scripts/wasm-target.sh");
const LIBC_ADDITIONS: &[u8] = include_bytes!("../../scripts/wasm-target/libc_additions.rs");

/// Where templates are that are not ours, below the current folder.
pub(crate) const FOLDER: &str = "template";

/// The folder of a template that becomes the function's source.
const SOURCE: &str = "function";

/// What describes a template.
const MANIFEST: &str = "template.yml";

/// What a template's builds make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A wasm file, by its `build` script.
    Wasm,
    /// A container image, by its Dockerfile.
    Image,
}

/// A template.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    name: String,
    manifest: Manifest,
    /// `None` for one of ours.
    folder: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Manifest {
    description: Option<String>,
    build: Option<String>,
    handler_folder: Option<PathBuf>,
    welcome_message: Option<String>,
    fprocess: Option<String>,
    build_options: Vec<BuildOption>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct BuildOption {
    name: String,
    packages: Vec<String>,
}

/// The templates that can be used in a folder.
#[derive(Debug, Clone)]
pub(crate) struct Templates {
    folder: PathBuf,
}

impl Templates {
    /// Ours, and those in `directory/template`.
    pub(crate) fn beside(directory: &Path) -> Self {
        Self { folder: directory.join(FOLDER) }
    }

    /// The template of this name, if there is one.
    ///
    /// # Errors
    /// When its description cannot be read.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Template>> {
        if !is_name(name) {
            return Ok(None);
        }
        if let Some(folder) = self.folder(name) {
            return Template::in_folder(name, folder).map(Some);
        }
        let embedded = EMBEDDED.get_dir(name).map(|_| Template::embedded(name));
        Ok(embedded)
    }

    /// The folder of a template of this name that is not ours, if there is one.
    pub(crate) fn folder(&self, name: &str) -> Option<PathBuf> {
        let folder = self.folder.join(name);
        Some(folder).filter(|folder| is_name(name) && folder.is_dir())
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(crate) fn list(&self) -> Result<Vec<Template>> {
        let mut names: Vec<String> = EMBEDDED.dirs().map(|dir| dir.path().display().to_string()).collect();
        if let Ok(folders) = std::fs::read_dir(&self.folder) {
            let folders = folders.filter_map(Result::ok).filter(|folder| folder.path().is_dir());
            names.extend(folders.filter_map(|folder| folder.file_name().into_string().ok()));
        }
        names.sort();
        names.dedup();
        let found: Result<Vec<_>> = names.iter().map(|name| self.find(name)).collect();
        Ok(found?.into_iter().flatten().collect())
    }

    /// The template whose name is most like this one.
    pub(crate) fn like(&self, name: &str) -> Option<String> {
        let names = self.list().unwrap_or_default().into_iter().map(|template| template.name);
        let alike = names.map(|known| (strsim::jaro_winkler(&name.to_lowercase(), &known), known));
        alike.filter(|(likeness, _)| *likeness > 0.7).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
    }
}

/// A template's name is a folder's; anything else is somebody else's folder.
fn is_name(name: &str) -> bool {
    !(name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.'))
}

impl Template {
    fn embedded(name: &str) -> Self {
        let manifest = EMBEDDED.get_file(format!("{name}/{MANIFEST}"));
        let manifest = manifest.and_then(|file| serde_norway::from_slice(file.contents()).ok());
        Self { name: name.to_owned(), manifest: manifest.unwrap_or_default(), folder: None }
    }

    fn in_folder(name: &str, folder: PathBuf) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            CliError::usage(format!("template {name}: cannot read {}: {error}", path.display()))
        })?;
        let manifest = serde_norway::from_str(&text)
            .map_err(|error| CliError::usage(format!("template {name}: {}: {error}", path.display())))?;
        Ok(Self { name: name.to_owned(), manifest, folder: Some(folder) })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it builds.
    pub(crate) fn kind(&self) -> Kind {
        if self.manifest.build.is_some() { Kind::Wasm } else { Kind::Image }
    }

    /// The script that builds, of a wasm template.
    pub(crate) fn build_script(&self) -> Option<&str> {
        self.manifest.build.as_deref()
    }

    /// What it is, in a line.
    pub(crate) fn description(&self) -> &str {
        self.manifest.description.as_deref().unwrap_or_default()
    }

    /// What to do next, for somebody who made a function with it.
    pub(crate) fn welcome(&self) -> Option<&str> {
        self.manifest.welcome_message.as_deref().map(str::trim).filter(|text| !text.is_empty())
    }

    /// The command of its containers, for those that do not say it in their image.
    pub(crate) fn fprocess(&self) -> Option<&str> {
        self.manifest.fprocess.as_deref().filter(|words| !words.is_empty())
    }

    /// Where it is, for one that is not ours.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Where the function's source is put for its build.
    pub(crate) fn handler_folder(&self) -> PathBuf {
        let default = if self.name == "dockerfile" { "." } else { SOURCE };
        self.manifest.handler_folder.clone().unwrap_or_else(|| default.into())
    }

    /// The packages that an option of the build stands for.
    pub(crate) fn packages(&self, option: &str) -> Option<&[String]> {
        let options = self.manifest.build_options.iter();
        options.filter(|known| known.name == option).map(|known| known.packages.as_slice()).next()
    }

    /// What a new function of it begins with.
    ///
    /// # Errors
    /// When its folder cannot be read.
    pub(crate) fn source_files(&self) -> Result<Vec<File>> {
        self.all_files().map(|files| files.into_iter().filter_map(|file| file.below(SOURCE)).collect())
    }

    /// What is put beside a function's source to build it.
    ///
    /// # Errors
    /// When its folder cannot be read.
    pub(crate) fn build_files(&self) -> Result<Vec<File>> {
        Ok(self.all_files()?.into_iter().filter(|file| !file.path.starts_with(SOURCE)).collect())
    }

    /// All of it, as it lies in its folder.
    ///
    /// # Errors
    /// When its folder cannot be read.
    pub(crate) fn all_files(&self) -> Result<Vec<File>> {
        if let Some(folder) = &self.folder {
            return read_folder(folder, None).with_context(|| format!("reading the template {}", self.name));
        }
        let mut files = Vec::new();
        if let Some(dir) = EMBEDDED.get_dir(&self.name) {
            embedded_files(dir, Path::new(&self.name), Path::new(""), &mut files);
        }
        if let ("assemblyscript" | "javascript", Some(node)) = (&*self.name, EMBEDDED.get_file("node.sh")) {
            files.push(File::new("tools/node.sh", node.contents()));
        }
        if self.name == "rust" {
            embedded_files(&SDK, Path::new(""), Path::new("function/bramble-sdk/src"), &mut files);
            files.push(File::new("tools/wasm-target.sh", WASM_TARGET));
            files.push(File::new("tools/wasm-target/libc_additions.rs", LIBC_ADDITIONS));
        }
        Ok(files)
    }
}

/// The files below an embedded folder: without `strip`, below `onto`.
fn embedded_files(dir: &'static Dir<'static>, strip: &Path, onto: &Path, files: &mut Vec<File>) {
    for file in dir.files() {
        let path = file.path().strip_prefix(strip).unwrap_or(file.path());
        files.push(File::new(onto.join(path), file.contents()));
    }
    for inner in dir.dirs() {
        embedded_files(inner, strip, onto, files);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_of_ours_is_whole() {
        let templates = Templates::beside(Path::new("/nowhere"));
        let names: Vec<_> = templates.list().unwrap().into_iter().map(|template| template.name).collect();
        for name in ["assemblyscript", "c", "dockerfile", "go", "javascript", "python", "rust", "zig"] {
            assert!(names.iter().any(|known| known == name), "there is no template {name}");
        }
        for name in names {
            let template = templates.find(&name).unwrap().unwrap();
            assert!(!template.description().is_empty(), "{name} says nothing of itself");
            assert!(!template.source_files().unwrap().is_empty(), "{name} has no function");
            let built_by = template.build_files().unwrap();
            let script = template.build_script().map(PathBuf::from);
            assert!(script.is_none_or(|script| built_by.iter().any(|file| file.path == script)), "{name}");
            let reads_node = built_by
                .iter()
                .any(|file| String::from_utf8_lossy(&file.content).contains(". tools/node.sh"));
            let has_node = built_by.iter().any(|file| file.path == Path::new("tools/node.sh"));
            assert_eq!(reads_node, has_node, "{name}");
        }
    }

    #[test]
    fn a_folder_goes_before_ours_and_nothing_else_is_reached() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("template/rust/function");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("x"), "mine").unwrap();
        std::fs::write(directory.path().join("template/rust/template.yml"), "language: rust\n").unwrap();
        let templates = Templates::beside(directory.path());
        let rust = templates.find("rust").unwrap().unwrap();
        assert_eq!((rust.kind(), rust.source_files().unwrap().len()), (Kind::Image, 1));
        for name in ["../template/rust", ".", "", "nobody"] {
            assert!(templates.find(name).unwrap().is_none(), "{name:?}");
        }
        assert_eq!(templates.like("rsut").as_deref(), Some("rust"));
    }

    #[test]
    fn the_rust_template_has_the_sdk_in_it() {
        let rust = Template::embedded("rust");
        let files = rust.source_files().unwrap();
        assert!(files.iter().any(|file| file.path == Path::new("bramble-sdk/src/lib.rs")));
        assert!(files.iter().any(|file| file.path == Path::new("Cargo.toml")));
        assert!(rust.build_files().unwrap().iter().all(|file| !file.path.starts_with("function")));
    }
}
