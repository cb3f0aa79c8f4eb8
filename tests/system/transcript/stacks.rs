//! Stack files: deploy, push, diff, generate, remove, up, and what is wrong with one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Desk, contains};
use crate::support::{guest, wait};

/// Two functions whose modules are there.
const STACK: &str = "\
provider: {name: openfaas, gateway: http://127.0.0.1:8080}
functions:
  cat:
    lang: wasm
    image: ./cat.wasm
  env:
    image: env.wasm
    environment: {A: '${GREETING:-hi}'}
    environment_file: [more.yml]
    labels: {team: blue}
    fprocess: env  'a b'
    limits: {memory: 40M, cpu: '1'}
    requests: {cpu: 0.5}
";

fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("stack.yml", STACK);
    desk.write("more.yml", "environment: {B: 7}");
    desk.write("cat.wasm", guest::cat());
    desk.write("env.wasm", guest::tells_environment());
    desk
}

#[test]
fn a_stack_file_is_deployed_compared_and_removed() {
    let desk = desk();
    let generated: Value = serde_json::from_str(&desk.types("generate -f stack.yml", 0)).unwrap();
    assert_eq!(generated[1]["envVars"], serde_json::json!({"A": "hi", "B": "7"}));
    contains(&desk.types("diff -f stack.yml", 1), &["cat", "env", "sha256:", "2 fields differ"]);
    contains(&desk.types("push -f stack.yml", 0), &["pushed cat", "pushed env"]);
    contains(&desk.types("deploy -f stack.yml --parallel 2", 0), &["deployed cat", "deployed env"]);
    contains(&desk.types("diff", 0), &["nothing differs"]);
    assert_eq!(desk.pipes("Ada", "invoke cat", 0), "Ada");
    contains(&desk.types("invoke env", 0), &["A=hi", "B=7"]);
    contains(&desk.types("describe env", 0), &["team"]);
    desk.types("ready cat", 0);
    desk.types("logs cat", 0);
    // What the options say is added, and wins.
    let done = desk.types("deploy -f stack.yml --filter env --env A=flag --json", 0);
    assert_eq!(serde_json::from_str::<Value>(&done).unwrap()[0]["name"], "env");
    contains(&desk.types("diff -f stack.yml", 1), &["environment.A", "flag"]);
    let differences = desk.command("diff -f stack.yml --json").output().unwrap().stdout;
    let differences: Value = serde_json::from_slice(&differences).unwrap();
    assert_eq!((&differences[0]["field"], &differences[0]["file"]), (&"environment.A".into(), &"hi".into()));
    contains(&desk.types("remove -f stack.yml --regex ^c", 0), &["removed cat"]);
    desk.types("remove -f stack.yml", 4);
    assert_eq!(desk.types("list --quiet", 0), "");
}

#[test]
fn a_stack_file_comes_from_a_url_too() {
    let desk = desk();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/stacks/s.yml", server.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut request = [0; 1024];
        let length = stream.read(&mut request).unwrap();
        assert!(request[..length].starts_with(b"GET /stacks/s.yml HTTP/1.1\r\n"));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", STACK.len());
        stream.write_all(format!("{head}{STACK}").as_bytes()).unwrap();
    });
    contains(&desk.types(&format!("deploy -f {url} --filter c*"), 0), &["deployed cat"]);
    serving.join().unwrap();
}

#[test]
fn what_is_wrong_with_a_stack_file_is_told() {
    let desk = desk();
    for (content, words, parts) in [
        ("functions:\n\ta: {image: x}\n", "deploy", &["stack.yml", "line 2", "tab"][..]),
        ("functions:\n  a: {lang: rust}\n", "build", &["functions.a", "handler"]),
        ("functions:\n  a: {lang: rust, handler: ./gone}\n", "build", &["functions.a", "gone"]),
        ("functions:\n  a: {lang: rsut, handler: .}\n", "build", &["rsut", "did you mean rust?"]),
        ("functions:\n  a: {image: gone.wasm}\n", "deploy", &["functions.a", "gone.wasm", "bramble build"]),
        ("functions:\n  a: {image: '${A:1:2}'}\n", "deploy", &["line 2", "A:1:2"]),
        ("functions:\n  a: {image: x, environment_file: [no.yml]}\n", "generate", &["no.yml"]),
        ("functions:\n  a: {image: x}\n", "deploy --filter b*", &["b*"]),
        ("functions:\n  a: {image: x}\n", "deploy --regex (", &["--regex"]),
        ("functions: []\n", "remove", &["functions"]),
    ] {
        desk.write("stack.yml", content);
        let (verb, flags) = words.split_once(' ').unwrap_or((words, ""));
        let words = format!("{verb} -f stack.yml {flags}");
        contains(&desk.types(words.trim_end(), 2), parts);
    }
    contains(&desk.types("deploy -f nowhere.yml", 2), &["nowhere.yml"]);
    desk.write("stack.yml", b"functions:\n  a: {image: x, labels: {k: \xff}}\n");
    contains(&desk.types("deploy -f stack.yml", 2), &["stack.yml, line 2", "UTF-8"]);
    desk.write("stack.yml", "functions:\n  a:\n    image: cat.wasm\n    enviroment: {A: '${NOT_SET}'}\n");
    let said = desk.types("deploy -f stack.yml", 0);
    contains(&said, &["functions.a.enviroment", "did you mean environment?", "NOT_SET", "line 4"]);
}

