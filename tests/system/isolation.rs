//! What a guest can reach: its request, its answer, its log, its environment and its own secrets.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;

use serde_json::json;

use crate::support::{Gateway, Start, guest};

/// A guest that does one thing with a file: what, on which descriptor and which path it is told on
/// stdin, as in `r3name`. It answers the content, or the error's number as in `E44`.
pub(crate) fn files() -> Vec<u8> {
    guest::with(
        r#"(func $tell (param $errno i32)
            (i32.store8 (i32.const 4096) (i32.const 69))
            (i32.store8 (i32.const 4097) (i32.add (i32.const 48) (i32.div_u (local.get $errno) (i32.const 10))))
            (i32.store8 (i32.const 4098) (i32.add (i32.const 48) (i32.rem_u (local.get $errno) (i32.const 10))))
            (call $write (i32.const 1) (i32.const 4096) (i32.const 3)))"#,
        "(local $len i32) (local $what i32) (local $fd i32) (local $errno i32)
        (local.set $len (i32.sub (call $read) (i32.const 2)))
        (local.set $what (i32.load8_u (i32.const 65536)))
        (local.set $fd (i32.sub (i32.load8_u (i32.const 65537)) (i32.const 48)))
        (if (i32.eq (local.get $what) (i32.const 114)) (then ;; r: opens to read
            (local.set $errno (call $path_open (local.get $fd) (i32.const 1) (i32.const 65538) (local.get $len)
                (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 24)))))
        (if (i32.eq (local.get $what) (i32.const 119)) (then ;; w: opens to write, making it
            (local.set $errno (call $path_open (local.get $fd) (i32.const 1) (i32.const 65538) (local.get $len)
                (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 24)))))
        (if (i32.eq (local.get $what) (i32.const 100)) (then ;; d: makes a directory
            (local.set $errno (call $path_create_directory (local.get $fd) (i32.const 65538) (local.get $len)))))
        (if (i32.eq (local.get $what) (i32.const 117)) (then ;; u: unlinks
            (local.set $errno (call $path_unlink_file (local.get $fd) (i32.const 65538) (local.get $len)))))
        (if (i32.eq (local.get $what) (i32.const 108)) (then ;; l: lists
            (local.set $errno (call $fd_readdir (local.get $fd) (i32.const 131072) (i32.const 65536) (i64.const 0)
                (i32.const 12)))))
        (if (local.get $errno) (then (call $tell (local.get $errno)) (return)))
        (if (i32.eq (local.get $what) (i32.const 108)) (then
            (call $write (i32.const 1) (i32.const 131072) (i32.load (i32.const 12))) (return)))
        (if (i32.ne (local.get $what) (i32.const 114)) (then (return)))
        (call $vector (i32.const 131072) (i32.const 65536))
        (if (call $fd_read (i32.load (i32.const 24)) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
        (call $write (i32.const 1) (i32.const 131072) (i32.load (i32.const 8)))",
    )
}

/// A gateway with two secrets, and a function that is granted one of them.
fn with_secrets() -> Gateway {
    let gateway = Gateway::start();
    let secrets = gateway.data_dir().join("secrets");
    fs::create_dir_all(&secrets).unwrap();
    fs::write(secrets.join("mine"), "my secret").unwrap();
    fs::write(secrets.join("other"), "somebody else's").unwrap();
    gateway.deploy_with("files", &files(), json!({"secrets": ["mine"]}));
    gateway
}

#[test]
fn a_function_reads_its_own_secret_and_no_other() {
    let gateway = with_secrets();
    gateway.invoke("files", "r3mine").says(200, "my secret");
    gateway.invoke("files", "r3other").says(200, "E44");
    let listed = gateway.invoke("files", "l3").expect(200).text();
    assert!(listed.contains("mine") && !listed.contains("other"), "{listed:?}");
}

#[test]
fn a_function_cannot_climb_out_of_its_secrets() {
    let gateway = with_secrets();
    let dir = gateway.data_dir().to_str().unwrap().to_owned();
    for path in [
        "..",
        "../",
        "../../bramble.redb",
        "../../secrets/other",
        "./../../secrets/other",
        "mine/../../../secrets/other",
        "/etc/passwd",
        "/proc/self/environ",
        &format!("{dir}/secrets/other"),
    ] {
        let answer = gateway.invoke("files", &format!("r3{path}")).expect(200).text();
        assert!(answer.starts_with('E'), "{path}: {answer:?}");
    }
}

#[test]
fn a_function_cannot_change_its_secrets() {
    let gateway = with_secrets();
    for change in ["w3mine", "w3new", "d3dir", "u3mine"] {
        let answer = gateway.invoke("files", change).expect(200).text();
        assert!(answer.starts_with('E'), "{change}: {answer:?}");
    }
    gateway.invoke("files", "r3mine").says(200, "my secret");
    assert_eq!(fs::read(gateway.data_dir().join("secrets/mine")).unwrap(), b"my secret");
}

#[test]
fn a_function_cannot_take_the_gateways_descriptors() {
    let gateway = with_secrets();
    let opens = guest::with(
        &guest::data("mine"),
        "(loop $more
            (br_if $more (i32.eqz (call $path_open (i32.const 3) (i32.const 1) (i32.const 4096) (i32.const 4)
                (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 24)))))
        (loop $again (br $again))",
    );
    gateway.deploy_with("opens", &opens, json!({"secrets": ["mine"], "envVars": {"exec_timeout": "5s"}}));
    gateway.invoke("opens", "").refused(500, "function_failed", "more than 256 open files");
    gateway.invoke("files", "r3mine").says(200, "my secret");
}

