//! The classic watchdog: a process per request, the exit code decides.

use crate::dog::Dog;

#[test]
fn echoes_with_the_requests_type_and_the_classic_log() {
    let dog = Dog::running("cat", &[]);
    let reply = dog.request("POST", "/", &[("Content-Type", "application/json")], b"{\"a\":1}");
    assert_eq!((reply.status, reply.text()), (200, "{\"a\":1}"));
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("content-length"), "7");
    assert!(reply.header("x-duration-seconds").parse::<f64>().unwrap() > 0.0);
    dog.wait_for_log(" Forking fprocess.");
    let rest = dog.wait_for_log(" Wrote 7 Bytes - Duration: ");
    assert!(rest.strip_suffix('s').unwrap().split_once('.').unwrap().1.len() == 6, "{rest}");
    let log = dog.log();
    let line = log.lines().find(|line| line.ends_with("Forking fprocess.")).unwrap();
    let shape: String = line.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000/00/00 00:00:00 Forking fprocess.");
}

#[test]
fn any_size_of_body_comes_back() {
    let dog = Dog::running("cat", &[]);
    for size in [0, 1, 4_095, 4_096, 4_097, 8_192, 65_535, 65_536, 65_537, 200_000, 3_000_000] {
        let body: Vec<u8> = (0..size).map(|index: u32| index.to_le_bytes()[index as usize % 3]).collect();
        let mut connection = dog.connect();
        let mut sender = connection.sender();
        let sent = body.clone();
        let sending = std::thread::spawn(move || {
            use std::io::Write as _;
            let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", sent.len());
            sender.write_all(head.as_bytes()).unwrap();
            sender.write_all(&sent).unwrap();
        });
        let reply = connection.reply("POST").unwrap();
        sending.join().unwrap();
        assert_eq!((reply.status, reply.body == body), (200, true), "{size} bytes");
    }
}

#[test]
fn one_connection_carries_many_requests() {
    let dog = Dog::running("cat", &[]);
    let mut connection = dog.connect();
    for body in ["one", "", "three"] {
        connection.send("POST", "/", &[], body.as_bytes());
        assert_eq!(connection.reply("POST").unwrap().text(), body);
    }
    connection.send_head("POST", "/", &[("Transfer-Encoding", "chunked")]);
    connection.send_chunk(b"four ");
    connection.send_chunk(b"and five");
    connection.write(b"0\r\n\r\n").unwrap();
    assert_eq!(connection.reply("POST").unwrap().text(), "four and five");
}

#[test]
fn every_method_reaches_the_program() {
    let dog = Dog::running("sh -c 'echo $Http_Method'", &[]);
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"] {
        assert_eq!(dog.request(method, "/", &[], b"").text(), format!("{method}\n"));
    }
    let head = dog.request("HEAD", "/", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(dog.request("CONNECT", "x:80", &[], b"").status, 405);
}

#[test]
fn a_head_runs_the_program_to_its_end() {
    for mode in ["classic", "streaming"] {
        let dog = Dog::running("sh -c 'head -c 300000 /dev/zero; echo yes > $dir/ended'", &[("mode", mode)]);
        let reply = dog.request("HEAD", "/", &[], b"");
        assert_eq!((reply.status, reply.header("content-length")), (200, ""), "{mode}");
        assert_eq!(dog.wait_for_file("ended"), "yes");
    }
    let dog = Dog::running("sh -c 'head -c 300000 /dev/zero; exit 1'", &[]);
    assert_eq!(dog.request("HEAD", "/", &[], b"").status, 500);
}

#[test]
fn the_type_is_set_or_guessed() {
    let dog = Dog::running("cat", &[("content_type", "text/csv")]);
    assert_eq!(
        dog.request("POST", "/", &[("Content-Type", "text/html")], b"x").header("content-type"),
        "text/csv"
    );
    let dog = Dog::running("cat", &[]);
    assert_eq!(dog.post(b"hello").header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(dog.post(b"<html></html>").header("content-type"), "text/html; charset=utf-8");
    assert_eq!(dog.post(b"\x00\x01").header("content-type"), "application/octet-stream");
}

#[test]
fn an_exit_code_is_a_500_with_what_was_written() {
    let dog = Dog::running("sh -c 'cat; exit 3'", &[]);
    let reply = dog.post(b"so far");
    assert_eq!((reply.status, reply.text()), (500, "exit status 3\nso far"));
    let dog = Dog::running("sh -c 'kill -SEGV $$'", &[]);
    let reply = dog.post(b"");
    assert_eq!(reply.status, 500);
    assert!(reply.text().starts_with("signal: segmentation fault"), "{}", reply.text());
}

#[test]
fn a_program_that_does_not_start_is_a_500_that_says_why() {
    for (fprocess, reason) in [
        ("no-such-program --flag", "fork/exec no-such-program: executable file not found in PATH"),
        ("/no/such/program", "fork/exec /no/such/program: no such file or directory\n"),
        ("/etc/passwd", "fork/exec /etc/passwd: permission denied"),
        ("/", "fork/exec /: permission denied"),
    ] {
        for debug in ["false", "true"] {
            let dog = Dog::running(fprocess, &[("write_debug", debug)]);
            for _ in 0..2 {
                let reply = dog.post(b"body");
                assert_eq!(reply.status, 500, "{fprocess}");
                assert!(reply.text().starts_with(reason), "{fprocess}: {}", reply.text());
            }
        }
    }
}

#[test]
fn a_script_without_its_interpreter_says_so() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("handler");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let reply = Dog::running(script.to_str().unwrap(), &[]).post(b"");
    assert_eq!(reply.status, 500);
    assert!(reply.text().contains("interpreter or dynamic loader"), "{}", reply.text());
}

