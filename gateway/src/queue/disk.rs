//! The queue's database: one thread, and one sync of the disk for however many wait for it.
//!
//! In: calls, how often each was started, dead letters, the bodies of small calls. Out: which call
//! comes next, which is kept in memory (`book`).
//! The property that must hold: once a change has answered, no kill, crash or full disk undoes it.

mod tables;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use bytes::Bytes;
use redb::Builder;
use tokio::sync::{mpsc, oneshot};

use super::call::{Call, Death};
use super::spool::Spool;
use crate::store::StoreError;
use crate::store::file::DatabaseFile;
pub(super) use tables::{Schedules, StoredCall};

/// The file's name inside the queue's directory.
const FILE: &str = "queue.redb";

/// Most memory for pages.
const CACHE_BYTES: usize = 8 << 20;

/// Most changes in one transaction.
const MAX_BATCH: usize = 2_048;

/// Most changes that wait for the next one.
const MAX_WAITING: usize = 8_192;

/// What is to be written.
#[derive(Debug)]
pub(super) enum Change {
    /// A call is accepted.
    Add { sequence: u64, call: Vec<u8>, body: Bytes },
    /// A call is about to run, as the start of this number. Reads it too.
    Start { sequence: u64, starts: u32 },
    /// A call waits again, having been started so often.
    Wait { sequence: u64, starts: u32, not_before_unix_nanos: u64 },
    /// A call has ended and is forgotten.
    End { sequence: u64, file: Option<String> },
    /// A call is a dead letter.
    Bury { sequence: u64, death: Vec<u8> },
    /// A dead letter is a call again that waits.
    Revive { sequence: u64, starts: u32 },
    /// A schedule was seen through up to this instant.
    Mark { function: String, unix_seconds: i64 },
    /// A schedule is gone.
    Unmark { function: String },
}

/// A call that was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) sequence: u64,
    pub(super) starts: u32,
    pub(super) call: Call,
    pub(super) body: Bytes,
}

/// Why a change was not written, told to each of those who waited for it.
pub(super) type Refused = Arc<StoreError>;

#[derive(Debug)]
struct Request {
    changes: Vec<Change>,
    done: Option<oneshot::Sender<Result<Vec<Read>, Refused>>>,
}

/// The thread. Dropping this waits until it has written all it was given.
#[derive(Debug)]
pub(super) struct Disk {
    /// `None` only once it is dropped.
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
    /// Whether it refused what nobody waits for.
    owing: Arc<AtomicBool>,
}

impl Disk {
    /// Opens the database below `directory`, and has `found` see each call in it, in order of arrival. Answers the
    /// marks of schedules. Blocking.
    pub(super) fn open(
        directory: &Path,
        spool: Spool,
        found: impl FnMut(StoredCall),
    ) -> Result<(Self, Schedules), StoreError> {
        let path = directory.join(FILE);
        let name = path.display().to_string();
        Self::over(
            DatabaseFile::new(name, move || Builder::new().set_cache_size(CACHE_BYTES).create(&path)),
            spool,
            found,
        )
    }

    fn over(
        file: DatabaseFile,
        spool: Spool,
        found: impl FnMut(StoredCall),
    ) -> Result<(Self, Schedules), StoreError> {
        let schedules = file.with(|database| tables::prepare_and_load(database, found))?;
        let (sender, requests) = mpsc::channel(MAX_WAITING);
        let owing = Arc::new(AtomicBool::new(false));
        let writer = Writer { file, spool, owed: Vec::new(), owing: owing.clone() };
        let thread = std::thread::Builder::new()
            .name("queue-disk".into())
            .spawn(move || writer.run(requests))
            .map_err(|error| StoreError::from(redb::Error::Io(error)))?;
        Ok((Self { requests: Some(sender), thread: Some(thread), owing }, schedules))
    }

    fn requests(&self) -> &mpsc::Sender<Request> {
        self.requests.as_ref().expect("it is there until the drop")
    }

