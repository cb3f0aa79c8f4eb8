//! What the environment says: where the example functions are, and which Docker is used.

use std::ffi::OsString;
use std::path::PathBuf;

/// Where `examples/build.sh` puts the example modules: `BRAMBLE_EXAMPLES`, as the Makefile sets it, else
/// below the cache; `None` without a home directory.
pub(crate) fn examples_dir() -> Option<PathBuf> {
    if let Some(dir) = variable("BRAMBLE_EXAMPLES") {
        return Some(dir.into());
    }
    let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".cache")));
    cache.map(|cache| cache.join("bramble/examples"))
}

/// `DOCKER_HOST`, or where Docker's own command line looks without it.
pub(crate) fn docker_host() -> String {
    let host = variable("DOCKER_HOST").and_then(|host| host.into_string().ok());
    host.unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned())
}

fn variable(name: &str) -> Option<OsString> {
    std::env::vars_os().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value)
}
