//! Tokens: `auth` gets one by OAuth2, every verb shows it, and one that is good no longer is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use super::{Desk, contains};
use crate::auth::credentials;
use crate::support::{Gateway, Start, guest};

const GRANTED: &str = r#"{"access_token": "abc.def", "token_type": "Bearer", "expires_in": 3600}"#;

/// A token endpoint that gives these answers, one after the other. Answers its URL, and what it was asked: the head
/// in lower case, and the body.
fn endpoint(answers: &[(u16, &'static str)]) -> (String, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/oauth/token?tenant=a", listener.local_addr().unwrap());
    let (sender, asked) = channel();
    let answers = answers.to_vec();
    std::thread::spawn(move || {
        for (status, answer) in answers {
            let mut stream = listener.accept().unwrap().0;
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut line) = (String::new(), String::new());
            while reader.read_line(&mut line).unwrap() > 2 {
                head += &line;
                line.clear();
            }
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            sender.send((head, String::from_utf8(body).unwrap())).unwrap();
            let length = answer.len();
            write!(stream, "HTTP/1.1 {status} It\r\nContent-Length: {length}\r\n\r\n{answer}").unwrap();
        }
    });
    (url, asked)
}

#[test]
fn a_token_is_got_by_a_clients_credentials_and_kept() {
    let desk = Desk::new();
    desk.write("secret", "s:cret\n");
    let (url, asked) = endpoint(&[(200, GRANTED)]);
    let auth = format!("auth --grant client_credentials --auth-url {url} --client-id ci");
    let words = format!("{auth} --client-secret-file secret --audience https://far --scope functions");
    let said = desk.types(&words, 0);
    contains(&said, &["logged in to", "with a token until 20", "asks nobody"]);
    assert!(!said.contains("abc.def") && !said.contains("s:cret"), "{said}");
    let (head, body) = asked.recv().unwrap();
    contains(
        &head,
        &[
            "POST /oauth/token?tenant=a HTTP/1.1",
            "content-type: application/x-www-form-urlencoded",
            // ci:s%3Acret
            "authorization: Basic Y2k6cyUzQWNyZXQ=",
        ],
    );
    assert_eq!(body, "grant_type=client_credentials&audience=https%3A%2F%2Ffar&scope=functions");
    let logins = desk.gateway.data_dir().parent().unwrap().join(".openfaas/config.yml");
    let kept = std::fs::read_to_string(logins).unwrap();
    contains(&kept, &["auth: oauth2", "token: abc.def", "name: expires_at"]);
    assert_eq!(desk.types("list -q", 0), "");

    // An endpoint that wants the credentials in the form gets them there, and only there.
    let (url, asked) = endpoint(&[(401, ""), (200, GRANTED)]);
    desk.types(&format!("auth --auth-url {url} --client-id ci --client-secret x"), 0);
    asked.recv().unwrap();
    let (head, body) = asked.recv().unwrap();
    assert!(!head.contains("authorization"), "{head}");
    assert_eq!(body, "grant_type=client_credentials&client_id=ci&client_secret=x");
}

#[test]
fn why_there_is_no_token_is_told() {
    let desk = Desk::new();
    let no = r#"{"error": "invalid_client", "error_description": "who is that?"}"#;
    for (answers, parts) in [
        (&[(400, no), (401, no)][..], &["gave no token", "invalid_client: who is that?"][..]),
        (&[(200, r#"{"access_token": "a", "token_type": "mac"}"#)], &["mac", "bearer"]),
        (&[(200, "<html>")], &["is it a token endpoint?"]),
        (&[(302, "")], &["302"]),
    ] {
        let (url, _asked) = endpoint(answers);
        let said = desk.types(&format!("auth --auth-url {url} --client-id ci --client-secret s3cret"), 1);
        contains(&said, parts);
        assert!(!said.contains("s3cret"), "{said}");
    }
    let auth = "auth --auth-url http://127.0.0.1:9/token --client-id ci";
    for (more, code, part) in [
        ("--client-secret x", 3, "cannot reach http://127.0.0.1:9"),
        ("", 2, "--client-secret-file"),
        ("--client-secret-file nowhere", 2, "nowhere"),
        ("--client-secret x --client-secret-file y", 2, "cannot be used with"),
        ("--client-secret x --token y", 2, "cannot be used with"),
        ("--grant implicit", 2, "hint: a token that a browser gets is kept with `bramble login --token"),
        ("--grant implicit-id --launch-browser=false", 2, "no browser is opened"),
    ] {
        contains(&desk.types(format!("{auth} {more}").trim_end(), code), &[part]);
    }
    contains(
        &desk.types("auth --auth-url ftp://id/token --client-id ci --client-secret x", 2),
        &["--auth-url"],
    );
}

#[test]
fn a_token_that_the_gateway_refuses_is_not_kept_and_says_where_a_new_one_is() {
    let (_directory, path) = credentials();
    let gateway = Start::new().flag("--basic-auth", "true").flag("--secret-mount-path", &path).start();
    let desk = Desk::of(gateway);
    let (url, _asked) = endpoint(&[(200, GRANTED)]);
    let auth = format!("auth --auth-url {url} --client-id ci --client-secret x");
    contains(&desk.types(&auth, 1), &["takes no such token"]);
    contains(&desk.types("list", 1), &["asks for a user and a password", "bramble login --password-stdin"]);
    contains(
        &desk.types("list --token old", 1),
        &["does not take the token", "hint: get a new one", "bramble auth"],
    );
    contains(&desk.types("logs x --token old", 1), &["does not take the token", "hint: get a new one"]);
}

#[test]
fn an_expired_token_is_told_before_anything_is_sent() {
    let desk = Desk::of(Gateway::start());
    desk.write("env.wasm", guest::tells_environment());
    desk.types("deploy env.wasm", 0);
    let keep = |url: &str, expires: &str| {
        let text = format!(
            "auths:\n- gateway: {url}\n  auth: oauth2\n  token: kept\n  options: [{{name: expires_at, value: '{expires}'}}]\n"
        );
        desk.write("logins/config.yml", text);
    };
    let types = |words: &str, code: i32| {
        let output = desk.command(words).env("OPENFAAS_CONFIG", desk.path().join("logins")).output();
        super::said(output.unwrap(), words, code)
    };
    let url = desk.gateway.url();
    keep(&url, "2099-01-01T00:00:00Z");
    assert_eq!(types("list -q", 0), "env\n");
    keep(&url, "2020-01-01T00:00:00Z");
    let expired = format!("the token for {url} expired at 2020-01-01T00:00:00Z");
    for words in ["list", "describe env", "logs env", "deploy env.wasm", "secret list"] {
        contains(&types(words, 1), &[&expired, "hint: get a new one with `bramble auth`"]);
    }
    // It is not shown to a function, nor when another one is said, and does not keep anybody from a new one.
    contains(&types("invoke env", 0), &["Http_Method=POST"]);
    assert_eq!(types("list -q --token new", 0), "env\n");
    types("login --token new", 0);
    assert_eq!(types("list -q", 0), "env\n");
    // There nobody could be asked.
    keep("http://127.0.0.1:9", "2020-01-01T00:00:00Z");
    contains(&types("list -g http://127.0.0.1:9", 1), &["expired"]);
}
