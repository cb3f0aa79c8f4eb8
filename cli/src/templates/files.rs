//! Folders of source as lists of files, and back.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::error::CliError;

/// Most files of one folder.
const MAX_FILES: usize = 20_000;

/// Largest file.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// Folders that are made by builds or belong to tools.
const SKIPPED: [&str; 3] = ["target", "node_modules", ".git"];

/// Names what [`sync`] put into a folder, so that the next one can take away what is gone.
const LIST: &str = ".bramble-files";

/// A file of a template or of a function's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// Below its folder.
    pub(crate) path: PathBuf,
    /// What is in it.
    pub(crate) content: Cow<'static, [u8]>,
    /// Whether it can be run.
    pub(crate) executable: bool,
}

impl File {
    /// A file that is in this binary.
    pub(crate) fn new(path: impl Into<PathBuf>, content: &'static [u8]) -> Self {
        let path = path.into();
        let executable = path.extension().is_some_and(|extension| extension == "sh");
        Self { path, content: content.into(), executable }
    }

    /// The same below this folder, if it is there.
    pub(crate) fn below(mut self, folder: &str) -> Option<Self> {
        self.path = self.path.strip_prefix(folder).ok()?.to_owned();
        Some(self)
    }

    /// The same in another folder.
    pub(crate) fn onto(mut self, folder: &Path) -> Self {
        let path = folder.join(&self.path);
        self.path = path.components().filter(|part| *part != Component::CurDir).collect();
        self
    }
}

/// Reads a folder with all below it, but for what builds make and what is in the folder `without`.
///
/// # Errors
/// When something cannot be read, or is too much to be a function's source.
pub(crate) fn read_folder(folder: &Path, without: Option<&Path>) -> Result<Vec<File>> {
    let read = |(path, metadata): (PathBuf, fs::Metadata)| {
        let full = folder.join(&path);
        let content = fs::read(&full).with_context(|| format!("reading {}", full.display()))?;
        Ok(File { path, content: content.into(), executable: is_executable(&metadata) })
    };
    list_folder(folder, without)?.into_iter().map(read).collect()
}

/// Whether a file can be run by somebody.
pub(crate) fn is_executable(metadata: &fs::Metadata) -> bool {
    metadata.permissions().mode() & 0o111 != 0
}

