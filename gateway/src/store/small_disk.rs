//! A disk that runs full, for tests.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::backends::InMemoryBackend;
use redb::{Builder, StorageBackend};

use super::Store;

/// Memory that takes only so many bytes, as a full disk does.
#[derive(Debug, Clone)]
pub(crate) struct SmallDisk {
    disk: Arc<InMemoryBackend>,
    limit_bytes: Arc<AtomicU64>,
}

impl Default for SmallDisk {
    fn default() -> Self {
        Self { disk: Arc::default(), limit_bytes: Arc::new(AtomicU64::new(u64::MAX)) }
    }
}

impl SmallDisk {
    /// A store on this disk.
    pub(crate) fn store(&self) -> Store {
        let disk = self.clone();
        let open = move || Builder::new().create_with_backend(disk.clone());
        Store::open_with("small disk".into(), open).unwrap()
    }

    /// From now on nothing can be written beyond so many bytes.
    pub(crate) fn fill_beyond(&self, limit_bytes: u64) {
        self.limit_bytes.store(limit_bytes, Ordering::Relaxed);
    }

    fn refuse_beyond(&self, end: u64) -> io::Result<()> {
        if end > self.limit_bytes.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl StorageBackend for SmallDisk {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.refuse_beyond(len)?;
        self.disk.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.refuse_beyond(offset + data.len() as u64)?;
        self.disk.write(offset, data)
    }
}
