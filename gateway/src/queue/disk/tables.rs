//! The queue's tables, and what each change does to them.

use std::collections::HashMap;

use bytes::Bytes;
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction,
};

use super::{Call, Change, Death, Read, StoreError};

/// Sequence number to JSON of [`Call`]: calls that wait, run or are dead.
const CALLS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("calls");
/// Sequence number to the body of a call that has a small one.
const BODIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("bodies");
/// Sequence number to how often a call was started, and when it may be again, in Unix nanoseconds.
const STARTS: TableDefinition<'_, u64, (u32, u64)> = TableDefinition::new("starts");
/// Sequence number to JSON of [`Death`].
const DEAD: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("dead");
/// Function to the last instant of its schedule that was seen to, in Unix seconds.
const SCHEDULES: TableDefinition<'_, &str, i64> = TableDefinition::new("schedules");
/// Facts about the file itself.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

const VERSION_KEY: &str = "version";
const VERSION: u64 = 1;

/// By function, the last instant of its schedule that was seen to, in Unix seconds.
pub(in crate::queue) type Schedules = HashMap<String, i64>;

/// A call that a start finds: it waits, ran, or is dead.
#[derive(Debug)]
pub(in crate::queue) struct StoredCall {
    pub(in crate::queue) sequence: u64,
    pub(in crate::queue) call: Call,
    pub(in crate::queue) starts: u32,
    pub(in crate::queue) not_before_unix_nanos: u64,
    pub(in crate::queue) death: Option<Death>,
}

/// Makes the tables of a new file, checks the version of an old one, which needs no space on the disk,
/// and reads it, each call by itself: all of them may be more than there is memory.
pub(super) fn prepare_and_load(
    database: &Database,
    found: impl FnMut(StoredCall),
) -> Result<Schedules, StoreError> {
    if is_prepared(database)? {
        return load(database, found);
    }
    let write = database.begin_write()?;
    {
        write.open_table(CALLS)?;
        write.open_table(BODIES)?;
        write.open_table(STARTS)?;
        write.open_table(DEAD)?;
        write.open_table(SCHEDULES)?;
        let mut meta = write.open_table(META)?;
        let found = meta.get(VERSION_KEY)?.map(|version| version.value());
        match found {
            None => drop(meta.insert(VERSION_KEY, VERSION)?),
            Some(VERSION) => {}
            Some(found) => return Err(StoreError::Version { found, known: VERSION }),
        }
    }
    write.commit()?;
    load(database, found)
}

fn is_prepared(database: &Database) -> Result<bool, StoreError> {
    let meta = match database.begin_read()?.open_table(META) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(false),
        meta => meta?,
    };
    Ok(meta.get(VERSION_KEY)?.map(|version| version.value()) == Some(VERSION))
}

fn load(database: &Database, mut found: impl FnMut(StoredCall)) -> Result<Schedules, StoreError> {
    let read = database.begin_read()?;
    let (starts, dead) = (read.open_table(STARTS)?, read.open_table(DEAD)?);
    for entry in read.open_table(CALLS)?.iter()? {
        let (key, json) = entry?;
        let sequence = key.value();
        let (started, not_before_unix_nanos) = starts.get(sequence)?.map_or((0, 0), |found| found.value());
        let death = dead.get(sequence)?.map(|json| Death::decode(sequence, json.value())).transpose()?;
        let call = Call::decode(sequence, json.value())?;
        found(StoredCall { sequence, call, starts: started, not_before_unix_nanos, death });
    }
    let mut schedules = Schedules::new();
    for entry in read.open_table(SCHEDULES)?.iter()? {
        let (key, at) = entry?;
        schedules.insert(key.value().to_owned(), at.value());
    }
    Ok(schedules)
}

/// Writes what is owed and then each request, durably and in one transaction. Answers what each reads.
pub(super) fn apply<'a>(
    database: &Database,
    owed: &[Change],
    requests: impl Iterator<Item = &'a [Change]>,
) -> Result<Vec<Vec<Read>>, StoreError> {
    let mut write = database.begin_write()?;
    write.set_durability(Durability::Immediate)?;
    let found = {
        let mut tables = Tables::open(&write)?;
        for change in owed {
            tables.apply(change)?;
        }
        requests.map(|changes| tables.apply_all(changes)).collect::<Result<Vec<_>, _>>()?
    };
    write.commit()?;
    Ok(found)
}

struct Tables<'t> {
    calls: redb::Table<'t, u64, &'static [u8]>,
    bodies: redb::Table<'t, u64, &'static [u8]>,
    starts: redb::Table<'t, u64, (u32, u64)>,
    dead: redb::Table<'t, u64, &'static [u8]>,
    schedules: redb::Table<'t, &'static str, i64>,
}

impl<'t> Tables<'t> {
    fn open(write: &'t WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            calls: write.open_table(CALLS)?,
            bodies: write.open_table(BODIES)?,
            starts: write.open_table(STARTS)?,
            dead: write.open_table(DEAD)?,
            schedules: write.open_table(SCHEDULES)?,
        })
    }

    fn apply_all(&mut self, changes: &[Change]) -> Result<Vec<Read>, StoreError> {
        let mut found = Vec::new();
        for change in changes {
            found.extend(self.apply(change)?);
        }
        Ok(found)
    }

    /// Each does nothing to a call that is not there: it may have been cancelled.
    fn apply(&mut self, change: &Change) -> Result<Option<Read>, StoreError> {
        match change {
            Change::Add { sequence, call, body } => {
                self.calls.insert(sequence, call.as_slice())?;
                if !body.is_empty() {
                    self.bodies.insert(sequence, body.as_ref())?;
                }
            }
            Change::Start { sequence, starts } => return self.start(*sequence, *starts),
            Change::Wait { sequence, starts, not_before_unix_nanos } => {
                if self.calls.get(sequence)?.is_some() {
                    self.starts.insert(sequence, (*starts, *not_before_unix_nanos))?;
                }
            }
            Change::End { sequence, .. } => {
                self.calls.remove(sequence)?;
                self.bodies.remove(sequence)?;
                self.starts.remove(sequence)?;
                self.dead.remove(sequence)?;
            }
            Change::Bury { sequence, death } => {
                if self.calls.get(sequence)?.is_some() {
                    self.dead.insert(sequence, death.as_slice())?;
                }
            }
            Change::Revive { sequence, starts } => {
                if self.dead.remove(sequence)?.is_some() {
                    self.starts.insert(sequence, (*starts, 0))?;
                }
            }
            Change::Mark { function, unix_seconds } => {
                self.schedules.insert(function.as_str(), unix_seconds)?;
            }
            Change::Unmark { function } => {
                self.schedules.remove(function.as_str())?;
            }
        }
        Ok(None)
    }

    fn start(&mut self, sequence: u64, starts: u32) -> Result<Option<Read>, StoreError> {
        let Some(json) = self.calls.get(sequence)? else { return Ok(None) };
        let call = Call::decode(sequence, json.value())?;
        drop(json);
        let body = self.bodies.get(sequence)?;
        let body = body.map(|body| Bytes::copy_from_slice(body.value())).unwrap_or_default();
        self.starts.insert(sequence, (starts, 0))?;
        Ok(Some(Read { sequence, starts, call, body }))
    }
}
