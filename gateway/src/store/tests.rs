//! The store against real files, a killed process and a disk that runs full.

use std::io;

use super::small_disk::SmallDisk;
use super::*;
use bramble_provider::{Code, Digest, FunctionSpec, ProviderError};

fn stored(name: &str, desired: u32) -> StoredFunction {
    let spec =
        FunctionSpec::new(FunctionName::parse(name).unwrap(), Code::Module(Digest::from_sha256([7; 32])));
    StoredFunction { spec, revision: 1, desired, created_at_unix_nanos: 1_700_000_000_000_000_000 }
}

fn desired(store: &Store) -> Vec<(String, u32)> {
    let all = store.load().unwrap();
    all.iter().map(|function| (function.spec.name.to_string(), function.desired)).collect()
}

#[tokio::test]
async fn keeps_what_was_written_over_a_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.put(&stored("a", 1), Keep::Durably).await.unwrap();
    store.put(&stored("b", 1), Keep::Durably).await.unwrap();
    store.put(&stored("b", 2), Keep::Lazily).await.unwrap();
    store.remove(&FunctionName::parse("a").unwrap()).await.unwrap();
    store.remove(&FunctionName::parse("never-there").unwrap()).await.unwrap();
    drop(store);
    assert_eq!(desired(&Store::open(dir.path()).unwrap()), [("b".to_owned(), 2)]);
}

#[tokio::test]
async fn knows_of_which_functions_there_may_be_a_service() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.services().unwrap(), []);
    let [kept, gone] = ["kept", "gone"].map(|name| FunctionName::parse(name).unwrap());
    store.put_service(&kept).await.unwrap();
    store.put_service(&gone).await.unwrap();
    store.put_service(&kept).await.unwrap();
    store.remove_service(&gone).await.unwrap();
    drop(store);
    assert_eq!(Store::open(dir.path()).unwrap().services().unwrap(), [kept]);
}

#[tokio::test]
async fn a_store_from_before_that_was_kept_has_a_service_for_each_function_in_containers() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut boxed = stored("boxed", 1);
    boxed.spec.code = Code::Image("me/boxed".to_owned());
    store.put(&boxed, Keep::Durably).await.unwrap();
    store.put(&stored("module", 1), Keep::Durably).await.unwrap();
    drop(store);
    let database = Builder::new().create(dir.path().join(Store::FILE)).unwrap();
    let write = database.begin_write().unwrap();
    write.delete_table(SERVICES).unwrap();
    write.open_table(META).unwrap().remove(SERVICES_KEY).unwrap();
    write.commit().unwrap();
    drop(database);
    for _ in 0..2 {
        let services = Store::open(dir.path()).unwrap().services().unwrap();
        assert_eq!(services, std::slice::from_ref(&boxed.spec.name));
    }
}

/// The environment variable by which the test below runs itself as a child that is to be killed.
const CHILD: &str = "BRAMBLE_TEST_STORE_CHILD";

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a test that starts itself has no other way to tell the child")]
async fn loses_nothing_acknowledged_when_killed() {
    use std::io::BufRead;
    if let Some(dir) = std::env::var_os(CHILD) {
        return write_until_killed(Path::new(&dir)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=5_u32 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "store::tests::loses_nothing_acknowledged_when_killed"])
            .env(CHILD, dir.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = io::BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let acknowledged = lines.filter_map(|line| line.strip_prefix("ack ")?.parse::<u32>().ok());
        let last = acknowledged.take(20 * round as usize).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let found = desired(&Store::open(dir.path()).unwrap())[0].1;
        assert!(found >= last, "round {round}: {last} was acknowledged, {found} was found");
    }
}

#[expect(clippy::print_stdout, reason = "the pipe to the parent")]
async fn write_until_killed(dir: &Path) {
    let store = Store::open(dir).unwrap();
    for count in 1.. {
        store.put(&stored("a", count), Keep::Durably).await.unwrap();
        println!("ack {count}");
    }
}

#[test]
fn refuses_a_file_that_is_no_store() {
    for bytes in [b"not a database, and longer than a header would be".repeat(400), b"short".to_vec()] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(Store::FILE);
        std::fs::write(&file, &bytes).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains(&*file.to_string_lossy()), "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), bytes, "the file was changed");
    }
}

#[tokio::test]
async fn refuses_a_truncated_or_scrambled_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for count in 0..50 {
        store.put(&stored(&format!("f{count}"), 1), Keep::Durably).await.unwrap();
    }
    drop(store);
    let file = dir.path().join(Store::FILE);
    let good = std::fs::read(&file).unwrap();
    let mut scrambled = good.clone();
    scrambled[4096..].iter_mut().for_each(|byte| *byte ^= 0x5a);
    for bad in [&good[..good.len() / 3], &good[..100], &scrambled] {
        std::fs::write(&file, bad).unwrap();
        let error = Store::open(dir.path()).and_then(|store| store.load()).unwrap_err();
        assert!(error.to_string().contains(&*file.to_string_lossy()), "{error}");
    }
    std::fs::write(&file, &good).unwrap();
    assert_eq!(desired(&Store::open(dir.path()).unwrap()).len(), 50);
}

#[test]
fn refuses_a_store_of_a_newer_version() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let raise = |database: &Database| {
        let write = database.begin_write()?;
        write.open_table(META)?.insert(VERSION_KEY, VERSION + 1)?;
        Ok(write.commit()?)
    };
    store.0.file.with(raise).unwrap();
    drop(store);
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Version { found, .. } if found == VERSION + 1), "{error:?}");
}

#[tokio::test]
async fn a_full_disk_refuses_the_write_and_keeps_the_old_state() {
    let disk = SmallDisk::default();
    let store = disk.store();
    store.put(&stored("a", 1), Keep::Durably).await.unwrap();
    for limit in [0, 4096, 64 << 10] {
        disk.fill_beyond(limit);
        let mut big = stored("a", 2);
        big.spec.env.insert("BIG".into(), "x".repeat(8 << 20));
        let error = store.put(&big, Keep::Durably).await.unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
        assert!(matches!(ProviderError::from(error), ProviderError::OutOfStorage(_)));
        disk.fill_beyond(u64::MAX);
        assert_eq!(desired(&store), [("a".to_owned(), 1)]);
    }
    store.put(&stored("a", 3), Keep::Durably).await.unwrap();
    assert_eq!(desired(&store), [("a".to_owned(), 3)]);
}
