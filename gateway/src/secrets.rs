//! The secrets of functions: one file each, which only the gateway's user can read.
//!
//! In: making, replacing, removing and naming them. Out: how functions see them (the wasm host's views,
//! the Swarm's secrets), HTTP. The properties that must hold: a value is whole or not there, also after a
//! crash; nothing here tells a value but [`Secrets::read`].

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bramble_provider::settings::TOKEN_ANNOTATION;
use bramble_provider::{DEFAULT_NAMESPACE, FunctionSpec, ProviderError, SecretName, check_namespace};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use tokio::time::timeout;

use crate::error::GatewayError;

/// Most bytes of a value: what Docker Swarm takes.
pub const MAX_VALUE_BYTES: usize = 500 * 1_024 - 1;

/// The file that is being written, one at a time; no secret's name begins so.
const PART: &str = ".part";

/// Longest wait for deployments and other changes to end: less than clients wait for an answer.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// The secrets below one directory. Cloning copies a pointer.
#[derive(Debug, Clone)]
pub struct Secrets {
    dir: PathBuf,
    /// Written to while a value changes and its functions are told; read while functions are deployed with
    /// secrets, so that none of them begins with an old value for good.
    turn: Arc<RwLock<()>>,
    longest_wait: Duration,
}

const BUSY: GatewayError = GatewayError::Busy { what: "changes of secrets and deployments with some" };

/// A change of secrets under way: no other is, and no function that has some is being deployed.
#[derive(Debug)]
pub struct Turn {
    _held: OwnedRwLockWriteGuard<()>,
}

/// A deployment under way: meanwhile no secret changes.
#[derive(Debug)]
pub struct Unchanged {
    _held: OwnedRwLockReadGuard<()>,
}

