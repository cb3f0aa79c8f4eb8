//! Templates, the store, running without a gateway, a registry's login, help.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Desk, contains};
use crate::support::guest;

#[test]
fn templates_are_listed_copied_and_pulled() {
    let desk = Desk::new();
    contains(&desk.types("template list", 0), &["rust", "python", "dockerfile", "image", "wasm"]);
    contains(&desk.types("new --list", 0), &["assemblyscript", "javascript", "zig"]);
    desk.types("template new mine --from c", 0);
    assert!(desk.read("template/mine/build.sh").contains("clang"));
    desk.types("template new mine --from c", 2);
    desk.types("template new ../out --from c", 2);
    let listed: Value = serde_json::from_str(&desk.types("template list --json", 0)).unwrap();
    assert!(listed.as_array().unwrap().iter().any(|template| template["name"] == "mine"));

    // From a folder, and from a repository.
    desk.write("elsewhere/template/theirs/template.yml", "language: theirs\n");
    desk.write("elsewhere/template/theirs/Dockerfile", "FROM scratch\n");
    desk.write("elsewhere/template/theirs/function/main", "v1");
    contains(&desk.types("template pull ./elsewhere", 0), &["pulled template/theirs"]);
    contains(&desk.types("template pull ./elsewhere", 1), &["--overwrite"]);
    contains(&desk.types("template pull ./elsewhere --only none", 1), &["none"]);
    let elsewhere = desk.path().join("elsewhere");
    let git = |words: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]).args(words);
        let output = git.current_dir(&elsewhere).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    git(&["init", "--quiet"]);
    git(&["add", "-A"]);
    git(&["commit", "--quiet", "-m", "one"]);
    git(&["tag", "v1"]);
    let address = format!("file://{}#v1", elsewhere.display());
    desk.write("template/theirs/stale", "");
    desk.types(&format!("template pull {address} --overwrite"), 0);
    assert!(!desk.path().join("template/theirs/stale").exists());
    let stack = format!(
        "functions: {{a: {{image: x}}}}\nconfiguration:\n  templates: [{{name: theirs, source: '{address}'}}]\n"
    );
    desk.write("s.yml", stack);
    desk.types("template pull -f s.yml --overwrite", 0);
    contains(&desk.types("template pull . --overwrite", 2), &["where the templates are"]);
    assert!(desk.path().join("template/theirs/template.yml").exists());
    contains(&desk.types("template pull file:///nowhere/at/all", 1), &["cannot clone"]);

    // A template with a Dockerfile makes an image, and says so in the stack file.
    desk.types("new --lang theirs fn --prefix reg:5000/me", 0);
    contains(&desk.read("fn.yml"), &["image: reg:5000/me/fn:latest", "lang: theirs", "handler: ./fn"]);
    assert_eq!(desk.read("fn/main"), "v1");
}

#[test]
fn the_store_is_listed_and_deployed_from() {
    let desk = Desk::new();
    contains(&desk.types("store list", 0), &["figlet", "wasm32-wasi"]);
    let inspected: Value = serde_json::from_str(&desk.types("store inspect figlet", 0)).unwrap();
    assert_eq!(inspected["images"]["wasm32-wasi"], "figlet.wasm");
    contains(&desk.types("store inspect figlit", 4), &["did you mean figlet?"]);
    contains(&desk.types("store deploy echo", 2), &["--samples"]);
    desk.write("samples/echo.wasm", guest::cat());
    desk.types("store deploy echo --samples samples --as mine", 0);
    assert_eq!(desk.pipes("hi", "invoke mine", 0), "hi");
    desk.write("list/cat.wasm", guest::tells_environment());
    desk.write(
        "list/functions.json",
        r#"{"version": "0.2.1", "functions": [{"name": "cat", "description": "d", "images":
            {"wasm32-wasi": "cat.wasm"}, "environment": {"FROM": "store"}}]}"#,
    );
    desk.types("store deploy cat --url list/functions.json", 0);
    contains(&desk.types("invoke cat", 0), &["FROM=store"]);
    contains(&desk.types("store deploy cat --url list/functions.json --platform armhf", 2), &["wasm32-wasi"]);
    desk.write("list/functions.json", "[");
    desk.types("store list --url list/functions.json", 2);
}

#[test]
fn a_function_runs_without_a_gateway() {
    let desk = Desk::new();
    desk.write("cat.wasm", guest::cat());
    desk.write("env.wasm", guest::tells_environment());
    desk.write("fails.wasm", guest::running("(call $proc_exit (i32.const 3))"));
    // Nobody is asked: there is nothing at that address.
    let run = |stdin: &str, words: &str, code: i32| {
        let mut command = desk.command(words);
        command.env("OPENFAAS_URL", "http://127.0.0.1:1");
        super::said(super::with_stdin(&mut command, stdin), words, code)
    };
    assert_eq!(run("Ada", "local-run ./cat.wasm", 0), "Ada");
    let told = run("", "local-run env.wasm -e A=b -X PUT --path /p --query q=1 -H X-Own:7", 0);
    contains(&told, &["A=b", "Http_Method=PUT", "Http_Path=/p", "Http_Query=q=1", "Http_X_Own=7"]);
    contains(&run("", "local-run fails.wasm", 1), &["exit status 3"]);
    contains(&run("", "local-run gone.wasm", 2), &["gone.wasm"]);
    desk.write(
        "stack.yml",
        "functions:\n  e: {image: env.wasm, environment: {B: c}, secrets: [s]}\n  i: {image: x}\n",
    );
    contains(&run("", "local-run e", 0), &["B=c", "without its secrets: s"]);
    contains(&run("", "local-run i", 2), &["container"]);
    contains(&run("", "local-run none", 2), &["none"]);

    let mut serving = desk.command("local-run cat.wasm --port 0").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(serving.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().trim_end_matches(';');
    let request = http::Request::post(url);
    assert_eq!(desk.gateway.send(request, b"served").expect(200).text(), "served");
    kill_process(Pid::from_child(&serving), Signal::INT).unwrap();
    assert!(serving.wait().unwrap().success());
}

#[test]
fn a_registrys_login_is_written_beside_others() {
    let desk = Desk::new();
    desk.write("c/config.json", r#"{"auths": {"other": {"auth": "eA=="}}, "credsStore": "x"}"#);
    let words = "registry-login --server reg:5000 --username me --output c/config.json";
    let said = desk.pipes("secret\n", words, 0);
    assert!(!said.contains("secret"), "{said}");
    let file: Value = serde_json::from_str(&desk.read("c/config.json")).unwrap();
    assert_eq!(
        (&file["auths"]["reg:5000"]["auth"], &file["credsStore"]),
        (&"bWU6c2VjcmV0".into(), &"x".into())
    );
    assert_eq!(file["auths"]["other"]["auth"], "eA==");
    let mode = desk.path().join("c/config.json").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    desk.pipes("", words, 2);
    contains(&desk.pipes(&"x".repeat((16 << 10) + 1), words, 2), &["more than 16384 bytes"]);
    desk.write("c/config.json", "[]");
    desk.pipes("secret", words, 2);
}

#[test]
fn every_verb_teaches_with_an_example() {
    let desk = Desk::new();
    for verb in
        "new build push deploy up remove template store local-run diff generate registry-login auth login"
            .split(' ')
    {
        contains(&desk.types(&format!("{verb} --help"), 0), &["Examples:", &format!("bramble {verb}")]);
    }
}