/// A template whose build copies a file: what is tested is the way to it.
fn with_template(desk: &Desk) {
    desk.write("template/copy/template.yml", "language: copy\nbuild: build.sh\n");
    desk.write("template/copy/build.sh", "echo copying\ncp function/code.wasm \"$BRAMBLE_OUTPUT\"\n");
    desk.write("template/copy/function/code.wasm", guest::cat());
}

#[test]
fn up_builds_and_deploys_and_watch_does_so_again() {
    let desk = Desk::new();
    with_template(&desk);
    contains(&desk.types("new --lang copy it", 0), &["it.yml", "up -f it.yml"]);
    contains(&desk.types("up -f it.yml", 0), &["built it", "build/it.wasm", "deployed it"]);
    assert_eq!(desk.pipes("hi", "invoke it", 0), "hi");
    assert!(desk.read("build/it.log").contains("copying"));
    let mut watch = Watch::start(desk.command("up -f it.yml --watch"));
    watch.says("watching for changes");
    desk.write("it/code.wasm", guest::tells_environment());
    wait::until("the change is deployed", || {
        desk.gateway.invoke("it", "hi").text().contains("Http_Method=POST")
    });
    // A change that cannot be built leaves what runs, and is no end.
    desk.write("it/code.wasm", "#!/bin/sh");
    watch.says("no WebAssembly file");
    contains(&desk.gateway.invoke("it", "hi").text(), &["Http_Method=POST"]);
    desk.write("it/code.wasm", guest::cat());
    wait::until("the next change is deployed", || desk.gateway.invoke("it", "hi").text() == "hi");
    assert!(watch.child.try_wait().unwrap().is_none());
    kill_process(Pid::from_child(&watch.child), Signal::INT).unwrap();
    watch.child.wait().unwrap();
}

#[test]
fn watch_sees_all_that_functions_are_made_of() {
    let desk = Desk::new();
    // The code is in a folder that is copied, and which file of it counts says the template.
    desk.write("template/copy/template.yml", "language: copy\nbuild: build.sh\n");
    desk.write("template/copy/build.sh", "cp function/common/first.wasm \"$BRAMBLE_OUTPUT\"\n");
    desk.write("it/source", "");
    desk.write("common/first.wasm", guest::says("first\n"));
    desk.write("common/second.wasm", guest::says("second\n"));
    desk.write("made.wasm", guest::says("made\n"));
    let stack = "\
functions:
  it: {lang: copy, handler: ./it}
  made: {lang: wasm, image: made.wasm}
configuration: {copy: [./common]}
";
    desk.write("stack.yml", stack);
    let watch = Watch::start(desk.command("up -f stack.yml --watch"));
    watch.says("watching for changes");
    let becomes = |name: &str, said: &str| {
        wait::until(said, || desk.gateway.invoke(name, "").text() == said);
    };
    becomes("it", "first\n");
    desk.write("common/first.wasm", guest::says("changed\n"));
    becomes("it", "changed\n");
    desk.write("template/copy/build.sh", "cp function/common/second.wasm \"$BRAMBLE_OUTPUT\"\n");
    becomes("it", "second\n");
    becomes("made", "made\n");
    desk.write("made.wasm", guest::says("remade\n"));
    becomes("made", "remade\n");
    // A template that is broken is found to be whole again.
    desk.write("template/copy/template.yml", "[");
    watch.says("template copy");
    desk.write("template/copy/build.sh", "cp function/common/first.wasm \"$BRAMBLE_OUTPUT\"\n");
    desk.write("template/copy/template.yml", "language: copy\nbuild: build.sh\n");
    becomes("it", "changed\n");
}

/// A command that goes on until it is dropped, and what it says on stderr.
struct Watch {
    child: Child,
    lines: Receiver<String>,
}