impl Secrets {
    /// The secrets in `dir`, which need not be there.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, turn: Arc::default(), longest_wait: LONGEST_WAIT }
    }

    /// Waits until no function is being deployed with secrets, and none changes.
    ///
    /// # Errors
    /// [`GatewayError::Busy`] when that takes too long.
    pub async fn turn(&self) -> Result<Turn, GatewayError> {
        let held = timeout(self.longest_wait, Arc::clone(&self.turn).write_owned()).await;
        held.map(|held| Turn { _held: held }).map_err(|_| BUSY)
    }

    /// Waits until no secret changes; none does while this is held.
    ///
    /// # Errors
    /// [`GatewayError::Busy`] when that takes too long.
    pub async fn unchanged(&self) -> Result<Unchanged, GatewayError> {
        let held = timeout(self.longest_wait, Arc::clone(&self.turn).read_owned()).await;
        held.map(|held| Unchanged { _held: held }).map_err(|_| BUSY)
    }

    /// As [`Self::unchanged`], and nothing for a function that has no secrets.
    ///
    /// # Errors
    /// As [`Self::unchanged`].
    pub async fn unchanged_for(&self, spec: &FunctionSpec) -> Result<Option<Unchanged>, GatewayError> {
        let has_some = !spec.secrets.is_empty() || spec.annotations.contains_key(TOKEN_ANNOTATION);
        if has_some { self.unchanged().await.map(Some) } else { Ok(None) }
    }

    /// The names of a namespace, in order.
    ///
    /// # Errors
    /// [`ProviderError::Internal`] when the directory cannot be read.
    pub async fn names(&self, namespace: &str) -> Result<Vec<SecretName>, ProviderError> {
        let all = self.all().await?;
        Ok(all.into_iter().filter(|(of, _)| of == namespace).map(|(_, name)| name).collect())
    }

    /// All of them, each with its namespace, in order.
    ///
    /// # Errors
    /// [`ProviderError::Internal`] when the directory cannot be read.
    pub async fn all(&self) -> Result<Vec<(String, SecretName)>, ProviderError> {
        self.off_thread(|dir| {
            let entries = match fs::read_dir(dir) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(ProviderError::internal("listing the secrets", error)),
            };
            let names = entries.filter_map(|entry| parse(entry.ok()?.file_name().to_str()?));
            let mut names: Vec<_> = names.collect();
            names.sort();
            Ok(names)
        })
        .await
    }

    /// Whether it is there.
    pub fn has(&self, namespace: &str, name: &SecretName) -> bool {
        self.path(namespace, name).is_file()
    }

    /// The value, if it is there. Blocking, for as long as it takes to read a small file.
    ///
    /// # Errors
    /// [`ProviderError::Internal`] when it is there and cannot be read.
    pub fn read(&self, namespace: &str, name: &SecretName) -> Result<Option<Vec<u8>>, ProviderError> {
        let mut value = Vec::new();
        let read = File::open(self.path(namespace, name))
            .and_then(|file| file.take(MAX_VALUE_BYTES as u64).read_to_end(&mut value));
        match read {
            Ok(_) => Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ProviderError::internal(format!("reading secret {name}"), error)),
        }
    }

    /// Stores a new one, durably.
    ///
    /// # Errors
    /// [`GatewayError::SecretExists`]; [`ProviderError::OutOfStorage`] and [`ProviderError::Internal`].
    pub async fn create(
        &self,
        _turn: &Turn,
        namespace: &str,
        name: &SecretName,
        value: Vec<u8>,
    ) -> Result<(), GatewayError> {
        if self.has(namespace, name) {
            return Err(GatewayError::SecretExists(name.clone()));
        }
        self.write(namespace, name, value).await
    }

    /// Gives one that is there another value, durably.
    ///
    /// # Errors
    /// [`GatewayError::UnknownSecret`]; as [`Self::create`].
    pub async fn replace(
        &self,
        _turn: &Turn,
        namespace: &str,
        name: &SecretName,
        value: Vec<u8>,
    ) -> Result<(), GatewayError> {
        if !self.has(namespace, name) {
            return Err(GatewayError::UnknownSecret(name.clone()));
        }
        self.write(namespace, name, value).await
    }

    /// Forgets one.
    ///
    /// # Errors
    /// [`GatewayError::UnknownSecret`]; [`ProviderError::Internal`].
    pub async fn remove(&self, _turn: &Turn, namespace: &str, name: &SecretName) -> Result<(), GatewayError> {
        let path = self.path(namespace, name);
        let removed = self.off_thread(move |dir| Ok(fs::remove_file(path).and_then(|()| sync(dir)))).await?;
        removed.map_err(|error| match error.kind() {
            ErrorKind::NotFound => GatewayError::UnknownSecret(name.clone()),
            _ => ProviderError::internal(format!("removing secret {name}"), error).into(),
        })
    }

    async fn write(&self, namespace: &str, name: &SecretName, value: Vec<u8>) -> Result<(), GatewayError> {
        let path = self.path(namespace, name);
        let written = self.off_thread(move |dir| Ok(write(dir, &path, &value))).await?;
        Ok(written.map_err(|error| match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                ProviderError::OutOfStorage(format!("secret {name} cannot be stored: {error}"))
            }
            _ => ProviderError::internal(format!("storing secret {name}"), error),
        })?)
    }

    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, ProviderError> + Send + 'static,
    ) -> Result<T, ProviderError> {
        let dir = self.dir.clone();
        let done = tokio::task::spawn_blocking(move || work(&dir)).await;
        done.map_err(|panic| ProviderError::internal("working on the secrets", panic))?
    }

    fn path(&self, namespace: &str, name: &SecretName) -> PathBuf {
        self.dir.join(name.in_namespace(namespace))
    }
}

/// The namespace and the name that a file's name says; `None` for what is no secret.
fn parse(file: &str) -> Option<(String, SecretName)> {
    let (name, namespace) = file.rsplit_once('_').unwrap_or((file, DEFAULT_NAMESPACE));
    check_namespace(namespace).ok()?;
    Some((namespace.to_owned(), SecretName::parse(name).ok()?))
}

