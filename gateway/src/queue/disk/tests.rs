//! The database: what is acknowledged stays, also on a disk that runs full.

use super::super::call::tests::call;
use super::*;
use crate::store::small_disk::SmallDisk;

struct Fixture {
    _dir: tempfile::TempDir,
    spool: Spool,
    small: SmallDisk,
}

/// What a start finds.
struct Stored {
    calls: Vec<StoredCall>,
    schedules: Schedules,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { spool: Spool::open(dir.path()).unwrap(), _dir: dir, small: SmallDisk::default() }
    }

    fn open(&self) -> (Disk, Stored) {
        let small = self.small.clone();
        let file =
            DatabaseFile::new("small disk".into(), move || Builder::new().create_with_backend(small.clone()));
        let mut calls = Vec::new();
        let (disk, schedules) = Disk::over(file, self.spool.clone(), |found| calls.push(found)).unwrap();
        (disk, Stored { calls, schedules })
    }
}

fn add(sequence: u64, bytes: usize) -> Change {
    Change::Add {
        sequence,
        call: call("f", &format!("id-{sequence}")).encode(),
        body: vec![b'x'; bytes].into(),
    }
}

fn found(stored: &Stored) -> Vec<(u64, u32)> {
    stored.calls.iter().map(|call| (call.sequence, call.starts)).collect()
}

#[tokio::test]
async fn keeps_calls_with_their_starts_and_forgets_what_ended() {
    let fixture = Fixture::new();
    let (disk, stored) = fixture.open();
    assert_eq!(found(&stored), []);
    for sequence in 1..=4 {
        disk.write(vec![add(sequence, 3)]).await.unwrap();
    }
    let start = |sequence, starts| Change::Start { sequence, starts };
    let read = disk.write(vec![start(1, 1), start(2, 1), start(9, 1)]).await.unwrap();
    assert_eq!(read.iter().map(|read| read.sequence).collect::<Vec<_>>(), [1, 2], "9 is not there");
    assert_eq!((read[0].call.id.as_str(), &read[0].body[..]), ("id-1", &b"xxx"[..]));
    disk.write_later(Change::End { sequence: 2, file: None }).await;
    disk.write_later(Change::Wait { sequence: 3, starts: 2, not_before_unix_nanos: 77 }).await;
    let death = Death { reason: "no".into(), status: None, at_unix_nanos: 5 };
    disk.write_later(Change::bury(4, &death)).await;
    disk.write_later(Change::Mark { function: "f".into(), unix_seconds: 60 }).await;
    drop(disk);
    let (disk, stored) = fixture.open();
    assert_eq!(found(&stored), [(1, 1), (3, 2), (4, 0)]);
    assert_eq!(stored.calls[1].not_before_unix_nanos, 77);
    assert_eq!(stored.calls[2].death, Some(death));
    assert_eq!(stored.schedules["f"], 60);
    disk.write(vec![Change::Revive { sequence: 4, starts: 0 }]).await.unwrap();
    drop(disk);
    assert_eq!(fixture.open().1.calls[2].death, None);
}

#[tokio::test]
async fn many_writers_wait_for_one_sync() {
    let fixture = Fixture::new();
    let (disk, _) = fixture.open();
    let disk = Arc::new(disk);
    let writers: Vec<_> = (1..=500)
        .map(|sequence| {
            let disk = disk.clone();
            tokio::spawn(async move { disk.write(vec![add(sequence, 1)]).await.map(drop) })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    drop(disk);
    assert_eq!(fixture.open().1.calls.len(), 500);
}

#[tokio::test]
async fn a_full_disk_refuses_new_calls_and_loses_no_old_one() {
    let fixture = Fixture::new();
    let (disk, _) = fixture.open();
    disk.write(vec![add(1, 10)]).await.unwrap();
    fixture.small.fill_beyond(0);
    let refused = disk.write(vec![add(2, 10)]).await.unwrap_err();
    assert!(matches!(*refused, StoreError::Full { .. }), "{refused:?}");
    let start = || vec![Change::Start { sequence: 1, starts: 1 }];
    assert!(disk.write(start()).await.is_err(), "nothing may run whose start is not on the disk");
    // What nobody waits for is written when there is room again.
    disk.write_later(Change::Mark { function: "f".into(), unix_seconds: 60 }).await;
    assert!(disk.write(vec![add(3, 10)]).await.is_err());
    fixture.small.fill_beyond(u64::MAX);
    disk.write(vec![add(4, 10)]).await.unwrap();
    assert_eq!(disk.write(start()).await.unwrap().len(), 1);
    drop(disk);
    let (_disk, stored) = fixture.open();
    assert_eq!(found(&stored), [(1, 1), (4, 0)]);
    assert_eq!(stored.schedules["f"], 60);
}

#[tokio::test]
async fn what_a_full_disk_owes_is_written_once_there_is_room_though_nobody_else_writes() {
    let fixture = Fixture::new();
    let (disk, _) = fixture.open();
    disk.settle().await;
    fixture.small.fill_beyond(0);
    disk.write_later(Change::Mark { function: "f".into(), unix_seconds: 60 }).await;
    while !disk.owing.load(Ordering::Relaxed) {
        tokio::task::yield_now().await;
    }
    fixture.small.fill_beyond(u64::MAX);
    disk.settle().await;
    while disk.owing.load(Ordering::Relaxed) {
        tokio::task::yield_now().await;
    }
    drop(disk);
    assert_eq!(fixture.open().1.schedules["f"], 60);
}
