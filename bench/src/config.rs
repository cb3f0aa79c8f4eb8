//! What the environment says: only where the example functions are.

use std::ffi::OsString;
use std::path::PathBuf;

/// Where `examples/build.sh` puts the example modules; `None` without a home directory.
pub(crate) fn examples_dir() -> Option<PathBuf> {
    let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".cache")));
    cache.map(|cache| cache.join("bramble/examples"))
}

fn variable(name: &str) -> Option<OsString> {
    std::env::vars_os().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value)
}