#[test]
fn a_function_without_secrets_has_no_directory_at_all() {
    let gateway = Gateway::start();
    gateway.deploy("files", &files());
    for descriptor in ["0", "1", "2", "3", "4", "5", "9"] {
        for what in ["r", "w", "d", "u", "l"] {
            let answer = gateway.invoke("files", &format!("{what}{descriptor}etc/passwd")).expect(200).text();
            assert!(answer.starts_with('E'), "{what}{descriptor}: {answer:?}");
        }
    }
}

#[test]
fn secrets_are_read_again_at_the_next_deployment_and_survive_a_restart() {
    let gateway = with_secrets();
    let gateway = gateway.kill().start();
    gateway.invoke("files", "r3mine").says(200, "my secret");
    fs::write(gateway.data_dir().join("secrets/mine"), "changed").unwrap();
    let digest = gateway.upload(&files());
    let document = json!({"service": "files", "image": digest, "secrets": ["mine"], "envVars": {"A": "1"}});
    gateway.json("PUT", "/system/functions", &document).expect(202);
    gateway.invoke("files", "r3mine").says(200, "changed");
}

#[test]
fn copies_of_secrets_are_for_the_owner_only_and_go_with_the_function() {
    use std::os::unix::fs::PermissionsExt;
    let gateway = with_secrets();
    let views = gateway.data_dir().join("views");
    assert_eq!(fs::metadata(&views).unwrap().permissions().mode() & 0o077, 0);
    gateway.remove("files");
    assert_eq!(fs::read_dir(&views).unwrap().count(), 0);
}

#[test]
fn a_guest_has_no_network() {
    let gateway = Gateway::start();
    // Tries every descriptor it could have, and fails when any call succeeds.
    let wasm = guest::running(
        "(local $fd i32)
        (loop $next
            (call $vector (i32.const 4096) (i32.const 4))
            (if (i32.eqz (call $sock_accept (local.get $fd) (i32.const 0) (i32.const 24))) (then unreachable))
            (if (i32.eqz (call $sock_send (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 24)))
                (then unreachable))
            (br_if $next (i32.lt_u (local.tee $fd (i32.add (local.get $fd) (i32.const 1))) (i32.const 64))))",
    );
    gateway.deploy("dials", &wasm);
    gateway.invoke("dials", "").says(200, "");
}

