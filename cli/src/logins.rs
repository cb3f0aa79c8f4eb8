//! Which credentials this user has for which gateway: `~/.openfaas/config.yml`, which `faas-cli` reads and
//! writes too, so who logged in with one of the two is logged in with the other.
//!
//! The property that must hold: the file is only this user's to read, and whole whenever it is read.

use std::fs::{self, DirBuilder};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bramble_provider::HttpUrl;
use http::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_norway::{Mapping, from_str, to_string};

use crate::error::CliError;

/// The file's name in its directory.
pub(crate) const FILE_NAME: &str = "config.yml";

/// Largest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// What the file calls the two kinds of credentials.
const BASIC: &str = "basic";
const BEARER: &str = "oauth2";

/// The file with the logins; nothing is read yet.
#[derive(Debug, Clone)]
pub(crate) struct Logins {
    path: Option<PathBuf>,
}

/// What is in the file. What is not ours stays as it is.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    #[serde(default)]
    auths: Vec<Entry>,
    #[serde(flatten)]
    rest: Mapping,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    gateway: String,
    /// `basic`, or `oauth2`.
    #[serde(default)]
    auth: String,
    /// The user and the password with a colon between, in base64; or a bearer token.
    #[serde(default)]
    token: String,
    #[serde(flatten)]
    rest: Mapping,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("gateway", &self.gateway)
            .field("auth", &self.auth)
            .finish_non_exhaustive()
    }
}

impl Logins {
    /// The logins in this directory; none and no place for any without one.
    pub(crate) fn in_dir(directory: Option<PathBuf>) -> Self {
        Self { path: directory.map(|directory| directory.join(FILE_NAME)) }
    }

    /// What to show to a gateway, if this user is logged in there.
    ///
    /// # Errors
    /// [`CliError`] when the file cannot be used.
    pub(crate) fn of(&self, url: &HttpUrl) -> Result<Option<HeaderValue>, CliError> {
        let Some(path) = &self.path else { return Ok(None) };
        let (document, key) = (read(path)?, key(url));
        let Some(entry) = document.auths.into_iter().find(|entry| is(entry, &key)) else { return Ok(None) };
        let scheme = if entry.auth == BEARER { "Bearer" } else { "Basic" };
        let header = HeaderValue::try_from(format!("{scheme} {}", entry.token));
        let mut header = header.map_err(|_| refused(path, &format!("the token for {key} is none")))?;
        header.set_sensitive(true);
        Ok(Some(header))
    }

    /// Keeps a user and a password for a gateway, in place of what was kept for it.
    ///
    /// # Errors
    /// [`CliError`] when the file cannot be read or written.
    pub(crate) fn remember(&self, url: &HttpUrl, user: &str, password: &str) -> Result<&Path, CliError> {
        self.keep(url, BASIC, STANDARD.encode(format!("{user}:{password}")))
    }

    /// Keeps a bearer token for a gateway, in place of what was kept for it.
    ///
    /// # Errors
    /// As [`Self::remember`].
    pub(crate) fn remember_token(&self, url: &HttpUrl, token: &str) -> Result<&Path, CliError> {
        self.keep(url, BEARER, token.to_owned())
    }

    fn keep(&self, url: &HttpUrl, auth: &str, token: String) -> Result<&Path, CliError> {
        let Some(path) = &self.path else {
            let error = CliError::usage("there is no place for the login: HOME is not set");
            return Err(error.hint("name a directory with OPENFAAS_CONFIG"));
        };
        let (mut document, key) = (read(path)?, key(url));
        document.auths.retain(|entry| !is(entry, &key));
        document.auths.push(Entry { gateway: key, auth: auth.to_owned(), token, rest: Mapping::new() });
        write(path, &document)?;
        Ok(path)
    }

    /// Forgets what is kept for a gateway; false when there is nothing.
    ///
    /// # Errors
    /// [`CliError`] when the file cannot be read or written.
    pub(crate) fn forget(&self, url: &HttpUrl) -> Result<bool, CliError> {
        let Some(path) = &self.path else { return Ok(false) };
        let (mut document, key) = (read(path)?, key(url));
        let before = document.auths.len();
        document.auths.retain(|entry| !is(entry, &key));
        let forgot = document.auths.len() < before;
        if forgot {
            write(path, &document)?;
        }
        Ok(forgot)
    }
}

/// What goes into `Authorization` for a user and a password.
///
/// # Errors
/// [`CliError`] for a user whose name has a colon.
pub(crate) fn basic(user: &str, password: &str) -> Result<HeaderValue, CliError> {
    if user.is_empty() || user.contains(':') {
        return Err(CliError::usage(format!("{user:?} is no user's name: it is empty or has a colon")));
    }
    let header = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
    let mut header = header.map_err(|error| CliError::failed(error.to_string()))?;
    header.set_sensitive(true);
    Ok(header)
}

