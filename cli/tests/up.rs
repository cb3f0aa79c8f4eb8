//! `bramble up --detach` and `bramble down`, with a real gateway on a port of its own.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Answers `hello`: the smallest program that can be deployed and seen to run.
const HELLO: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "hello")
    (data (i32.const 0) "\10\00\00\00\05\00\00\00")
    (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// A directory with a data directory and samples in it, whose gateway is stopped in the end.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(place.samples()).unwrap();
        std::fs::write(place.samples().join("My_Hello.wasm"), wat::parse_str(HELLO).unwrap()).unwrap();
        place
    }

    fn samples(&self) -> PathBuf {
        self.0.path().join("samples")
    }

    fn data_dir(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bramble"));
        command.args(arguments).env_clear().env("BRAMBLE_DATA_DIR", self.data_dir());
        command.current_dir(self.0.path()).stdin(Stdio::null()).output().unwrap()
    }

    /// What a successful command prints.
    #[track_caller]
    fn check(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn up(&self) -> String {
        let any = "127.0.0.1:0";
        self.check(&["up", "-d", "--listen", any, "--metrics-listen", any, "--samples", "samples"])
    }

    /// The second line of the file that the gateway keeps.
    fn url(&self) -> String {
        let text = std::fs::read_to_string(self.data_dir().join("gateway.pid")).unwrap();
        text.lines().nth(1).unwrap().to_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.run(&["down"]);
    }
}

#[test]
fn goes_to_the_background_with_the_samples_and_comes_down() {
    let place = Place::new();
    let greeting = place.up();
    let url = place.url();
    assert!(greeting.contains(&url), "{greeting}");
    assert_eq!(place.check(&["list", "-q", "-g", &url]), "my-hello\n");
    assert_eq!(place.check(&["invoke", "my-hello", "-g", &url]), "hello");

    assert!(place.up().contains("runs already"));
    assert_eq!(place.url(), url);

    assert!(place.check(&["down"]).contains(&url));
    assert_eq!(place.run(&["list", "-g", &url]).status.code(), Some(3));
    assert!(place.check(&["down"]).contains("no gateway runs"));

    place.up();
    assert_eq!(place.check(&["invoke", "my-hello", "-g", &place.url()]), "hello");
}

#[test]
fn comes_up_also_where_the_login_cannot_be_kept() {
    let place = Place::new();
    let any = "127.0.0.1:0";
    let words =
        ["up", "-d", "--basic-auth", "--listen", any, "--metrics-listen", any, "--samples", "samples"];
    let output = place.run(&words);
    let (greeting, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("not logged in") && said.contains("HOME"), "{said}");
    assert!(greeting.contains("invoke") && greeting.contains("my-hello"), "{greeting}");
    assert!(greeting.contains("bramble login -g ") && !greeting.contains("you are logged in"), "{greeting}");
}

#[test]
fn leaves_alone_what_somebody_else_deployed() {
    let place = Place::new();
    place.up();
    let url = place.url();
    place.check(&["remove", "my-hello", "-g", &url]);
    let other = HELLO.replace("hello", "olleh");
    std::fs::write(place.0.path().join("other.wasm"), wat::parse_str(other).unwrap()).unwrap();
    place.check(&["deploy", "other.wasm", "--name", "my-hello", "-g", &url]);
    place.up();
    assert_eq!(place.check(&["invoke", "my-hello", "-g", &url]), "olleh");
}

#[test]
fn says_why_a_gateway_did_not_start() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = place.run(&["up", "--detach", "--listen", &address, "--metrics-listen", "127.0.0.1:0"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("gateway.log"), "{said}");
    assert!(Path::exists(&place.data_dir().join("gateway.log")));
}

#[test]
fn the_samples_are_in_the_gateways_store() {
    let place = Place::new();
    std::fs::write(place.samples().join("echo.wasm"), wat::parse_str(HELLO).unwrap()).unwrap();
    place.up();
    let url = place.url();
    place.check(&["remove", "echo", "-g", &url]);
    let list = format!("{url}/store/functions.json");
    place.check(&["store", "deploy", "echo", "--as", "mine", "--url", &list, "-g", &url]);
    assert_eq!(place.check(&["invoke", "mine", "-g", &url]), "hello");
}
