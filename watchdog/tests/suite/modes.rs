//! `streaming` and `serializing`.

use crate::dog::Dog;

const STREAMING: (&str, &str) = ("mode", "streaming");
const SERIALIZING: (&str, &str) = ("mode", "serializing");

#[test]
fn streaming_goes_both_ways_at_once() {
    let dog = Dog::running("cat", &[STREAMING]);
    let mut connection = dog.connect();
    connection.send_head("POST", "/", &[("Transfer-Encoding", "chunked")]);
    connection.send_chunk(b"one");
    let head = connection.head().unwrap();
    assert_eq!((head.status, head.header("content-type")), (200, "application/octet-stream"));
    assert_eq!(connection.chunk().unwrap().unwrap(), b"one");
    connection.send_chunk(b"two");
    assert_eq!(connection.chunk().unwrap().unwrap(), b"two");
    connection.write(b"0\r\n\r\n").unwrap();
    assert_eq!(connection.chunk().unwrap(), None);
}

#[test]
fn streaming_tells_a_failure_before_the_first_byte() {
    for (fprocess, status, text) in [
        ("sh -c 'exit 3'", 500, "exit status 3\n"),
        ("no-such-program", 500, "fork/exec no-such-program: "),
        ("sleep 1000", 504, "Killed process.\n"),
    ] {
        let reply = Dog::running(fprocess, &[STREAMING, ("exec_timeout", "300ms")]).post(b"");
        assert_eq!(reply.status, status, "{fprocess}");
        assert!(reply.text().starts_with(text), "{fprocess}: {}", reply.text());
    }
}

#[test]
fn streaming_breaks_off_on_a_failure_behind_it() {
    for (fprocess, log) in [
        ("sh -c 'echo some; exit 3'", "exit status 3 after 5 Bytes"),
        ("sh -c 'echo some; exec sleep 1000'", "Killed process: exec_timeout."),
    ] {
        let dog = Dog::running(fprocess, &[STREAMING, ("exec_timeout", "400ms")]);
        let mut connection = dog.connect();
        connection.send("GET", "/", &[], b"");
        let head = connection.head().unwrap();
        assert_eq!(connection.chunk().unwrap().unwrap(), b"some\n");
        assert!(connection.read_body(&head, |_| {}).is_err(), "{fprocess}");
        dog.wait_for_log(log);
    }
}

#[test]
fn streaming_answers_an_empty_output() {
    let reply = Dog::running("true", &[STREAMING]).post(b"");
    assert_eq!((reply.status, reply.body.len()), (200, 0));
}

#[test]
fn serializing_loses_the_output_of_a_failure() {
    let dog = Dog::running("sh -c 'echo lost; echo why >&2; exit 3'", &[SERIALIZING]);
    let reply = dog.post(b"");
    assert_eq!((reply.status, reply.text()), (500, "exit status 3"));
    dog.wait_for_log(" stderr: why\n");
    let dog = Dog::running("sleep 1000", &[SERIALIZING, ("exec_timeout", "200ms")]);
    let reply = dog.post(b"");
    assert_eq!((reply.status, reply.text()), (500, "signal: killed"));
}

#[test]
fn serializing_answers_whole() {
    let dog = Dog::running("cat", &[SERIALIZING]);
    let reply = dog.request("POST", "/", &[("Content-Type", "text/html")], b"hello");
    assert_eq!((reply.status, reply.text()), (200, "hello"));
    assert_eq!(reply.header("content-type"), "application/octet-stream");
    assert!(!reply.header("x-duration-seconds").is_empty());
}

#[test]
fn log_lines_are_bare_or_cut_as_asked() {
    let fprocess = "sh -c 'echo 12345678901234567890 >&2'";
    let dog = Dog::running(fprocess, &[STREAMING, ("prefix_logs", "false"), ("log_buffer_size", "12")]);
    dog.post(b"");
    dog.wait_for_log("\n123456789012\n34567890\n");
}