impl Watch {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        Self { child, lines }
    }

    /// Waits for a line with this in it.
    #[track_caller]
    fn says(&self, part: &str) {
        while !self.lines.recv_timeout(wait::LIMIT).unwrap().contains(part) {}
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_handler_may_be_the_folder_of_the_stack_file() {
    let desk = Desk::new();
    with_template(&desk);
    desk.write("code.wasm", guest::cat());
    desk.write("packages/node_modules/code.wasm", guest::tells_environment());
    desk.write("stack.yml", "functions:\n  it: {lang: copy, handler: .}\n");
    for _ in 0..2 {
        desk.types("build", 0);
        assert!(desk.path().join("build/it/function/stack.yml").exists());
        assert!(!desk.path().join("build/it/function/build").exists());
    }
    // Packages that were installed beside the source are not copied, and can be found.
    desk.write("template/packs/template.yml", "language: packs\nbuild: build.sh\n");
    let script = "cp \"$BRAMBLE_HANDLER/node_modules/code.wasm\" \"$BRAMBLE_OUTPUT\"\n";
    desk.write("template/packs/build.sh", script);
    desk.write("stack.yml", "functions:\n  packs: {lang: packs, handler: ./packages}\n");
    desk.types("build", 0);
    assert!(!desk.path().join("build/packs/function/node_modules").exists());
    let told = desk.types("local-run packs -f stack.yml --no-build -d x -H Content-Type:a/b", 0);
    contains(&told, &["Http_Content_Type=a/b\n"]);
}

#[test]
fn up_starts_a_gateway_where_there_is_none() {
    let desk = Desk::new();
    with_template(&desk);
    desk.types("new --lang copy it", 0);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let free = Elsewhere { desk: &desk, listen: &free };
    contains(&free.types("up -f it.yml", 0), &["starting one", "deployed it"]);
    assert_eq!(free.types("invoke it", 0), "hi");
}

#[test]
fn up_makes_nothing_for_a_gateway_that_is_elsewhere() {
    let desk = Desk::new();
    with_template(&desk);
    desk.types("new --lang copy it", 0);
    let here = Elsewhere { desk: &desk, listen: "0.0.0.0:1" };
    // Port 9 discards, where anybody listens at all.
    contains(&here.types("up -f it.yml -g http://127.0.0.1:9", 3), &["http://127.0.0.1:9"]);
    contains(&here.types("up -f it.yml -g http://127.0.0.1:9 --swarm-init", 2), &["this machine"]);
    contains(
        &here.types(&format!("up -f it.yml -g {} --swarm-init", desk.gateway.url()), 2),
        &["--swarm-init"],
    );
    assert!(!here.data_dir().exists());
}

/// What is typed where a gateway would be started, which is stopped in the end.
struct Elsewhere<'a> {
    desk: &'a Desk,
    listen: &'a str,
}

impl Elsewhere<'_> {
    fn data_dir(&self) -> PathBuf {
        self.desk.path().join("data")
    }

    fn command(&self, words: &str) -> Command {
        let mut command = self.desk.command(words);
        command.env("BRAMBLE_LISTEN", self.listen).env("BRAMBLE_METRICS_LISTEN", "127.0.0.1:0");
        command.env("BRAMBLE_DATA_DIR", self.data_dir());
        command.env("OPENFAAS_URL", format!("http://{}", self.listen));
        command
    }

    #[track_caller]
    fn types(&self, words: &str, code: i32) -> String {
        super::said(super::with_stdin(&mut self.command(words), "hi"), words, code)
    }
}

impl Drop for Elsewhere<'_> {
    fn drop(&mut self) {
        // There may be none.
        let _ = self.command("down").output();
    }
}

#[test]
fn a_build_that_fails_says_why_and_the_others_go_on() {
    let desk = Desk::new();
    with_template(&desk);
    desk.write("template/broken/template.yml", "language: broken\nbuild: build.sh\n");
    desk.write("template/broken/build.sh", "echo 'the tool is missing: install it'\nexit 69\n");
    desk.write("template/broken/function/x", "");
    desk.write("template/empty/template.yml", "language: empty\nbuild: build.sh\n");
    desk.write("template/empty/build.sh", "echo no > \"$BRAMBLE_OUTPUT\"\n");
    desk.write("template/empty/function/x", "");
    desk.types("new --lang broken a", 0);
    desk.types("new --lang copy b --append a.yml", 0);
    desk.types("new --lang empty c --append a.yml", 0);
    let said = desk.types("build -f a.yml --parallel 2", 1);
    contains(
        &said,
        &["cannot build a: the tool is missing: install it", "cannot build c", "no WebAssembly file"],
    );
    assert!(desk.path().join("build/b.wasm").exists());
    desk.types("build -f a.yml --filter a --shrinkwrap", 0);
    assert!(desk.path().join("build/a/function/x").exists());
    contains(&desk.types("new --lang copy b --append a.yml", 2), &["there already"]);
    contains(&desk.types("new --lang cpoy d", 2), &["did you mean copy?"]);
}

#[test]
fn an_image_beside_a_module_is_a_hybrid() {
    let desk = desk();
    desk.write(
        "stack.yml",
        "functions:\n  both: {image: 'reg/b:1', annotations: {bramble.module: cat.wasm}}\n",
    );
    let generated: Value = serde_json::from_str(&desk.types("generate -f stack.yml", 0)).unwrap();
    let module = generated[0]["annotations"]["bramble.module"].as_str().unwrap();
    assert!(module.starts_with("sha256:") && generated[0]["image"] == "reg/b:1", "{generated}");
    let stack = desk.types("generate -f stack.yml --format compose", 0);
    contains(&stack, &["image: reg/b:1", "services:"]);
}