#[test]
fn quotes_make_one_word() {
    let dog = Dog::running(r#"printf '[%s]' one 'two words' "three \"3\"" four\ 4 """#, &[]);
    assert_eq!(dog.post(b"").text(), r#"[one][two words][three "3"][four 4][]"#);
}

#[test]
fn stderr_joins_the_response_or_the_log() {
    let fprocess = "sh -c 'echo out; echo problem >&2; printf unfinished >&2'";
    let dog = Dog::running(fprocess, &[]);
    assert_eq!(dog.post(b"").text(), "out\nproblem\nunfinished");
    let dog = Dog::running(fprocess, &[("combine_output", "false")]);
    assert_eq!(dog.post(b"").text(), "out\n");
    dog.wait_for_log(" stderr: problem\n");
    dog.wait_for_log(" stderr: unfinished\n");
}

#[test]
fn write_debug_logs_the_output_instead_of_its_length() {
    let dog = Dog::running("cat", &[("write_debug", "true")]);
    assert_eq!(dog.post(b"line one\nline two").text(), "line one\nline two");
    dog.wait_for_log(" line one\n");
    dog.wait_for_log(" line two\n");
    assert!(!dog.log().contains("Wrote"), "{}", dog.log());
}

#[test]
fn marshal_request_wraps_headers_and_body() {
    let dog = Dog::running("cat", &[("marshal_request", "true")]);
    let reply = dog.request("POST", "/", &[("X-B", "say \"hi\"")], b"hello");
    let expected = r#"{"header":{"Content-Length":["5"],"Host":["function.test"],"X-B":["say \"hi\""]},"body":{"raw":"aGVsbG8="}}"#;
    assert_eq!(reply.text(), expected);
}

#[test]
fn debug_headers_logs_both_directions() {
    let dog = Dog::running("cat", &[("debug_headers", "true")]);
    dog.request("POST", "/", &[("X-Seen", "yes")], b"");
    dog.wait_for_log("> x-seen: yes");
    dog.wait_for_log("< x-duration-seconds: ");
}

#[test]
fn requests_beyond_the_limit_are_refused_and_counted() {
    let dog = Dog::running("sh -c 'echo started > $dir/started; cat'", &[("max_inflight", "1")]);
    let mut first = dog.connect();
    first.send_head("POST", "/", &[("Content-Length", "4")]);
    dog.wait_for_file("started");
    let refused = dog.post(b"");
    assert_eq!(refused.status, 429);
    assert_eq!(refused.text(), "Concurrent request limit exceeded. Max concurrent requests: 1\n");
    assert_eq!(refused.header("x-openfaas-internal"), "faas-middleware");
    assert_eq!(dog.get("/_/ready").status, 429);
    assert_eq!(dog.get("/_/health").status, 200);
    first.write(b"done").unwrap();
    assert_eq!(first.reply("POST").unwrap().text(), "done");
    crate::dog::wait_until("the place is free", || dog.get("/_/ready").status == 200);
    assert_eq!(dog.post(b"again").text(), "again");
}

#[test]
fn sixteen_clients_at_once_get_their_own_answers() {
    let dog = Dog::running("cat", &[]);
    std::thread::scope(|scope| {
        for client in 0..16 {
            let dog = &dog;
            scope.spawn(move || {
                let mut connection = dog.connect();
                for round in 0..10 {
                    let body = format!("{client}.{round}").repeat(1 + 700 * (round % 3));
                    connection.send("POST", "/", &[], body.as_bytes());
                    assert_eq!(connection.reply("POST").unwrap().text(), body);
                }
            });
        }
    });
}
