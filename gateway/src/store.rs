//! The embedded store of desired state: one `redb` file in the data directory.
//!
//! In: what functions are asked to be, written durably before it is applied.
//! Out: modules and compiled code (the wasm host's), anything that can be worked out again.
//! The property that must hold: once a write has answered, no kill, crash or full disk undoes it.

mod error;
pub(crate) mod file;
pub(crate) mod record;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bramble_provider::FunctionName;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, TableDefinition,
    TableError,
};
use tokio::sync::Semaphore;

use crate::namespaces::Namespace;
pub use error::StoreError;
use file::DatabaseFile;
pub use record::StoredFunction;

/// Name to JSON of [`StoredFunction`].
const FUNCTIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("functions");

/// Names of functions of which there may be a Swarm service.
const SERVICES: TableDefinition<'_, &str, ()> = TableDefinition::new("services");

/// The key in [`META`] that says that [`SERVICES`] is complete: a store of before has functions and no marks.
const SERVICES_KEY: &str = "services";

/// Name to JSON of [`Namespace`].
const NAMESPACES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("namespaces");

/// Facts about the store itself.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// The key in [`META`] of the version of what the tables hold.
const VERSION_KEY: &str = "version";

/// The version this code writes. A store of a newer one is refused, not guessed at.
const VERSION: u64 = 1;

/// Most memory for pages; `redb` would take a gibibyte. The whole store is a few megabytes and is
/// read once.
const CACHE_BYTES: usize = 1 << 20;

/// How much a write must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// A crash of the machine: the write answers after the disk has.
    Durably,
    /// An orderly stop, or the next durable write. For what is safe to lose and must be quick.
    Lazily,
}

/// The store. Cloning copies a pointer. Writes happen one after another, off the async threads.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    file: DatabaseFile,
    /// One thread at most waits for the disk, however many writes are under way.
    turn: Semaphore,
}

impl Store {
    /// The file's name inside the data directory.
    pub const FILE: &'static str = "bramble.redb";

