//! A user and a password, as the original has them: two files of a mounted secret.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Most bytes of one file.
const MAX_BYTES: u64 = 4_096;

/// The one user of the API.
pub struct Credentials {
    user: String,
    /// Hashes are of one length, so that comparing them tells nothing of the lengths.
    user_hash: [u8; 32],
    password_hash: [u8; 32],
}

/// Files that hold no usable credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// One cannot be read.
    #[error("basic_auth is on and {} cannot be read: {source}; secret_mount_path names its directory", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// One holds nothing that could be typed.
    #[error("basic_auth is on and {} {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Credentials {
    /// Holds the user's name.
    pub const USER_FILE: &'static str = "basic-auth-user";
    /// Holds the password.
    pub const PASSWORD_FILE: &'static str = "basic-auth-password";

    /// Reads both files; white space around what they hold does not count. Blocking.
    ///
    /// # Errors
    /// [`CredentialsError`] with the file.
    pub fn read(directory: &Path) -> Result<Self, CredentialsError> {
        let user = read(&directory.join(Self::USER_FILE))?;
        if user.contains(':') {
            let path = directory.join(Self::USER_FILE);
            return Err(CredentialsError::Unusable { path, reason: "has a colon, which no user's name may" });
        }
        Ok(Self::new(user, &read(&directory.join(Self::PASSWORD_FILE))?))
    }

    fn new(user: String, password: &str) -> Self {
        let (user_hash, password_hash) = (Sha256::digest(&user).into(), Sha256::digest(password).into());
        Self { user, user_hash, password_hash }
    }

    /// The user's name.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// Whether the value of `Authorization` is this user's (RFC 7617).
    pub(super) fn are(&self, shown: &HeaderValue) -> bool {
        let Some((user, password)) = decode(shown) else { return false };
        let user = <[u8; 32]>::from(Sha256::digest(user)).ct_eq(&self.user_hash);
        let password = <[u8; 32]>::from(Sha256::digest(password)).ct_eq(&self.password_hash);
        (user & password).into()
    }
}

/// Both parts: nobody's log shows a hash that could be tried at home.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

fn decode(shown: &HeaderValue) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, encoded) = shown.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut user = STANDARD.decode(encoded.trim()).ok()?;
    let colon = user.iter().position(|byte| *byte == b':')?;
    let password = user.split_off(colon + 1);
    user.pop();
    Some((user, password))
}

fn read(path: &Path) -> Result<String, CredentialsError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
    let read = read.map_err(|source| CredentialsError::File { path: path.to_owned(), source })?;
    let unusable = |reason| Err(CredentialsError::Unusable { path: path.to_owned(), reason });
    match text.trim() {
        _ if read as u64 > MAX_BYTES => unusable("is longer than 4096 bytes"),
        "" => unusable("is empty"),
        trimmed => Ok(trimmed.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(user: &str, password: &str) -> (tempfile::TempDir, Result<Credentials, CredentialsError>) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(Credentials::USER_FILE), user).unwrap();
        std::fs::write(directory.path().join(Credentials::PASSWORD_FILE), password).unwrap();
        let read = Credentials::read(directory.path());
        (directory, read)
    }

    fn header(text: &str) -> HeaderValue {
        HeaderValue::from_str(text).unwrap()
    }

    #[test]
    fn takes_this_user_and_no_other() {
        let credentials = files("admin\n", " pass:word \n").1.unwrap();
        let basic = |pair: &str| header(&format!("Basic {}", STANDARD.encode(pair)));
        assert!(credentials.are(&basic("admin:pass:word")));
        assert!(credentials.are(&header(&format!("bAsIc {}", STANDARD.encode("admin:pass:word")))));
        for pair in ["admin:pass", "admin:", "admin", ":pass:word", "Admin:pass:word", "", "admin:pass:word "]
        {
            assert!(!credentials.are(&basic(pair)), "{pair:?}");
        }
        for text in ["Basic", "Basic ", "Basic !!!", "Bearer YWRtaW46cGFzczp3b3Jk", "YWRtaW46cGFzczp3b3Jk"] {
            assert!(!credentials.are(&header(text)), "{text:?}");
        }
        assert!(!format!("{credentials:?}").contains("word"));
    }

    #[test]
    fn refuses_files_that_hold_none() {
        let empty = files("admin", "\n").1.unwrap_err();
        assert!(empty.to_string().contains(Credentials::PASSWORD_FILE), "{empty}");
        assert!(matches!(files("a:b", "x").1, Err(CredentialsError::Unusable { .. })));
        let long = files("admin", &"x".repeat(5_000)).1.unwrap_err();
        assert!(matches!(long, CredentialsError::Unusable { .. }));
        let missing = Credentials::read(Path::new("/nowhere")).unwrap_err();
        assert!(missing.to_string().contains("/nowhere/basic-auth-user"), "{missing}");
    }
}
