//! The disk: full, damaged, not ours, already in use. Nothing that was acknowledged is lost.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::support::gateway::Refused;
use crate::support::{Gateway, Start, guest};

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A file system of a few megabytes, in a mount namespace that goes with its holder.
struct SmallDisk {
    holder: Child,
    dir: TempDir,
}

impl SmallDisk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let script = r#"mount -t tmpfs -o size=8m,mode=700 bramble-test "$0" && echo mounted && exec cat"#;
        let mut command = Command::new("unshare");
        if !is_root() {
            command.arg("--map-root-user");
        }
        command.args(["--mount", "sh", "-c", script]).arg(dir.path());
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "mounted\n", "a full disk needs a mount: run as root, or allow user namespaces");
        Self { holder, dir }
    }

    /// How to start a gateway that has its data there.
    fn start(&self) -> Start {
        let pid = self.holder.id().to_string();
        let user: &[&str] = if is_root() { &[] } else { &["--user", "--preserve-credentials"] };
        let words = [&["nsenter", "--target", &pid, "--mount"], user].concat();
        Start::new().under(&words).data_dir(self.dir.path().join("data"))
    }

    /// A path there, as it is reached from outside.
    fn outside(&self, name: &str) -> PathBuf {
        let inside = self.dir.path().strip_prefix("/").unwrap();
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(inside).join(name)
    }

    /// Takes all the space there is.
    fn fill(&self) {
        let mut filler = File::create(self.outside("filler")).unwrap();
        for bytes in [1 << 20, 4 << 10, 64, 1] {
            while filler.write_all(&vec![0; bytes]).is_ok() {}
        }
    }

    /// Gives the space back.
    fn free(&self) {
        fs::remove_file(self.outside("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.holder.kill().unwrap();
        self.holder.wait().unwrap();
    }
}

#[test]
fn a_full_disk_refuses_a_deployment_and_keeps_what_there_is() {
    let disk = SmallDisk::new();
    let gateway = disk.start().start();
    gateway.deploy("old", &guest::says("old\n"));
    let digest = gateway.upload(&guest::says("old\n"));
    disk.fill();
    for _ in 0..3 {
        gateway.put("new", &guest::says("new\n")).refused(507, "out_of_storage", "space");
        gateway.put("old", &guest::says("newer\n")).refused(507, "out_of_storage", "space");
    }
    // The store has room of its own, so this may succeed. If it does, it is kept.
    let more = gateway.create("more", &digest, json!({"envVars": {"BIG": "x".repeat(100_000)}}));
    let kept = if more.status == 202 { vec!["more", "old"] } else { vec!["old"] };
    assert!([202, 507].contains(&more.status.as_u16()), "{more:?}");
    assert_eq!(gateway.names(), kept);
    gateway.invoke("old", "").says(200, "old\n");
    disk.free();
    gateway.deploy("new", &guest::says("new\n"));
    gateway.invoke("new", "").says(200, "new\n");
    let gateway = gateway.kill().start();
    gateway.invoke("old", "").says(200, "old\n");
    gateway.invoke("new", "").says(200, "new\n");
}

#[test]
fn a_full_disk_refuses_a_queued_invocation_and_loses_none_that_was_accepted() {
    let disk = SmallDisk::new();
    let gateway = disk.start().start();
    let limits = json!({"envVars": {"max_inflight": "1", "exec_timeout": "10m"}});
    gateway.deploy_with("slow", &guest::sleeps(), limits);
    disk.fill();
    // Large ones are files; small ones find room in the queue's own file for a while.
    let call = |gateway: &Gateway, bytes: usize| {
        gateway.send(gateway.request("POST", "/async-function/slow"), &vec![b'x'; bytes])
    };
    call(&gateway, 200_000).refused(507, "out_of_storage", "not queued");
    let mut accepted = Vec::new();
    let refused = loop {
        let answer = call(&gateway, 10_000);
        if answer.status != 202 {
            break answer;
        }
        accepted.push(answer.header("x-call-id").to_owned());
        assert!(accepted.len() < 2_000, "the disk is never full");
    };
    refused.refused(507, "out_of_storage", "not queued");
    let unfinished = gateway.get("/system/async").expect(200).json()["unfinished"].as_u64();
    assert_eq!(unfinished, Some(accepted.len() as u64));
    disk.free();
    accepted.push(call(&gateway, 200_000).expect(202).header("x-call-id").to_owned());
    let gateway = gateway.kill().start();
    for id in &accepted {
        gateway.get(&format!("/system/async/{id}")).expect(200);
    }
    let unfinished = gateway.get("/system/async").expect(200).json()["unfinished"].as_u64();
    assert_eq!(unfinished, Some(accepted.len() as u64), "what was refused is there");
}

#[test]
fn a_disk_that_fills_up_bit_by_bit_loses_nothing_acknowledged() {
    let disk = SmallDisk::new();
    let mut gateway = disk.start().start();
    let mut kept = Vec::new();
    // Each one takes a few pages of the store; sooner or later one does not fit.
    let digest = gateway.upload(&guest::says("here\n"));
    for at in 0.. {
        let name = format!("f{at}");
        let answer = gateway.create(&name, &digest, json!({"envVars": {"BIG": "x".repeat(120_000)}}));
        if answer.status != 202 {
            answer.refused(507, "out_of_storage", "space");
            break;
        }
        kept.push(name);
    }
    for round in 0..2 {
        let mut names = gateway.names();
        names.sort();
        let mut expected = kept.clone();
        expected.sort();
        assert_eq!(names, expected, "round {round}");
        for name in &kept {
            gateway.invoke(name, "").says(200, "here\n");
        }
        gateway = gateway.kill().start();
    }
    // Taking some away makes room again.
    for name in kept.drain(..5) {
        gateway.remove(&name);
    }
    gateway.create("late", &digest, json!({"envVars": {"BIG": "x".repeat(120_000)}})).expect(202);
}

#[test]
fn a_gateway_starts_on_a_full_disk_and_serves_what_there_is() {
    let disk = SmallDisk::new();
    let gateway = disk.start().start();
    gateway.deploy("old", &guest::says("old\n"));
    disk.fill();
    let gateway = gateway.kill().start();
    gateway.invoke("old", "").says(200, "old\n");
    gateway.put("new", &guest::says("new\n")).refused(507, "out_of_storage", "space");
}

/// That a gateway did not start, and what it said.
#[track_caller]
fn check(refused: Result<Gateway, Refused>, says: &[&str]) {
    let Err(Refused { code, stderr }) = refused else { panic!("it started") };
    assert!(matches!(code, Some(1 | 2)), "{code:?}: {stderr}");
    for part in says {
        assert!(stderr.contains(part), "{part:?} is not in {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}

/// A gateway that permissions bind, also when the tests run as root.
fn unprivileged() -> Start {
    let all = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    Start::new().under(if is_root() { &all } else { &[] })
}

#[test]
fn a_data_directory_that_cannot_be_read_is_refused_by_name() {
    for mode in [0o000, 0o500, 0o300] {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("forbidden");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
        let refused = unprivileged().data_dir(&dir).try_start();
        check(refused, &[dir.to_str().unwrap(), "ermission denied"]);
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn a_data_directory_that_cannot_be_made_is_refused_by_name() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("a-file");
    fs::write(&file, "precious").unwrap();
    check(Start::new().data_dir(&file).try_start(), &["data directory", file.to_str().unwrap()]);
    check(Start::new().data_dir(file.join("below")).try_start(), &["data directory", file.to_str().unwrap()]);
    assert_eq!(fs::read(&file).unwrap(), b"precious");
}

#[test]
fn a_second_gateway_on_one_data_directory_is_refused_and_the_first_goes_on() {
    let first = Gateway::start();
    first.deploy("kept", &guest::says("kept\n"));
    let second = Start::new().data_dir(first.data_dir()).try_start();
    let pid = first.pid().to_string();
    check(second, &["in use by another gateway", first.data_dir().to_str().unwrap(), &pid]);
    first.invoke("kept", "").says(200, "kept\n");
    first.deploy("more", &guest::says("more\n"));
}

#[test]
fn a_port_in_use_is_refused_by_number() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--metrics-listen"] {
        check(Start::new().flag(flag, &address).try_start(), &[&address, "in use"]);
    }
}

#[test]
fn a_damaged_store_is_refused_by_name_and_a_backup_brings_it_back() {
    let gateway = Gateway::start();
    gateway.deploy("kept", &guest::says("kept\n"));
    let store = gateway.data_dir().join("bramble.redb");
    let start = gateway.kill();
    let good = fs::read(&store).unwrap();
    fs::write(&store, &good[..good.len() / 3]).unwrap();
    check(start.try_start(), &["bramble.redb", "damaged"]);
    fs::write(&store, &good).unwrap();
    start.start().invoke("kept", "").says(200, "kept\n");
}

/// Files of compiled code.
fn compiled(gateway_dir: &Path) -> Vec<PathBuf> {
    let engines = fs::read_dir(gateway_dir.join("cache")).unwrap();
    let files = engines.flat_map(|engine| fs::read_dir(engine.unwrap().path()).unwrap());
    files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "cwasm"))
        .collect()
}

/// Harms the compiled code of a stopped gateway; the function must answer all the same.
#[track_caller]
fn check_recompiled(harm: impl Fn(&Path)) {
    let gateway = Gateway::start();
    gateway.deploy("kept", &guest::says("kept\n"));
    let dir = gateway.data_dir().to_owned();
    let start = gateway.kill();
    let files = compiled(&dir);
    assert_eq!(files.len(), 1);
    let good = fs::read(&files[0]).unwrap();
    harm(&files[0]);
    let gateway = start.start();
    for _ in 0..3 {
        gateway.invoke("kept", "").says(200, "kept\n");
    }
    assert!(fs::read(&files[0]).unwrap() == good, "it was not compiled anew");
}

#[test]
fn compiled_code_with_one_bit_flipped_is_compiled_again() {
    check_recompiled(|file| {
        let mut bytes = fs::read(file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(file, bytes).unwrap();
    });
}

#[test]
fn compiled_code_that_was_cut_short_is_compiled_again() {
    check_recompiled(|file| {
        let bytes = fs::read(file).unwrap();
        fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
    });
}

#[test]
fn compiled_code_that_is_something_else_is_compiled_again() {
    check_recompiled(|file| fs::write(file, guest::cat()).unwrap());
    check_recompiled(|file| fs::write(file, "").unwrap());
}

#[test]
fn compiled_code_that_is_gone_is_compiled_again() {
    check_recompiled(|file| fs::remove_file(file).unwrap());
    check_recompiled(|file| fs::remove_dir_all(file.parent().unwrap().parent().unwrap()).unwrap());
}

#[test]
fn the_cache_may_be_deleted_while_the_gateway_runs() {
    let gateway = Gateway::start();
    gateway.deploy("old", &guest::says("old\n"));
    fs::remove_dir_all(gateway.data_dir().join("cache")).unwrap();
    gateway.invoke("old", "").says(200, "old\n");
    gateway.deploy("new", &guest::says("new\n"));
    gateway.invoke("new", "").says(200, "new\n");
    gateway.scale("old", 0);
    gateway.invoke("old", "").says(200, "old\n");
}

/// The file of a stored module.
fn module_file(gateway: &Gateway, digest: &str) -> PathBuf {
    gateway.data_dir().join("modules").join(digest.replace(':', "/")).with_extension("wasm")
}

#[test]
fn a_module_that_is_gone_harms_no_other_function() {
    let gateway = Gateway::start();
    gateway.deploy("good", &guest::says("good\n"));
    gateway.deploy("bad", &guest::says("bad\n"));
    let file = module_file(&gateway, &gateway.upload(&guest::says("bad\n")));
    let start = gateway.kill();
    fs::remove_file(&file).unwrap();
    let gateway = start.start();
    gateway.invoke("good", "").says(200, "good\n");
    let answer = gateway.invoke("bad", "");
    assert!(answer.status.is_server_error(), "it is deployed, and that it cannot run is ours: {answer:?}");
    assert_eq!(gateway.names(), ["bad", "good"]);
    // The same bytes again repair it.
    gateway.deploy("bad", &guest::says("bad\n"));
    gateway.invoke("bad", "").says(200, "bad\n");
}

#[test]
fn a_damaged_module_is_never_run() {
    let gateway = Gateway::start();
    gateway.deploy("bad", &guest::says("bad\n"));
    let file = module_file(&gateway, &gateway.upload(&guest::says("bad\n")));
    let dir = gateway.data_dir().to_owned();
    let start = gateway.kill();
    fs::write(&file, guest::says("evil\n")).unwrap();
    fs::remove_dir_all(dir.join("cache")).unwrap();
    let gateway = start.start();
    gateway.invoke("bad", "").refused(500, "internal", "");
    gateway.deploy("bad", &guest::says("bad\n"));
    gateway.invoke("bad", "").says(200, "bad\n");
}
