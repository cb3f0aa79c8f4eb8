//! Functions and the API over TLS, with a certificate that is renewed while they are served.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::{Gateway, Start, guest, wait};

/// An authority, and a certificate of it for the loopback in `cert.pem` and `key.pem`; each time new ones.
fn certify(directory: &Path) {
    let script = r#"
        cd "$0"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=tests \
            -keyout ca-key.pem -out ca.pem
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=gateway \
            -keyout new-key.pem -out request.pem
        openssl x509 -req -days 2 -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial \
            -extfile <(printf 'subjectAltName=IP:127.0.0.1') -out new-cert.pem
        mv new-key.pem key.pem; mv new-cert.pem cert.pem
    "#;
    let output = Command::new("bash").args(["-euc", script]).arg(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn start(directory: &Path) -> Start {
    let file = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    Start::new().flag("--tls-cert", &file("cert.pem")).flag("--tls-key", &file("key.pem"))
}

pub(crate) fn curl(directory: &Path, url: &str, more: &[&str]) -> Output {
    let ca = directory.join("ca.pem");
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "60", "--noproxy", "*", "--cacert"]).arg(ca).args(more).arg(url);
    curl.output().unwrap()
}

#[track_caller]
pub(crate) fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A directory with a certificate, and a gateway that has it.
pub(crate) fn with_certificate() -> (TempDir, Gateway) {
    let directory = tempfile::tempdir().unwrap();
    certify(directory.path());
    let gateway = start(directory.path()).start();
    (directory, gateway)
}

#[test]
fn everything_is_served_over_tls() {
    let (directory, gateway) = with_certificate();
    assert!(gateway.url().starts_with("https://"), "{}", gateway.url());
    let get = |path: &str| text(&curl(directory.path(), &format!("{}{path}", gateway.url()), &[]));
    assert_eq!(get("/healthz"), "OK");
    let ca = directory.path().join("ca.pem");
    let run = |arguments: &[&str]| gateway.cli(arguments).output().unwrap();
    let module = directory.path().join("echo.wasm");
    fs::write(&module, guest::cat()).unwrap();
    let (module, ca) = (module.to_str().unwrap(), ca.to_str().unwrap());
    assert!(run(&["deploy", module, "--tls-ca", ca]).status.success());
    assert_eq!(text(&run(&["invoke", "echo", "-d", "hi", "--tls-ca", ca])), "hi");
    assert_eq!(text(&run(&["list", "-q", "--tls-no-verify"])), "echo\n");
    let stranger = run(&["list"]);
    assert_eq!(stranger.status.code(), Some(3), "{stranger:?}");
    assert!(String::from_utf8_lossy(&stranger.stderr).contains("--tls-ca"), "{stranger:?}");

    // A large body both ways, over one connection.
    let body = directory.path().join("body");
    fs::write(&body, "0123456789abcdef".repeat(1 << 18)).unwrap();
    let send = ["--data-binary", &format!("@{}", body.display())];
    let echoed = curl(directory.path(), &format!("{}/function/echo", gateway.url()), &send);
    assert_eq!(text(&echoed).len(), 4 << 20);

    // In the clear it is nobody's, and a client that says nothing does not keep it from ending.
    let plain = curl(directory.path(), &format!("http://{}/", gateway.address), &[]);
    assert!(!plain.status.success(), "{plain:?}");
    let metrics = http::Request::get(format!("http://{}/metrics", gateway.metrics_address));
    gateway.send(metrics, b"").expect(200);
    let silent = std::net::TcpStream::connect(gateway.address).unwrap();
    let mut gateway = gateway;
    gateway.signal(rustix::process::Signal::TERM);
    assert!(gateway.ended().success());
    assert!(!gateway.log().contains("still running"), "{}", gateway.log());
    drop(silent);
}