    /// Opens the store below `data_dir`, making it when it is missing. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] naming the file and the cause.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let path = data_dir.join(Self::FILE);
        let name = path.display().to_string();
        Self::open_with(name, move || Builder::new().set_cache_size(CACHE_BYTES).create(&path))
    }

    fn open_with(
        name: String,
        open: impl Fn() -> Result<Database, DatabaseError> + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        let inner = Inner { file: DatabaseFile::new(name, open), turn: Semaphore::const_new(1) };
        inner.file.with(prepare)?;
        Ok(Self(Arc::new(inner)))
    }

    /// Every function there is. Blocking; called once, at the start.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or holds what this version does not understand.
    pub fn load(&self) -> Result<Vec<StoredFunction>, StoreError> {
        self.0.file.with(|database| {
            let table = database.begin_read()?.open_table(FUNCTIONS)?;
            let mut functions = Vec::new();
            for entry in table.iter()? {
                let (key, value) = entry?;
                functions.push(StoredFunction::decode(key.value(), value.value())?);
            }
            Ok(functions)
        })
    }

    /// Writes one function over what was there. Dropping the future does not undo the write.
    ///
    /// # Errors
    /// [`StoreError`]; the old state is then intact.
    pub async fn put(&self, function: &StoredFunction, keep: Keep) -> Result<(), StoreError> {
        let name = function.spec.name.clone();
        let json = function.encode();
        self.write(keep, move |database, durability| {
            let mut write = database.begin_write()?;
            write.set_durability(durability)?;
            write.open_table(FUNCTIONS)?.insert(name.as_str(), json.as_slice())?;
            Ok(write.commit()?)
        })
        .await
    }

    /// Takes one function out, durably. Taking out what is not there succeeds.
    ///
    /// # Errors
    /// [`StoreError`]; the old state is then intact.
    pub async fn remove(&self, name: &FunctionName) -> Result<(), StoreError> {
        let name = name.clone();
        self.write(Keep::Durably, move |database, durability| {
            let mut write = database.begin_write()?;
            write.set_durability(durability)?;
            write.open_table(FUNCTIONS)?.remove(name.as_str())?;
            Ok(write.commit()?)
        })
        .await
    }

    /// The functions of which there may be a Swarm service. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or holds what this version does not understand.
    pub fn services(&self) -> Result<Vec<FunctionName>, StoreError> {
        self.0.file.with(|database| {
            let table = database.begin_read()?.open_table(SERVICES)?;
            let mut names = Vec::new();
            for entry in table.iter()? {
                let (key, _) = entry?;
                let name = FunctionName::parse(key.value());
                names.push(name.map_err(|error| StoreError::damaged(format!("service: {error}")))?);
            }
            Ok(names)
        })
    }

    /// Marks that there may be a Swarm service of a function, durably.
    ///
    /// # Errors
    /// [`StoreError`]; the old state is then intact.
    pub async fn put_service(&self, name: &FunctionName) -> Result<(), StoreError> {
        let name = name.clone();
        self.write(Keep::Durably, move |database, durability| {
            let mut write = database.begin_write()?;
            write.set_durability(durability)?;
            write.open_table(SERVICES)?.insert(name.as_str(), ())?;
            Ok(write.commit()?)
        })
        .await
    }

    /// Takes that mark away. Lazily: one that comes back does no harm.
    ///
    /// # Errors
    /// [`StoreError`]; the old state is then intact.
    pub async fn remove_service(&self, name: &FunctionName) -> Result<(), StoreError> {
        let name = name.clone();
        self.write(Keep::Lazily, move |database, durability| {
            let mut write = database.begin_write()?;
            write.set_durability(durability)?;
            write.open_table(SERVICES)?.remove(name.as_str())?;
            Ok(write.commit()?)
        })
        .await
    }

    /// The namespaces that were made, by name. Blocking.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read or holds what this version does not understand.
    pub fn namespaces(&self) -> Result<BTreeMap<String, Namespace>, StoreError> {
        self.0.file.with(|database| {
            let table = database.begin_read()?.open_table(NAMESPACES)?;
            let mut namespaces = BTreeMap::new();
            for entry in table.iter()? {
                let (key, value) = entry?;
                let namespace = serde_json::from_slice(value.value());
                let namespace = namespace
                    .map_err(|error| StoreError::damaged(format!("namespace {:?}: {error}", key.value())))?;
                namespaces.insert(key.value().to_owned(), namespace);
            }
            Ok(namespaces)
        })
    }

    /// Writes one namespace over what was there, durably.
    ///
    /// # Errors
    /// [`StoreError`]; the old state is then intact.
    pub async fn put_namespace(&self, name: &str, namespace: &Namespace) -> Result<(), StoreError> {
        let name = name.to_owned();
        let json = serde_json::to_vec(namespace).expect("it has string keys only, so it always serialises");
        self.write(Keep::Durably, move |database, durability| {
            let mut write = database.begin_write()?;
            write.set_durability(durability)?;
            write.open_table(NAMESPACES)?.insert(name.as_str(), json.as_slice())?;
            Ok(write.commit()?)
        })
        .await
    }

    /// Takes one namespace out, durably.
    ///
    /// # Errors
    /// [`StoreError`]; the old state is then intact.
    pub async fn remove_namespace(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(Keep::Durably, move |database, durability| {
            let mut write = database.begin_write()?;
            write.set_durability(durability)?;
            write.open_table(NAMESPACES)?.remove(name.as_str())?;
            Ok(write.commit()?)
        })
        .await
    }

    async fn write<F>(&self, keep: Keep, work: F) -> Result<(), StoreError>
    where
        F: FnOnce(&Database, Durability) -> Result<(), StoreError> + Send + 'static,
    {
        let store = self.clone();
        let durability = match keep {
            Keep::Durably => Durability::Immediate,
            Keep::Lazily => Durability::None,
        };
        let turn = self.0.turn.acquire().await.expect("the semaphore is never closed");
        let done =
            tokio::task::spawn_blocking(move || store.0.file.with(|database| work(database, durability)))
                .await;
        drop(turn);
        done.unwrap_or_else(|panic| Err(StoreError::Unfinished(panic)))
    }
}

/// Makes the tables of a new store and checks the version of an old one, which needs no space on the disk.
fn prepare(database: &Database) -> Result<(), StoreError> {
    if is_prepared(database)? {
        return Ok(());
    }
    let mut write = database.begin_write()?;
    write.set_durability(Durability::Immediate)?;
    {
        let functions = write.open_table(FUNCTIONS)?;
        write.open_table(NAMESPACES)?;
        let mut services = write.open_table(SERVICES)?;
        let mut meta = write.open_table(META)?;
        let found = meta.get(VERSION_KEY)?.map(|version| version.value());
        match found {
            None => drop(meta.insert(VERSION_KEY, VERSION)?),
            Some(VERSION) => {}
            Some(found) => return Err(StoreError::Version { found, known: VERSION }),
        }
        if meta.insert(SERVICES_KEY, 1)?.is_none() {
            for entry in functions.iter()? {
                let (key, value) = entry?;
                let function = StoredFunction::decode(key.value(), value.value())?;
                if function.spec.runtime().has_containers() {
                    services.insert(key.value(), ())?;
                }
            }
        }
    }
    Ok(write.commit()?)
}

/// Whether a store of this version has all its tables.
fn is_prepared(database: &Database) -> Result<bool, StoreError> {
    let read = database.begin_read()?;
    // Whatever table came last: a store of before has none.
    match read.open_table(NAMESPACES) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(false),
        last => drop(last?),
    }
    let meta = read.open_table(META)?;
    let found = meta.get(VERSION_KEY)?.map(|version| version.value());
    Ok(found == Some(VERSION) && meta.get(SERVICES_KEY)?.is_some())
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("name", &self.0.file.name()).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod small_disk;
#[cfg(test)]
mod tests;
