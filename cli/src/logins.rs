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
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_norway::{Mapping, Value, from_str, to_string};

use crate::error::CliError;

/// The file's name in its directory.
pub(crate) const FILE_NAME: &str = "config.yml";

/// Largest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// What the file calls the two kinds of credentials.
const BASIC: &str = "basic";
const BEARER: &str = "oauth2";

/// The option of an entry that says until when its token is good. `faas-cli` keeps options that it does not know.
const EXPIRES: &str = "expires_at";

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

/// What a gateway's API is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// What goes into `Authorization`.
    pub(crate) header: HeaderValue,
    /// When it is good no longer, if that is known.
    pub(crate) expires: Option<Timestamp>,
}

impl From<HeaderValue> for Shown {
    fn from(header: HeaderValue) -> Self {
        Self { header, expires: None }
    }
}

impl Shown {
    /// Refuses what is good no longer.
    ///
    /// # Errors
    /// [`CliError`] that says since when.
    pub(crate) fn check(&self, url: &HttpUrl, now: Timestamp) -> Result<(), CliError> {
        match self.expires.filter(|expires| *expires <= now) {
            Some(expires) => {
                Err(CliError::failed(format!("the token for {url} expired at {expires:.0}")).hint(NEW_TOKEN))
            }
            None => Ok(()),
        }
    }

    /// Whether it is a bearer token.
    pub(crate) fn is_token(&self) -> bool {
        self.header.as_bytes().starts_with(b"Bearer ")
    }
}

/// What somebody does whose token is refused.
pub(crate) const NEW_TOKEN: &str =
    "get a new one with `bramble auth`, or keep one that you have with `bramble login --token TOKEN`";

impl Logins {
    /// The logins in this directory; none and no place for any without one.
    pub(crate) fn in_dir(directory: Option<PathBuf>) -> Self {
        Self { path: directory.map(|directory| directory.join(FILE_NAME)) }
    }

    /// What to show to a gateway, if this user is logged in there.
    ///
    /// # Errors
    /// [`CliError`] when the file cannot be used.
    pub(crate) fn of(&self, url: &HttpUrl) -> Result<Option<Shown>, CliError> {
        let Some(path) = &self.path else { return Ok(None) };
        let (document, key) = (read(path)?, key(url));
        let Some(entry) = document.auths.into_iter().find(|entry| is(entry, &key)) else { return Ok(None) };
        let scheme = if entry.auth == BEARER { "Bearer" } else { "Basic" };
        let header = HeaderValue::try_from(format!("{scheme} {}", entry.token));
        let mut header = header.map_err(|_| refused(path, &format!("the token for {key} is none")))?;
        header.set_sensitive(true);
        Ok(Some(Shown { header, expires: expires(&entry.rest) }))
    }

    /// Keeps a user and a password for a gateway, in place of what was kept for it.
    ///
    /// # Errors
    /// [`CliError`] when the file cannot be read or written.
    pub(crate) fn remember(&self, url: &HttpUrl, user: &str, password: &str) -> Result<&Path, CliError> {
        self.keep(url, BASIC, STANDARD.encode(format!("{user}:{password}")), Mapping::new())
    }

    /// Keeps a bearer token for a gateway, in place of what was kept for it, and until when it is good.
    ///
    /// # Errors
    /// As [`Self::remember`].
    pub(crate) fn remember_token(
        &self,
        url: &HttpUrl,
        token: &str,
        expires: Option<Timestamp>,
    ) -> Result<&Path, CliError> {
        let option = |time: Timestamp| {
            let pairs = [("name", EXPIRES.to_owned()), ("value", time.to_string())];
            let option: Mapping = pairs.into_iter().map(|(key, text)| (key.into(), text.into())).collect();
            ("options".into(), Value::Sequence(vec![option.into()]))
        };
        self.keep(url, BEARER, token.to_owned(), expires.map(option).into_iter().collect())
    }

    fn keep(&self, url: &HttpUrl, auth: &str, token: String, rest: Mapping) -> Result<&Path, CliError> {
        let Some(path) = &self.path else {
            let error = CliError::usage("there is no place for the login: HOME is not set");
            return Err(error.hint("name a directory with OPENFAAS_CONFIG"));
        };
        let (mut document, key) = (read(path)?, key(url));
        document.auths.retain(|entry| !is(entry, &key));
        document.auths.push(Entry { gateway: key, auth: auth.to_owned(), token, rest });
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

/// What the options of an entry say of its token's end.
fn expires(entry: &Mapping) -> Option<Timestamp> {
    let options = entry.get("options")?.as_sequence()?;
    let option = options.iter().find(|option| option.get("name").and_then(Value::as_str) == Some(EXPIRES))?;
    option.get("value")?.as_str()?.parse().ok()
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
        assert_eq!(shown.header, format!("Basic {}", STANDARD.encode("admin:pa:ss")));
        assert!(logins.forget(&url("http://pi")).unwrap() && !logins.forget(&url("http://pi")).unwrap());
        assert!(logins.of(&url("https://pi")).unwrap().is_some());
        logins.remember_token(&url("https://pi"), "abc", None).unwrap();
        let shown = logins.of(&url("https://pi")).unwrap().unwrap();
        assert_eq!((shown.header.to_str().unwrap(), shown.expires), ("Bearer abc", None));
    }

    #[test]
    fn a_token_is_good_until_it_expires() {
        let home = tempfile::tempdir().unwrap();
        let (logins, pi) = (Logins::in_dir(Some(home.path().to_owned())), url("http://pi"));
        let end: Timestamp = "2024-05-01T12:00:00Z".parse().unwrap();
        logins.remember_token(&pi, "abc", Some(end)).unwrap();
        logins.remember(&url("http://other"), "admin", "x").unwrap();
        let shown = logins.of(&pi).unwrap().unwrap();
        assert!(shown.is_token() && shown.expires == Some(end));
        assert!(shown.check(&pi, "2024-05-01T11:59:59Z".parse().unwrap()).is_ok());
        let error = shown.check(&pi, end).unwrap_err();
        assert_eq!(error.to_string(), "the token for http://pi expired at 2024-05-01T12:00:00Z");
        assert_eq!(error.hint_text(), Some(NEW_TOKEN));
    }

    #[test]
    fn reads_what_faas_cli_wrote_and_keeps_what_it_does_not_know() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(FILE_NAME);
        let text = "auths:\n- gateway: http://127.0.0.1:8080\n  auth: basic\n  token: YWRtaW46cHc=\n  options: []\n\
                    - gateway: https://far\n  auth: oauth2\n  token: abc\n  options: [{name: a, value: b}]\nmore: 1\n";
        fs::write(&path, text).unwrap();
        let logins = Logins::in_dir(Some(home.path().to_owned()));
        assert_eq!(logins.of(&url("http://127.0.0.1:8080")).unwrap().unwrap().header, "Basic YWRtaW46cHc=");
        assert_eq!(logins.of(&url("https://far")).unwrap().unwrap().header, "Bearer abc");
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
