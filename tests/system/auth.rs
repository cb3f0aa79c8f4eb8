//! Who may use the API, who may not, and what the log says of it.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use serde_json::json;
use tempfile::TempDir;

use crate::support::answer::Answer;
use crate::support::{Gateway, Start, guest, wait};

/// `admin:the right one`, and others, as basic auth has them.
pub(crate) const RIGHT: &str = "Basic YWRtaW46dGhlIHJpZ2h0IG9uZQ==";
const WRONG: &str = "Basic YWRtaW46dGhlIHdyb25nIG9uZQ==";

/// A directory with the files of the original.
pub(crate) fn credentials() -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("basic-auth-user"), "admin\n").unwrap();
    fs::write(directory.path().join("basic-auth-password"), "the right one\n").unwrap();
    let path = directory.path().to_str().unwrap().to_owned();
    (directory, path)
}

/// A gateway that asks for them; the requests of the test itself show nothing.
fn closed() -> Gateway {
    let (_directory, path) = credentials();
    Start::new().flag("--basic-auth", "true").flag("--secret-mount-path", &path).start()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_api_asks_for_credentials_as_the_original_does_and_functions_do_not() {
    let gateway = closed();
    for (method, path) in [
        ("GET", "/system/functions"),
        ("POST", "/system/functions"),
        ("GET", "/system/info"),
        ("GET", "/system/secrets"),
        ("POST", "/system/alert"),
        ("GET", "/system/scaler"),
        ("GET", "/system/nothing"),
        ("GET", "/ui/"),
        ("OPTIONS", "/system/functions"),
        ("GET", "//system/functions"),
        ("GET", "/%73ystem/functions"),
    ] {
        for shown in [None, Some(WRONG)] {
            // Not so often that it is taken for guessing.
            if shown.is_some() && path != "/system/functions" {
                continue;
            }
            let request = gateway.request(method, path);
            let request =
                shown.into_iter().fold(request, |request, shown| request.header("authorization", shown));
            let answer = gateway.send(request, b"");
            assert_eq!(answer.header("www-authenticate"), "Basic realm=\"Restricted\"", "{method} {path}");
            answer.says(401, "invalid credentials");
        }
    }
    gateway.get("/healthz").says(200, "OK");
    gateway.get("/readyz").says(200, "OK");
    assert_eq!(gateway.get("/").expect(307).header("location"), "/ui/");
    gateway.invoke("nobody", "").refused(404, "unknown_function", "nobody");
    let metrics = http::Request::get(format!("http://{}/metrics", gateway.metrics_address));
    gateway.send(metrics, b"").expect(200);

    let gateway = gateway.showing(RIGHT);
    assert_eq!(gateway.names(), [] as [&str; 0]);
    gateway.deploy("open", &guest::cat());
    let unknown = gateway.request("POST", "/function/open").header("authorization", WRONG);
    gateway.send(unknown, b"hi").says(200, "hi");
}

#[test]
fn who_guesses_has_to_wait_and_is_told_how_long() {
    let gateway = closed();
    let guess =
        |shown| gateway.send(gateway.request("GET", "/system/info").header("authorization", shown), b"");
    for _ in 0..10 {
        guess(WRONG).expect(401);
    }
    let answer = guess(RIGHT).expect(429);
    let wait: u32 = answer.header("retry-after").parse().unwrap();
    assert!(wait >= 1, "{wait}");
    answer.refused(429, "too_many_logins", "failed logins");
    // Whoever shows nothing guesses nothing.
    gateway.get("/system/info").says(401, "invalid credentials");
    gateway.invoke("nobody", "").expect(404);
}

#[test]
fn what_others_reach_is_not_served_without_a_decision() {
    let anywhere = || Start::new().flag("--listen", "0.0.0.0:0");
    let refused = anywhere().try_start().unwrap_err();
    for way_out in ["--basic-auth", "--no-auth", "127.0.0.1", "basic-auth-password"] {
        assert!(refused.stderr.contains(way_out), "{refused:?}");
    }
    assert_eq!(anywhere().flag("--no-auth", "true").start().names(), [] as [&str; 0]);
    let (_directory, path) = credentials();
    let asks = anywhere().flag("--basic-auth", "true").flag("--secret-mount-path", &path).start();
    asks.get("/system/functions").expect(401);
}

#[test]
fn credentials_that_cannot_be_read_stop_the_start() {
    let (directory, path) = credentials();
    let start = Start::new().flag("--basic-auth", "true").flag("--secret-mount-path", &path);
    fs::write(directory.path().join("basic-auth-password"), "\n").unwrap();
    let empty = start.try_start().unwrap_err();
    assert!(empty.stderr.contains("basic-auth-password is empty"), "{empty:?}");
    fs::remove_file(directory.path().join("basic-auth-user")).unwrap();
    let missing = start.try_start().unwrap_err();
    assert!(missing.stderr.contains("basic-auth-user") && missing.code == Some(1), "{missing:?}");
    let both = start.flag("--no-auth", "true").try_start().unwrap_err();
    assert!(both.stderr.contains("both on"), "{both:?}");
}

#[test]
fn a_function_with_a_token_answers_who_shows_it() {
    let gateway = Gateway::start();
    let annotations = json!({"bramble.auth.token-secret": "caller"});
    let image = gateway.upload(&guest::cat());
    let create = || gateway.create("private", &image, json!({"annotations": annotations}));
    create().refused(400, "invalid_spec", "secret caller does not exist");
    gateway.json("POST", "/system/secrets", &json!({"name": "caller", "value": "first\n"})).expect(201);
    create().expect(202);
    let invoke = |shown: Option<&str>| {
        let request = gateway.request("POST", "/function/private");
        let request =
            shown.into_iter().fold(request, |request, shown| request.header("authorization", shown));
        gateway.send(request, b"in")
    };
    invoke(Some("Bearer first")).says(200, "in");
    for shown in [None, Some("Bearer second"), Some("Bearer "), Some("Bearer firs"), Some("Basic first")] {
        let refused = invoke(shown);
        assert_eq!(refused.header("www-authenticate"), "Bearer");
        refused.refused(401, "token_required", "private");
    }
    gateway.json("PUT", "/system/secrets", &json!({"name": "caller", "value": "second"})).expect(202);
    invoke(Some("Bearer first")).expect(401);
    invoke(Some("bearer second")).says(200, "in");
    // It is needed for as long as the function is there; by hand it can be taken away, which opens nothing.
    let remove = || gateway.json("DELETE", "/system/secrets", &json!({"name": "caller"}));
    remove().refused(409, "secret_in_use", "private");
    fs::remove_file(gateway.data_dir().join("secrets/caller")).unwrap();
    invoke(Some("Bearer second")).refused(503, "unavailable", "caller");
    let bad = json!({"annotations": {"bramble.auth.token-secret": "../x"}});
    gateway.create("bad", &image, bad).refused(400, "invalid_spec", "bramble.auth.token-secret");
}

#[test]
fn each_change_is_in_the_log_and_no_secret_is() {
    let gateway = closed().showing(RIGHT);
    let create = json!({"name": "db", "value": "not to be told"});
    gateway.json("POST", "/system/secrets", &create).expect(201);
    gateway.deploy("logged", &guest::cat());
    gateway.remove("logged");
    gateway.json("DELETE", "/system/functions", &json!({"functionName": "logged"})).expect(404);
    gateway.send(gateway.request("PUT", "/system/secrets").header("x-a", "b"), b"not to be told").expect(400);
    gateway.get("/system/functions").expect(200);
    let lines = || -> Vec<String> {
        gateway.log().lines().filter(|line| line.contains(" audit: ")).map(str::to_owned).collect()
    };
    wait::until("it is logged", || lines().len() == 5);
    let expected = [
        ("POST", "object=\"db.openfaas-fn\"", "status=201", "done"),
        ("PUT", "object=\"logged\"", "status=202", "done"),
        ("DELETE", "object=\"logged\"", "status=202", "done"),
        ("DELETE", "object=\"logged\"", "status=404", "refused"),
        ("PUT", "object=\"\"", "status=400", "refused"),
    ];
    for (line, (method, object, status, outcome)) in lines().iter().zip(expected) {
        for part in [method, object, status, outcome, "who=\"admin\"", "from=\"127.0.0.1\""] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    }
    let log = gateway.log();
    assert!(
        !log.contains("not to be told") && !log.contains("right one") && !log.contains("YWRtaW4"),
        "{log}"
    );
}

#[test]
fn each_kind_of_change_is_a_line() {
    let gateway = closed().showing(RIGHT);
    gateway.deploy("fails", &guest::running("unreachable"));
    let queue = |id: &str| {
        let request = gateway.request("POST", "/async-function/fails").header("x-call-id", id);
        gateway.send(request, b"").expect(202);
        let state = || gateway.get(&format!("/system/async/{id}")).expect(200).json()["state"].clone();
        wait::until("it is a dead letter", || state() == "dead");
    };
    queue("given-up");
    let secret = json!({"name": "db", "value": "x"});
    let alert = json!({"alerts": [{"status": "resolved", "labels": {"function_name": "fails"}}]});
    let changes = [
        ("POST", "/system/secrets", secret.clone(), 201, "db.openfaas-fn"),
        ("PUT", "/system/secrets", secret.clone(), 202, "db.openfaas-fn"),
        ("DELETE", "/system/secrets", secret, 202, "db.openfaas-fn"),
        ("POST", "/system/namespace/team", json!({}), 201, "team"),
        ("PUT", "/system/namespace/team", json!({}), 202, "team"),
        ("DELETE", "/system/namespace/team", json!({}), 202, "team"),
        ("POST", "/system/scale-function/fails", json!({"replicas": 2}), 202, "fails"),
        ("POST", "/system/freeze-function/fails", json!({}), 202, "fails"),
        ("POST", "/system/alert", alert, 200, "fails"),
        ("POST", "/system/async/dead/given-up/replay", json!({}), 202, "given-up"),
        ("DELETE", "/async-function/fails/nobody", json!({}), 404, ""),
    ];
    let lines = || -> Vec<String> {
        gateway.log().lines().filter(|line| line.contains(" audit: ")).map(str::to_owned).collect()
    };
    wait::until("its deployment is logged", || lines().len() == 1);
    for (at, (method, path, document, status, object)) in changes.iter().enumerate() {
        gateway.json(method, path, document).expect(*status);
        wait::until("it is logged", || lines().len() == at + 2);
        let line = lines().pop().unwrap();
        let who = if path.starts_with("/async-function/") { "anonymous" } else { "admin" };
        let (path, object) = (format!("path=\"{path}\""), format!("object=\"{object}\""));
        let (status, who) = (format!("status={status}"), format!("who=\"{who}\""));
        for part in [*method, &*path, &*object, &*status, &*who] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    }
}

#[test]
fn the_command_line_logs_in_and_out() {
    let gateway = closed();
    let run = |arguments: &[&str]| gateway.cli(arguments).output().unwrap();
    let refused = run(&["list"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("bramble login"), "{refused:?}");
    let wrong = run(&["login", "-u", "admin", "-p", "the wrong one"]);
    assert!(stderr(&wrong).contains("no such user") && wrong.status.code() == Some(1), "{wrong:?}");
    let file: PathBuf = gateway.data_dir().with_file_name(".openfaas/config.yml");
    assert!(!file.exists(), "what is not taken is not kept");
    let mut login = gateway.cli(&["login", "--password-stdin"]);
    let password = gateway.data_dir().with_file_name("password");
    fs::write(&password, "the right one\n").unwrap();
    let login = login.stdin(fs::File::open(password).unwrap()).output().unwrap();
    assert!(login.status.success(), "{login:?}");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    assert!(run(&["list", "-q"]).status.success());
    let tells = guest::tells_environment();
    let module = gateway.data_dir().with_file_name("tells.wasm");
    fs::write(&module, tells).unwrap();
    assert!(run(&["deploy", module.to_str().unwrap()]).status.success());
    let told = run(&["invoke", "tells", "-d", ""]);
    assert!(
        told.status.success() && !String::from_utf8_lossy(&told.stdout).contains("Authorization"),
        "{told:?}"
    );
    assert!(run(&["logout"]).status.success());
    assert_eq!(run(&["list", "-q"]).status.code(), Some(1));
}

#[test]
fn pages_of_named_sites_may_read_answers_and_no_others() {
    let (_directory, path) = credentials();
    let start = Start::new().flag("--basic-auth", "true").flag("--secret-mount-path", &path);
    let gateway = start.flag("--cors-origin", "https://a.example,http://b.example:81").start().showing(RIGHT);
    gateway.deploy("echo", &guest::cat());
    let preflight = |origin: &str, path: &str| {
        let request = http::Request::builder().method("OPTIONS").uri(format!("{}{path}", gateway.url()));
        let request = request.header("origin", origin).header("access-control-request-method", "PUT");
        gateway.send(request.header("access-control-request-headers", "authorization,x-a"), b"")
    };
    for path in ["/system/functions", "/function/echo", "/function/nobody", "/async-function/echo"] {
        let answer = preflight("https://a.example", path).expect(204);
        assert_eq!(answer.header("access-control-allow-origin"), "https://a.example");
        assert_eq!(answer.header("access-control-allow-headers"), "authorization,x-a");
        assert!(answer.header("access-control-allow-methods").contains("PUT"));
    }
    for stranger in ["https://c.example", "http://a.example", "https://a.example.evil"] {
        let answer = preflight(stranger, "/system/functions").expect(401);
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
    let page = gateway.request("POST", "/function/echo").header("origin", "http://b.example:81");
    let answer = gateway.send(page, b"hi");
    assert_eq!(answer.header("access-control-allow-origin"), "http://b.example:81");
    assert_eq!(answer.header("vary"), "Origin");
    answer.says(200, "hi");
    assert_eq!(gateway.invoke("echo", "").header("access-control-allow-origin"), "");
    let off = Gateway::start();
    off.deploy("echo", &guest::cat());
    let asked = off.request("POST", "/function/echo").header("origin", "https://a.example");
    assert_eq!(off.send(asked, b"").expect(200).header("access-control-allow-origin"), "");
}

/// What a browser sends for a page that needs nobody's leave to: no preflight comes before.
fn by_a_page(gateway: &Gateway, (method, path): (&str, &str), (host, origin): (&str, &str)) -> Answer {
    let document = json!({"name": "planted", "value": "x"}).to_string();
    let mut wire = gateway.wire();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\norigin: {origin}\r\ncontent-type: text/plain\r\n\
         content-length: {}\r\n\r\n{document}",
        document.len()
    );
    wire.write(head.as_bytes()).unwrap();
    wire.answer()
}

#[test]
fn pages_of_other_sites_change_nothing_and_their_names_are_not_the_gateways() {
    let gateway = Start::new().flag("--cors-origin", "https://a.example").start();
    gateway.deploy("echo", &guest::cat());
    let own = gateway.address.to_string();
    let (plant, list) = (("POST", "/system/secrets"), ("GET", "/system/secrets"));
    by_a_page(&gateway, plant, (&own, "https://evil.example")).refused(
        403,
        "foreign_origin",
        "--cors-origin",
    );
    by_a_page(&gateway, plant, (&own, "null")).refused(403, "foreign_origin", &own);
    let (site, name) = ("http://evil.example:8080", "evil.example:8080");
    by_a_page(&gateway, plant, (name, site)).refused(403, "foreign_host", "127.0.0.1 or localhost");
    by_a_page(&gateway, list, (name, site)).refused(403, "foreign_host", name);
    by_a_page(&gateway, list, (&own, "https://a.example")).says(200, "[]");
    by_a_page(&gateway, ("POST", "/function/echo"), (name, site)).expect(200);
    by_a_page(&gateway, plant, (&own, &format!("http://{own}"))).expect(201);
    by_a_page(&gateway, ("PUT", "/system/secrets"), (&own, "https://a.example")).expect(202);
    by_a_page(&gateway, ("PUT", "/system/secrets"), ("a.example", "https://a.example")).expect(202);
    let refused = |line: &&str| line.contains(" audit: ") && line.contains("status=403");
    wait::until("it is logged", || gateway.log().lines().filter(refused).count() == 3);
    // Everybody's pages are those of functions.
    let all = Start::new().flag("--cors-origin", "*").start();
    all.deploy("echo", &guest::cat());
    let own = all.address.to_string();
    let page = by_a_page(&all, ("POST", "/function/echo"), (&own, site)).expect(200);
    assert_eq!(page.header("access-control-allow-origin"), "*");
    by_a_page(&all, plant, (&own, site)).refused(403, "foreign_origin", "--cors-origin");
    by_a_page(&all, list, (name, site)).refused(403, "foreign_host", name);
    let read = by_a_page(&all, list, (&own, site)).expect(200);
    assert_eq!(read.header("access-control-allow-origin"), "", "its page does not get it");
    // Whoever serves others is called by names that nobody here knows.
    let anywhere = Start::new().flag("--listen", "0.0.0.0:0").flag("--no-auth", "true").start();
    by_a_page(&anywhere, list, ("raspberrypi.local:8080", "http://raspberrypi.local:8080")).says(200, "[]");
    by_a_page(&anywhere, plant, ("raspberrypi.local:8080", site)).refused(403, "foreign_origin", "");
}
