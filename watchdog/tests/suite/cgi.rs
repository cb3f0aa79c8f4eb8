//! `output=cgi`: the program sets status and headers.

use crate::dog::Dog;

const CGI: (&str, &str) = ("output", "cgi");

#[test]
fn the_program_sets_status_and_headers() {
    let fprocess =
        r#"sh -c 'printf "Status: 404 Nope\r\nContent-Type: text/x-a\r\nX-B: c\r\n\r\nbody"; echo log >&2'"#;
    for variable in [CGI, ("BRAMBLE_OUTPUT", "cgi")] {
        let dog = Dog::running(fprocess, &[variable]);
        let reply = dog.post(b"");
        assert_eq!((reply.status, reply.text()), (404, "body"));
        assert_eq!((reply.header("content-type"), reply.header("x-b")), ("text/x-a", "c"));
        assert_eq!(reply.header("content-length"), "4");
        dog.wait_for_log(" stderr: log\n");
    }
}

#[test]
fn a_body_of_any_length_follows_the_headers() {
    let fprocess = r#"sh -c 'printf "Status: 201\n\n"; head -c 300000 /dev/zero'"#;
    for mode in ["classic", "streaming", "serializing"] {
        let reply = Dog::running(fprocess, &[CGI, ("mode", mode)]).post(b"");
        assert_eq!((reply.status, reply.body.len()), (201, 300_000), "{mode}");
    }
}

#[test]
fn what_is_no_header_is_a_bad_gateway() {
    for (fprocess, reason) in [
        ("echo hello", "\"hello\", which is no header line"),
        ("true", "wrote no headers"),
        ("printf 'Status: 7\\n\\n'", "which is no status"),
        ("head -c 300000 /dev/zero", "no empty line"),
    ] {
        let reply = Dog::running(fprocess, &[CGI]).post(b"");
        assert_eq!(reply.status, 502, "{fprocess}");
        assert!(reply.text().contains(reason), "{fprocess}: {}", reply.text());
    }
}

#[test]
fn an_exit_code_still_counts() {
    let reply = Dog::running(r#"sh -c 'printf "Status: 200\n\nfine"; exit 2'"#, &[CGI]).post(b"");
    assert_eq!(reply.status, 500);
    assert!(reply.text().starts_with("exit status 2\n"));
}

#[test]
fn a_redirect_needs_only_its_location() {
    let reply = Dog::running(r"printf 'Location: /there\n\n'", &[CGI]).post(b"");
    assert_eq!((reply.status, reply.header("location")), (302, "/there"));
}