/// The files that [`read_folder`] reads, in order, with what the file system knows of them.
///
/// # Errors
/// As [`read_folder`].
pub(crate) fn list_folder(folder: &Path, without: Option<&Path>) -> Result<Vec<(PathBuf, fs::Metadata)>> {
    // One that is not there holds nothing.
    let without = without.and_then(|without| without.canonicalize().ok());
    let is_left_out = |folder: &Path| {
        // Most names differ already, which spares asking the file system.
        let alike = without.as_ref().filter(|without| without.file_name() == folder.file_name());
        alike.is_some_and(|without| folder.canonicalize().is_ok_and(|folder| folder == *without))
    };
    let (mut files, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(below) = folders.pop() {
        let current = folder.join(&below);
        let entries = fs::read_dir(&current).with_context(|| format!("reading {}", current.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("reading {}", current.display()))?;
            let name = entry.file_name();
            let (path, full) = (below.join(&name), entry.path());
            let kind = entry.file_type().with_context(|| format!("reading {}", full.display()))?;
            if kind.is_dir() {
                if !SKIPPED.iter().any(|skipped| name == *skipped) && !is_left_out(&full) {
                    folders.push(path);
                }
                continue;
            }
            // A link to a file is what it points to; one to a folder may lead anywhere.
            let metadata = fs::metadata(&full).with_context(|| format!("reading {}", full.display()))?;
            if !metadata.is_file() {
                continue;
            }
            if files.len() == MAX_FILES || metadata.len() > MAX_FILE_BYTES {
                let message = format!("{} is no source of a function", folder.display());
                let path = path.display();
                return Err(CliError::usage(message)
                    .hint(format!("it has more than {MAX_FILES} files, or one of more than 256 MiB: {path}"))
                    .into());
            }
            files.push((path, metadata));
        }
    }
    files.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(files)
}

/// Writes files into a folder. The content of one that is the same is not touched, so that compilers see no
/// change.
///
/// # Errors
/// When something cannot be written.
pub(crate) fn place(files: &[File], folder: &Path) -> Result<()> {
    for file in files {
        let path = folder.join(&file.path);
        let is_the_same = fs::read(&path).is_ok_and(|there| there == *file.content);
        let write = || {
            if is_the_same && is_executable(&fs::metadata(&path)?) == file.executable {
                return Ok(());
            }
            if !is_the_same {
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                fs::write(&path, &file.content)?;
            }
            let mode = if file.executable { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
        };
        write().with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// As [`place`], and removes what an earlier call put there and this one does not.
///
/// # Errors
/// As [`place`].
pub(crate) fn sync(files: &[File], folder: &Path) -> Result<()> {
    let list = folder.join(LIST);
    let now: BTreeSet<String> = files.iter().map(|file| file.path.display().to_string()).collect();
    for earlier in fs::read_to_string(&list).unwrap_or_default().lines() {
        let inside = Path::new(earlier).components().all(|part| matches!(part, Component::Normal(_)));
        if inside && !now.contains(earlier) {
            // Gone already is as good.
            let _ = fs::remove_file(folder.join(earlier));
        }
    }
    place(files, folder)?;
    let text: String = now.iter().map(|path| format!("{path}\n")).collect();
    fs::write(&list, text).with_context(|| format!("writing {}", list.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_from_the_source_is_gone_from_the_build() {
        let directory = tempfile::tempdir().unwrap();
        let (source, build) = (directory.path().join("source"), directory.path().join("build"));
        fs::create_dir_all(source.join("a/target")).unwrap();
        for file in ["a/kept", "a/gone", "a/target/made"] {
            fs::write(source.join(file), file).unwrap();
        }
        sync(&read_folder(&source, None).unwrap(), &build).unwrap();
        fs::write(build.join("made-by-the-build"), "").unwrap();
        fs::remove_file(source.join("a/gone")).unwrap();
        sync(&read_folder(&source, None).unwrap(), &build).unwrap();
        let exists = |file: &str| build.join(file).exists();
        assert!(exists("a/kept") && exists("made-by-the-build"));
        assert!(!exists("a/gone") && !exists("a/target/made"));
    }

    #[test]
    fn what_is_the_same_is_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let file = [File::new("x.sh", b"one")];
        place(&file, directory.path()).unwrap();
        let metadata = fs::metadata(directory.path().join("x.sh")).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o755);
        place(&file, directory.path()).unwrap();
        let again = fs::metadata(directory.path().join("x.sh")).unwrap();
        assert_eq!(metadata.modified().unwrap(), again.modified().unwrap());
    }

    #[test]
    fn who_may_run_a_file_follows_its_source() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run");
        for executable in [false, true, false] {
            let file = File { path: "run".into(), content: (&b"same"[..]).into(), executable };
            place(&[file], directory.path()).unwrap();
            assert_eq!(is_executable(&fs::metadata(&path).unwrap()), executable);
        }
    }

    #[test]
    fn one_folder_is_left_out_wherever_the_walk_begins() {
        let directory = tempfile::tempdir().unwrap();
        for file in ["stack/build/a", "stack/fn/build/kept", "stack/main"] {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let build = directory.path().join("stack/build");
        let names = |folder: &str| -> Vec<_> {
            let files = list_folder(&directory.path().join(folder), Some(&build)).unwrap();
            files.into_iter().map(|(path, _)| path.display().to_string()).collect()
        };
        assert_eq!(names("stack/."), ["fn/build/kept", "main"]);
        assert_eq!(names(""), ["stack/fn/build/kept", "stack/main"]);
        assert_eq!(names("stack/fn"), ["build/kept"]);
    }
}