#[test]
fn a_renewed_certificate_is_taken_up_and_half_of_one_is_not() {
    let (directory, gateway) = with_certificate();
    let url = format!("{}/healthz", gateway.url());
    let old = directory.path().join("old-ca.pem");
    fs::copy(directory.path().join("ca.pem"), &old).unwrap();
    let trusts_old = || {
        let ca = old.to_str().unwrap();
        Command::new("curl")
            .args(["-sS", "--noproxy", "*", "--cacert", ca, &url])
            .output()
            .unwrap()
            .status
            .success()
    };
    assert!(trusts_old());
    let (cert, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    let whole = fs::read(&key).unwrap();
    fs::write(&key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    let refusals = || gateway.log().matches("the one before stays").count();
    wait::until("the broken key was looked at", || refusals() > 0);
    assert!(trusts_old());
    fs::write(&cert, "").unwrap();
    wait::until("the empty certificate was looked at", || refusals() > 1);
    assert!(trusts_old());
    fs::write(&key, whole).unwrap();
    certify(directory.path());
    wait::until("the new one is taken up", || curl(directory.path(), &url, &[]).status.success());
    assert!(!trusts_old());
    assert!(!gateway.log().contains("PRIVATE KEY"), "{}", gateway.log());
}

#[test]
fn files_are_fetched_from_servers_that_this_machine_trusts() {
    let (directory, gateway) = with_certificate();
    let ca = directory.path().join("ca.pem");
    let list = r#"{"functions": [{"name": "cat", "images": {"wasm32-wasi": "cat.wasm"}}]}"#;
    let module = directory.path().join("list.wasm");
    fs::write(&module, guest::says(list)).unwrap();
    let deploy = ["deploy", module.to_str().unwrap(), "--tls-ca", ca.to_str().unwrap()];
    text(&gateway.cli(&deploy).output().unwrap());
    let url = format!("{}/function/list", gateway.url());
    let fetch = ["store", "list", "--url", &url];
    let listed = text(&gateway.cli(&fetch).env("SSL_CERT_FILE", &ca).output().unwrap());
    assert!(listed.contains("cat"), "{listed}");
    let stranger = gateway.cli(&fetch).output().unwrap();
    let said = String::from_utf8_lossy(&stranger.stderr);
    assert_eq!(stranger.status.code(), Some(1), "{said}");
    assert!(said.contains(&url) && !said.contains("the gateway"), "{said}");
}

#[test]
fn up_with_a_stack_file_starts_a_gateway_over_tls_too() {
    let directory = tempfile::tempdir().unwrap();
    certify(directory.path());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fs::write(directory.path().join("cat.wasm"), guest::cat()).unwrap();
    fs::write(directory.path().join("s.yml"), "functions: {cat: {image: cat.wasm}}\n").unwrap();
    // Only its command line is used: `up` starts another one.
    let home = Gateway::start();
    let run = |words: &str| home.cli(&words.split(' ').collect::<Vec<_>>()).current_dir(&directory).output();
    let at = format!("-g https://{free} --tls-no-verify");
    let settings =
        format!("--listen {free} --metrics-listen 127.0.0.1:0 --tls-cert cert.pem --tls-key key.pem");
    let up = run(&format!("up -f s.yml {at} {settings} --data-dir data")).unwrap();
    let invoked = run(&format!("invoke cat -d hi {at}")).unwrap();
    let down = run("down --data-dir data").unwrap();
    assert!(text(&up).contains("deployed cat"), "{up:?}");
    assert_eq!(text(&invoked), "hi");
    assert!(down.status.success(), "{down:?}");
}

#[test]
fn a_certificate_that_cannot_be_used_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    certify(directory.path());
    let other = tempfile::tempdir().unwrap();
    certify(other.path());
    let file = |directory: &TempDir, name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let cert = file(&directory, "cert.pem");
    for (key, says) in [
        (file(&other, "key.pem"), "is not that of"),
        (file(&directory, "nothing.pem"), "tls_key"),
        (file(&directory, "ca.pem"), "tls_key"),
    ] {
        let refused = Start::new().flag("--tls-cert", &cert).flag("--tls-key", &key).try_start().unwrap_err();
        assert!(refused.stderr.contains(says), "{says:?} is not in {refused:?}");
    }
    let half = Start::new().flag("--tls-cert", &cert).try_start().unwrap_err();
    assert!(half.stderr.contains("tls_key is not"), "{half:?}");
}

#[test]
fn up_answers_others_over_tls_with_a_password_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    certify(directory.path());
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    // Only its command line is used: `up` starts another one.
    let home = Gateway::start();
    let data = file("data");
    let run = |arguments: &[&str]| home.cli(arguments).output().unwrap();
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let up = [
        "up",
        "--detach",
        "--data-dir",
        &data,
        "--listen",
        "0.0.0.0:0",
        "--metrics-listen",
        "127.0.0.1:0",
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
    ];
    let greeting = text(&run(&up));
    assert!(greeting.contains("basic-auth-password"), "{greeting}");
    let url = fs::read_to_string(directory.path().join("data/gateway.pid")).unwrap();
    let url = url.lines().nth(1).unwrap();
    let list = text(&run(&["secret", "create", "x", "--from-literal", "y", "-g", url, "--tls-no-verify"]));
    assert!(list.contains("created"), "{list}");
    let stranger = curl(directory.path(), &format!("{url}/system/functions"), &["-w", "%{http_code}"]);
    assert_eq!(text(&stranger), "invalid credentials401");
    let password = fs::read_to_string(directory.path().join("data/auth/basic-auth-password")).unwrap();
    let login = format!("admin:{}", password.trim());
    let known = curl(directory.path(), &format!("{url}/system/functions"), &["-u", &login]);
    assert_eq!(text(&known), "[]");
    assert!(text(&run(&up)).contains("runs already"));
    let same = fs::read_to_string(directory.path().join("data/auth/basic-auth-password")).unwrap();
    assert_eq!(password, same);
    assert!(run(&["down", "--data-dir", &data]).status.success());
}
