//! A large body on its way into the queue: first room for it, then its bytes in a file.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::SemaphorePermit;

use super::Queue;
use super::book::{Book, Full};
use super::call::BodyPlace;
use super::refusal::{self, no_file};
use super::spool::{Keeping, Spooled};
use crate::error::GatewayError;

/// A body that is being written.
#[derive(Debug)]
pub(crate) struct Upload<'q> {
    queue: &'q Queue,
    file: Spooled,
    held: Held,
    _right: SemaphorePermit<'q>,
}

/// A body that is in a file that no call names yet. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Uploaded {
    file: Keeping,
    held: Held,
}

/// Room in the queue, given back when this is dropped.
#[derive(Debug)]
struct Held {
    book: Arc<Mutex<Book>>,
    bytes: u64,
}

impl Queue {
    /// Begins the file of a large body.
    ///
    /// # Errors
    /// [`GatewayError::Busy`], and what the disk says.
    pub(crate) async fn upload(&self) -> Result<Upload<'_>, GatewayError> {
        let right = self.spooling.try_acquire().map_err(|_| GatewayError::Busy { what: "large bodies" })?;
        let file = self.spool.begin().await.map_err(|error| no_file(&error))?;
        Ok(Upload { queue: self, file, held: Held { book: self.book.clone(), bytes: 0 }, _right: right })
    }
}

impl Upload<'_> {
    /// Adds bytes.
    ///
    /// # Errors
    /// [`GatewayError::QueueFull`], and what the disk says.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), GatewayError> {
        self.held.more(bytes.len() as u64).map_err(|full| refusal::full(full, &self.queue.config))?;
        self.file.write(bytes).await.map_err(|error| no_file(&error))
    }

    /// Has all of it on the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) async fn finish(self) -> Result<Uploaded, GatewayError> {
        let file = self.file.keep().await.map_err(|error| no_file(&error))?;
        Ok(Uploaded { file, held: self.held })
    }
}

impl Uploaded {
    /// How long it is.
    pub(crate) fn bytes(&self) -> u64 {
        self.held.bytes
    }

    /// Where it is.
    pub(super) fn place(&self) -> BodyPlace {
        self.file.place()
    }

    /// A call that names it is stored; the room is that call's.
    pub(super) fn stored(mut self) {
        self.held.bytes = 0;
        self.file.stored();
    }
}

impl Held {
    fn more(&mut self, bytes: u64) -> Result<(), Full> {
        self.book.lock().keep_bytes(bytes)?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.book.lock().give_back(self.bytes);
    }
}
