//! `manifest.json` of a directory of samples, as `examples/build.sh` writes it: what each program is, and what
//! it is asked to show that it works.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The file's name, beside the modules.
pub const FILE: &str = "manifest.json";

/// One program.
#[derive(Debug, Clone, Deserialize)]
pub struct Entry {
    /// Its name, and that of its function.
    pub name: String,
    file: Option<PathBuf>,
    /// Annotations of its function.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Its environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Its arguments.
    pub process: Option<String>,
    /// False for what is large or takes long: an example that `bramble up` leaves alone.
    #[serde(default = "yes")]
    pub sample: bool,
    /// What it can be asked.
    #[serde(default)]
    pub sample_request: Request,
    /// What it must answer to that.
    #[serde(default)]
    pub expect: Expect,
}

/// A request.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Request {
    /// Its body.
    #[serde(default)]
    pub body: String,
}

/// An answer.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Expect {
    /// Its body, where that is known.
    pub body: Option<String>,
}

impl Entry {
    /// Its module in the directory of the manifest: the file that is named, else `NAME.wasm`.
    pub fn path(&self, directory: &Path) -> PathBuf {
        directory.join(self.file.clone().unwrap_or_else(|| format!("{}.wasm", self.name).into()))
    }
}

fn yes() -> bool {
    true
}