fn write(dir: &Path, path: &Path, value: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let part = dir.join(PART);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(value)?;
        file.sync_all()?;
        fs::rename(&part, path)
    })();
    if written.is_err() {
        // What is left of it is overwritten by the next one.
        let _ = fs::remove_file(&part);
    }
    written.and_then(|()| sync(dir))
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn name(text: &str) -> SecretName {
        SecretName::parse(text).unwrap()
    }

    #[tokio::test]
    async fn keeps_values_where_only_the_gateway_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(dir.path().join("secrets"));
        assert_eq!(secrets.all().await.unwrap(), []);
        let turn = secrets.turn().await.unwrap();
        secrets.create(&turn, DEFAULT_NAMESPACE, &name("db"), b"one".to_vec()).await.unwrap();
        secrets.create(&turn, "team", &name("db"), b"two".to_vec()).await.unwrap();
        for (file, mode) in [("secrets", 0o700), ("secrets/db", 0o600), ("secrets/db_team", 0o600)] {
            let found = fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode, "{file}");
        }
        assert_eq!(secrets.read("team", &name("db")).unwrap().unwrap(), b"two");
        assert_eq!(secrets.names("team").await.unwrap(), [name("db")]);
        assert_eq!(secrets.all().await.unwrap().len(), 2);
        secrets.remove(&turn, "team", &name("db")).await.unwrap();
        assert_eq!(secrets.read("team", &name("db")).unwrap(), None);
        assert_eq!(secrets.read(DEFAULT_NAMESPACE, &name("db")).unwrap().unwrap(), b"one");
    }

    #[tokio::test]
    async fn tells_new_ones_and_known_ones_apart() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(dir.path().to_owned());
        let (turn, own) = (secrets.turn().await.unwrap(), name("a.b-c"));
        let missing = secrets.replace(&turn, "x", &own, b"1".to_vec()).await.unwrap_err();
        assert!(matches!(missing, GatewayError::UnknownSecret(_)));
        assert!(matches!(secrets.remove(&turn, "x", &own).await, Err(GatewayError::UnknownSecret(_))));
        secrets.create(&turn, "x", &own, b"1".to_vec()).await.unwrap();
        let exists = secrets.create(&turn, "x", &own, b"2".to_vec()).await.unwrap_err();
        assert!(matches!(exists, GatewayError::SecretExists(_)));
        secrets.replace(&turn, "x", &own, b"3".to_vec()).await.unwrap();
        assert_eq!(secrets.read("x", &own).unwrap().unwrap(), b"3");
    }

    #[tokio::test]
    async fn a_name_as_long_as_they_get_is_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(dir.path().to_owned());
        let long = name(&[63, 63, 63, 61].map(|length| "a".repeat(length)).join("."));
        let turn = secrets.turn().await.unwrap();
        for namespace in [DEFAULT_NAMESPACE, "b"] {
            secrets.create(&turn, namespace, &long, b"1".to_vec()).await.unwrap();
            assert_eq!(secrets.names(namespace).await.unwrap(), std::slice::from_ref(&long));
            secrets.remove(&turn, namespace, &long).await.unwrap();
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_ever_for_a_deployment() {
        let longest_wait = Duration::from_millis(10);
        let secrets = Secrets { longest_wait, ..Secrets::new("/nowhere".into()) };
        let deployment = secrets.unchanged().await.unwrap();
        let (change, behind) = tokio::join!(secrets.turn(), secrets.unchanged());
        assert!(matches!(change, Err(GatewayError::Busy { .. })));
        assert!(matches!(behind, Err(GatewayError::Busy { .. })), "who came after the change");
        drop(deployment);
        secrets.turn().await.unwrap();
    }

    #[test]
    fn only_names_are_secrets() {
        assert_eq!(parse("db"), Some((DEFAULT_NAMESPACE.to_owned(), name("db"))));
        assert_eq!(parse("a.b_team"), Some(("team".to_owned(), name("a.b"))));
        for file in [".part", "db_", "_team", "a_b_c", "UPPER", "db~"] {
            assert_eq!(parse(file), None, "{file}");
        }
    }
}
