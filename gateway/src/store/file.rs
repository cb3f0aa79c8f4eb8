//! A `redb` file that is opened again after a write that failed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use parking_lot::Mutex;
use redb::{Database, DatabaseError};

use super::StoreError;

/// One database file.
pub(crate) struct DatabaseFile {
    name: String,
    open: Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>,
    /// `None` after a failed write: `redb` refuses all work after one, until it is opened again.
    database: Mutex<Option<Database>>,
}

impl DatabaseFile {
    /// A file that is opened when it is first used.
    pub(crate) fn new(
        name: String,
        open: impl Fn() -> Result<Database, DatabaseError> + Send + Sync + 'static,
    ) -> Self {
        Self { name, open: Box::new(open), database: Mutex::new(None) }
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` on the open database, opening it first when the last work broke it. Blocking.
    ///
    /// # Errors
    /// [`StoreError`], naming the file.
    pub(crate) fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut slot = self.database.lock();
        let database = match slot.take() {
            Some(database) => database,
            None => guarded(|| Ok((self.open)()?)).map_err(|error| error.of(&self.name))?,
        };
        let outcome = guarded(|| work(&database));
        match &outcome {
            Err(error) if error.breaks_the_database() => discard(database),
            _ => *slot = Some(database),
        }
        outcome.map_err(|error| error.of(&self.name))
    }
}

/// Runs `work`; `redb` panics on some damaged files, and that is bad input to us.
fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_panic| Err(StoreError::damaged("reading it failed; the cause is in the log")))
}

/// Closes a database whose locks a panic may have poisoned.
fn discard(database: Database) {
    if catch_unwind(AssertUnwindSafe(|| drop(database))).is_err() {
        tracing::error!("closing the broken store failed");
    }
}