#[test]
fn a_guest_sees_nothing_of_the_gateways_environment() {
    let gateway = Gateway::start();
    gateway.deploy("env", &guest::tells_environment());
    let text = gateway.invoke("env", "").expect(200).text();
    for name in ["PATH=", "HOME=", "BRAMBLE_"] {
        assert!(!text.contains(name), "{name} is in\n{text}");
    }
}

/// Looks whether anything is left of an earlier invocation, in memory, grown memory, data, a global
/// or a table, and then leaves something in all of them.
fn leaves_traces(end: &str) -> Vec<u8> {
    guest::with(
        &format!(
            "{} (table $t 4 funcref) (elem declare func $here) (func $here)
            (global $g (mut i32) (i32.const 0))
            (func $must_be_clean (param i32) (if (local.get 0) (then (call $proc_exit (i32.const 66)))))",
            guest::data("clean\n")
        ),
        &format!(
            "(local $grown i32)
            (call $must_be_clean (global.get $g))
            (call $must_be_clean (i32.eqz (ref.is_null (table.get $t (i32.const 1)))))
            (call $must_be_clean (i32.ne (i32.load8_u (i32.const 4096)) (i32.const 99)))
            (call $must_be_clean (i32.load (i32.const 60000)))
            (call $must_be_clean (i32.load (i32.const 250000)))
            (call $must_be_clean (i32.ne (memory.size) (i32.const 4)))
            (local.set $grown (i32.mul (memory.grow (i32.const 32)) (i32.const 65536)))
            (call $must_be_clean (i32.load (local.get $grown)))
            (call $must_be_clean (i32.load offset=2097148 (local.get $grown)))
            (call $write (i32.const 1) (i32.const 4096) (i32.const 6))
            (global.set $g (i32.const 1))
            (table.set $t (i32.const 1) (ref.func $here))
            (i32.store8 (i32.const 4096) (i32.const 100))
            (i32.store (i32.const 60000) (i32.const -1))
            (memory.fill (i32.const 200000) (i32.const 255) (i32.const 60000))
            (memory.fill (local.get $grown) (i32.const 255) (i32.const 2097152))
            {end}"
        ),
    )
}

#[test]
fn nothing_of_an_invocation_is_left_for_the_next() {
    for flag in [
        ("--keep-resident", "128Ki"),
        ("--keep-resident", "0"),
        ("--keep-resident", "64Mi"),
        ("--pagemap-scan", "true"),
    ] {
        // One slot for all: whoever comes next is where somebody was.
        let gateway = Start::new().flag("--pool-slots", "1").flag(flag.0, flag.1).start();
        gateway.deploy("ends", &leaves_traces(""));
        gateway.deploy("traps", &leaves_traces("unreachable"));
        let timeout = json!({"envVars": {"exec_timeout": "50ms"}});
        gateway.deploy_with("loops", &leaves_traces("(loop $again (br $again))"), timeout);
        for _ in 0..5 {
            gateway.invoke("ends", "").says(200, "clean\n");
            gateway.invoke("traps", "").refused(500, "function_failed", "unreachable");
            gateway.invoke("ends", "").says(200, "clean\n");
            gateway.invoke("loops", "").refused(504, "timed_out", "");
            gateway.invoke("ends", "").says(200, "clean\n");
        }
    }
}

#[test]
fn invocations_at_the_same_time_share_nothing() {
    let gateway = Gateway::start();
    gateway.deploy("ends", &leaves_traces(""));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..50).for_each(|_| gateway.invoke("ends", "").says(200, "clean\n")));
        }
    });
}

/// Invokes a component that tries to reach a port of this machine, and looks that nobody came.
#[track_caller]
fn check_unreached(wat: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let length = "127.0.0.1:".len() + port.len();
    let wat = wat.replace("PORT", &port).replace("LENGTH", &length.to_string());
    let gateway = Gateway::start();
    gateway.deploy("dials", &wat::parse_str(wat).unwrap());
    gateway.invoke("dials", "").says(200, "");
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_component_has_no_sockets() {
    check_unreached(include_str!("../wat/tcp.wat"));
}

#[test]
fn a_component_cannot_send_requests() {
    check_unreached(include_str!("../wat/http.wat"));
}
