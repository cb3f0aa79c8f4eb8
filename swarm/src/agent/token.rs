//! What a gateway shows to an agent, so that nobody else freezes containers.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use http::HeaderValue;
use sha2::{Digest, Sha256};

/// Fewest characters: what 16 random bytes have as hexadecimal digits.
const MIN_LENGTH: usize = 32;
/// Most: a file of more is something else.
const MAX_LENGTH: usize = 4_096;
/// Where a gateway keeps the one that it made.
const FILE_NAME: &str = "agent-token";
/// Random bytes in the ones that are made.
const RANDOM_BYTES: usize = 32;

/// A secret that gateway and agents share.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

/// A file that holds no usable token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read or made.
    #[error("cannot use the agents' token in {}: {source}", path.display())]
    File {
        /// Where it was looked for.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// It is no token.
    #[error(
        "the agents' token in {} {reason}; make one with `head -c 32 /dev/urandom | base64`",
        path.display()
    )]
    Unusable {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Token {
    /// Reads a token from a file; white space around it does not count.
    ///
    /// # Errors
    /// [`TokenError`]
    pub(crate) fn read(path: &Path) -> Result<Self, TokenError> {
        let failed = |source| TokenError::File { path: path.to_owned(), source };
        let mut text = String::new();
        let file = fs::File::open(path).map_err(failed)?;
        file.take(MAX_LENGTH as u64 + 1).read_to_string(&mut text).map_err(failed)?;
        Self::parse(&text).map_err(|reason| TokenError::Unusable { path: path.to_owned(), reason })
    }

    /// The token that is kept in a data directory, if there is one.
    ///
    /// # Errors
    /// [`TokenError`]
    pub(crate) fn kept_in(data_dir: &Path) -> Result<Option<Self>, TokenError> {
        match Self::read(&data_dir.join(FILE_NAME)) {
            Err(TokenError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    /// Makes a token and keeps it in a data directory, where only this user can read it.
    ///
    /// # Errors
    /// [`TokenError::File`]
    pub(crate) fn make_in(data_dir: &Path) -> Result<Self, TokenError> {
        let path = data_dir.join(FILE_NAME);
        Self::try_make(data_dir, &path).map_err(|source| TokenError::File { path, source })
    }

    fn try_make(data_dir: &Path, path: &Path) -> io::Result<Self> {
        let mut random = [0; RANDOM_BYTES];
        fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
        let token = hex(&random);
        fs::create_dir_all(data_dir)?;
        // Whole or not at all: half a token would shut the gateway out of its own agents.
        let part = path.with_extension("part");
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&part)?;
        writeln!(file, "{token}")?;
        file.sync_all()?;
        fs::rename(&part, path)?;
        Ok(Self(token))
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        match text.len() {
            length if length < MIN_LENGTH => Err("has fewer than 32 characters"),
            length if length > MAX_LENGTH => Err("has more than 4096 characters"),
            _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err("has characters that no header can have")
            }
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// The token itself, for the Swarm's secret.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// Tells tokens apart without telling them.
    pub(super) fn short_hash(&self) -> String {
        hex(&Sha256::digest(&self.0)[..4])
    }

    /// What goes into `Authorization`.
    pub(super) fn header(&self) -> HeaderValue {
        let text = format!("Bearer {}", self.0);
        let mut value = HeaderValue::try_from(text).expect("a token holds visible ASCII only");
        value.set_sensitive(true);
        value
    }

    /// Whether an `Authorization` is this token's. Takes as long for any wrong one: what is compared are hashes.
    pub(super) fn is_in(&self, header: Option<&HeaderValue>) -> bool {
        let Some(shown) = header.and_then(|header| header.as_bytes().split_at_checked(7)) else {
            return false;
        };
        let (scheme, shown) = shown;
        let difference = Sha256::digest(&self.0)
            .iter()
            .zip(Sha256::digest(shown))
            .fold(0, |difference, (one, other)| difference | (one ^ other));
        scheme.eq_ignore_ascii_case(b"bearer ") && difference == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.short_hash())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_the_same_token_is_let_in() {
        let token = Token::parse(&"a".repeat(40)).unwrap();
        let is_in = |text: String| token.is_in(Some(&HeaderValue::try_from(text).unwrap()));
        assert!(token.is_in(Some(&token.header())));
        assert!(is_in(format!("bearer {}", "a".repeat(40))));
        for wrong in ["", "Bearer ", "Bearer", "é"] {
            assert!(!is_in(wrong.to_owned()), "{wrong:?}");
        }
        assert!(!is_in(format!("Bearer {}", "a".repeat(39))));
        assert!(!is_in(format!("Bearer {}b", "a".repeat(39))));
        assert!(!is_in(format!("Basic  {}", "a".repeat(40))));
        assert!(!token.is_in(None));
    }

    #[test]
    fn is_made_once_and_kept_from_others() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        assert_eq!(Token::kept_in(&data).unwrap(), None);
        let made = Token::make_in(&data).unwrap();
        assert_eq!(made.reveal().len(), 2 * RANDOM_BYTES);
        assert_eq!(Token::kept_in(&data).unwrap(), Some(made.clone()));
        let mode = fs::metadata(data.join(FILE_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_ne!(Token::make_in(&data).unwrap(), made);
    }

    #[test]
    fn a_weak_or_strange_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        for text in ["", "short", &"x ".repeat(40), &"x".repeat(5_000)] {
            fs::write(&path, text).unwrap();
            assert!(matches!(Token::read(&path), Err(TokenError::Unusable { .. })), "{text:?}");
        }
        fs::write(&path, format!("{}\n", "x".repeat(32))).unwrap();
        Token::read(&path).unwrap();
        assert!(matches!(Token::read(directory.path()), Err(TokenError::File { .. })));
    }

    #[test]
    fn is_not_shown_by_accident() {
        let token = Token::parse(&"s".repeat(40)).unwrap();
        assert!(!format!("{token:?}").contains("ss"));
    }
}