    /// Writes, and answers once it is on the disk, with the calls that were started.
    pub(super) async fn write(&self, changes: Vec<Change>) -> Result<Vec<Read>, Refused> {
        let (done, outcome) = oneshot::channel();
        let gone = || Arc::new(StoreError::damaged("the thread that writes the queue has ended"));
        self.requests().send(Request { changes, done: Some(done) }).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }

    /// Has it written some time soon; tried again with each later write and [`Self::settle`], for as long as the disk
    /// refuses it.
    pub(super) async fn write_later(&self, change: Change) {
        self.send(vec![change]).await;
    }

    /// Tries again what the disk refused before, if there is any.
    pub(super) async fn settle(&self) {
        if self.owing.load(Ordering::Relaxed) {
            self.send(Vec::new()).await;
        }
    }

    async fn send(&self, changes: Vec<Change>) {
        if self.requests().send(Request { changes, done: None }).await.is_err() {
            tracing::error!("the thread that writes the queue has ended");
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.requests.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes the queue has panicked");
        }
    }
}

struct Writer {
    file: DatabaseFile,
    spool: Spool,
    /// What nobody waits for and the disk refused. Bounded by the calls there are.
    owed: Vec<Change>,
    owing: Arc<AtomicBool>,
}

impl Writer {
    fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut batch = Vec::new();
        while requests.blocking_recv_many(&mut batch, MAX_BATCH) > 0 {
            self.commit(std::mem::take(&mut batch));
            self.owing.store(!self.owed.is_empty(), Ordering::Relaxed);
        }
        if !self.owed.is_empty() {
            self.commit(Vec::new());
        }
    }

    fn commit(&mut self, batch: Vec<Request>) {
        match self.try_commit(&batch) {
            Ok(found) => self.answer(batch, found),
            Err(refused) => {
                // New calls are what needs room. The others may fit without them.
                let (new, rest): (Vec<_>, Vec<_>) =
                    batch.into_iter().partition(|request| request.changes.iter().any(Change::is_new));
                let is_left = !rest.is_empty() || !self.owed.is_empty();
                let again = !new.is_empty() && is_left;
                let refused = Arc::new(refused);
                tracing::warn!(error = %refused, calls = new.len(), "the queue's disk refused a write");
                self.refuse(new, &refused);
                match if again { self.try_commit(&rest) } else { Err(StoreError::damaged("")) } {
                    Ok(found) => self.answer(rest, found),
                    Err(_) => self.refuse(rest, &refused),
                }
            }
        }
    }

    fn try_commit(&mut self, batch: &[Request]) -> Result<Vec<Vec<Read>>, StoreError> {
        let owed = &self.owed;
        self.file.with(|database| tables::apply(database, owed, batch.iter().map(|b| b.changes.as_slice())))
    }

    fn answer(&mut self, batch: Vec<Request>, found: Vec<Vec<Read>>) {
        let owed = std::mem::take(&mut self.owed);
        let mut files = Vec::new();
        files.extend(owed.into_iter().filter_map(Change::into_file));
        for (request, found) in batch.into_iter().zip(found) {
            if let Some(done) = request.done {
                // Whoever asked may have gone.
                let _gone = done.send(Ok(found)).is_err();
            }
            files.extend(request.changes.into_iter().filter_map(Change::into_file));
        }
        files.iter().for_each(|file| self.spool.remove(file));
    }

    fn refuse(&mut self, batch: Vec<Request>, refused: &Refused) {
        for request in batch {
            match request.done {
                Some(done) => drop(done.send(Err(refused.clone()))),
                None => self.owed.extend(request.changes),
            }
        }
    }
}

impl Change {
    fn is_new(&self) -> bool {
        matches!(self, Self::Add { .. })
    }

    fn into_file(self) -> Option<String> {
        match self {
            Self::End { file, .. } => file,
            _ => None,
        }
    }

    /// That a call died.
    pub(super) fn bury(sequence: u64, death: &Death) -> Self {
        Self::Bury { sequence, death: death.encode() }
    }
}

#[cfg(test)]
mod tests;