/// What goes into `Authorization` for a bearer token.
///
/// # Errors
/// [`CliError`] for what is no token.
pub(crate) fn bearer(token: &str) -> Result<HeaderValue, CliError> {
    let header = HeaderValue::try_from(format!("Bearer {token}")).ok().filter(|_| !token.is_empty());
    let mut header =
        header.ok_or_else(|| CliError::usage("--token is empty, or has characters that no token has"))?;
    header.set_sensitive(true);
    Ok(header)
}

/// How the file names a gateway.
fn key(url: &HttpUrl) -> String {
    url.to_string().to_lowercase()
}

fn is(entry: &Entry, key: &str) -> bool {
    entry.gateway.trim_end_matches('/').eq_ignore_ascii_case(key)
}

fn read(path: &Path) -> Result<Document, CliError> {
    let text = match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_BYTES => return Err(refused(path, "it is larger than 1 MiB")),
        _ => fs::read_to_string(path),
    };
    match text {
        Ok(text) if text.trim().is_empty() => Ok(Document::default()),
        Ok(text) => from_str(&text).map_err(|error| refused(path, &error.to_string())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Document::default()),
        Err(error) => Err(refused(path, &error.to_string())),
    }
}

fn write(path: &Path, document: &Document) -> Result<(), CliError> {
    let text = to_string(document).map_err(|error| refused(path, &error.to_string()))?;
    let directory = path.parent().unwrap_or(Path::new(""));
    let written = (|| {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        // Mode 0600, as all of its kind.
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map(drop).map_err(|error| error.error)
    })();
    written.map_err(|error: std::io::Error| refused(path, &error.to_string()))
}

fn refused(path: &Path, reason: &str) -> CliError {
    CliError::usage(format!("cannot use the logins in {}: {reason}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn url(text: &str) -> HttpUrl {
        HttpUrl::with_or_without_tls(text).unwrap()
    }

    #[test]
    fn keeps_one_login_for_each_gateway_where_nobody_else_reads_it() {
        let home = tempfile::tempdir().unwrap();
        let logins = Logins::in_dir(Some(home.path().join(".openfaas")));
        assert_eq!(logins.of(&url("http://pi")).unwrap(), None);
        logins.remember(&url("http://PI/"), "admin", "old").unwrap();
        logins.remember(&url("https://pi"), "other", "x").unwrap();
        let path = logins.remember(&url("http://pi"), "admin", "pa:ss").unwrap();
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        let shown = logins.of(&url("http://pi")).unwrap().unwrap();
        assert_eq!(shown, format!("Basic {}", STANDARD.encode("admin:pa:ss")));
        assert!(logins.forget(&url("http://pi")).unwrap() && !logins.forget(&url("http://pi")).unwrap());
        assert!(logins.of(&url("https://pi")).unwrap().is_some());
        logins.remember_token(&url("https://pi"), "abc").unwrap();
        assert_eq!(logins.of(&url("https://pi")).unwrap().unwrap(), "Bearer abc");
    }

    #[test]
    fn reads_what_faas_cli_wrote_and_keeps_what_it_does_not_know() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(FILE_NAME);
        let text = "auths:\n- gateway: http://127.0.0.1:8080\n  auth: basic\n  token: YWRtaW46cHc=\n  options: []\n\
                    - gateway: https://far\n  auth: oauth2\n  token: abc\n  options: [{name: a, value: b}]\nmore: 1\n";
        fs::write(&path, text).unwrap();
        let logins = Logins::in_dir(Some(home.path().to_owned()));
        assert_eq!(logins.of(&url("http://127.0.0.1:8080")).unwrap().unwrap(), "Basic YWRtaW46cHc=");
        assert_eq!(logins.of(&url("https://far")).unwrap().unwrap(), "Bearer abc");
        logins.forget(&url("http://127.0.0.1:8080")).unwrap();
        let left = fs::read_to_string(&path).unwrap();
        assert!(left.contains("name: a") && left.contains("more: 1") && !left.contains("8080"), "{left}");
    }

    #[test]
    fn a_file_that_is_none_is_named_and_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(FILE_NAME);
        fs::write(&path, "auths: 7\n").unwrap();
        let logins = Logins::in_dir(Some(home.path().to_owned()));
        let error = logins.remember(&url("http://pi"), "a", "b").unwrap_err();
        assert!(error.to_string().contains(FILE_NAME), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "auths: 7\n");
    }
}
