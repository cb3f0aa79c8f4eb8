//! Programs and clients that do not behave, and bounded memory.

use crate::dog::Dog;

/// Far below what buffering one of the bodies here would take.
const MEMORY_MAX_KIB: u64 = 16 << 10;
const LARGE: usize = 100 << 20;

#[test]
fn a_program_that_writes_100_mib_streams() {
    let dog = Dog::running("head -c 104857600 /dev/zero", &[]);
    let mut connection = dog.connect();
    connection.send("GET", "/", &[], b"");
    let head = connection.head().unwrap();
    assert_eq!((head.status, head.header("transfer-encoding")), (200, "chunked"));
    let mut count = 0;
    connection.read_body(&head, |piece| count += piece.len()).unwrap();
    assert_eq!(count, LARGE);
    assert!(dog.peak_kib() < MEMORY_MAX_KIB, "{} KiB", dog.peak_kib());
}

#[test]
fn a_client_that_sends_100_mib_streams() {
    let dog = Dog::running("wc -c", &[]);
    let reply = dog.post(&vec![b'x'; LARGE]);
    assert_eq!((reply.status, reply.text().trim()), (200, "104857600"));
    assert!(dog.peak_kib() < MEMORY_MAX_KIB, "{} KiB", dog.peak_kib());
}

#[test]
fn a_program_that_never_reads_answers_all_the_same() {
    let dog = Dog::running("echo hello", &[]);
    let body = vec![b'x'; 20 << 20];
    let mut connection = dog.connect();
    for _ in 0..3 {
        // The same connection: the body of the request before has been read to its end.
        connection.send("POST", "/", &[], &body);
        let reply = connection.reply("POST").unwrap();
        assert_eq!((reply.status, reply.text()), (200, "hello\n"));
    }
    assert!(dog.peak_kib() < MEMORY_MAX_KIB, "{} KiB", dog.peak_kib());
}

#[test]
fn a_program_that_never_reads_and_never_ends_is_killed() {
    let dog = Dog::running("sleep 1000", &[("exec_timeout", "300ms")]);
    let reply = dog.post(&vec![b'x'; 20 << 20]);
    assert_eq!((reply.status, reply.text()), (408, "Killed process.\n"));
}

#[test]
fn a_failure_after_the_held_back_part_breaks_the_connection() {
    let dog = Dog::running("sh -c 'head -c 200000 /dev/zero; exit 4'", &[]);
    let mut connection = dog.connect();
    connection.send("GET", "/", &[], b"");
    let head = connection.head().unwrap();
    assert_eq!(head.status, 200);
    assert!(connection.read_body(&head, |_| {}).is_err());
    dog.wait_for_log("exit status 4 after 200000 Bytes");
    let dog = Dog::running("sh -c 'head -c 60000 /dev/zero; exit 4'", &[]);
    let reply = dog.post(b"");
    assert_eq!((reply.status, reply.body.len()), (500, "exit status 4\n".len() + 60_000));
}

#[test]
fn headers_without_end_are_refused() {
    use std::io::Write as _;
    let dog = Dog::running("cat", &[]);
    let mut connection = dog.connect();
    let mut sender = connection.sender();
    std::thread::spawn(move || {
        let _ = sender.write_all(b"GET / HTTP/1.1\r\n");
        while sender.write_all(b"X-Filler: 0123456789012345678901234567890123456789\r\n").is_ok() {}
    });
    match connection.head() {
        Ok(reply) => assert_eq!(reply.status, 431),
        // The refusal was overtaken by the reset, as bytes were still coming.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    assert!(dog.peak_kib() < MEMORY_MAX_KIB, "{} KiB", dog.peak_kib());
    assert_eq!(dog.post(b"still here").text(), "still here");
}

#[test]
fn what_is_no_http_is_refused_and_forgotten() {
    let dog = Dog::running("cat", &[]);
    let mut connection = dog.connect();
    connection.write(b"\x16\x03\x01\x02\x00garbage\r\n\r\n").unwrap();
    assert!(connection.head().map_or(true, |reply| reply.status == 400));
    assert_eq!(dog.post(b"x").text(), "x");
}

#[test]
fn a_program_that_closes_stdin_early_still_answers() {
    let dog = Dog::running("sh -c 'exec <&-; echo closed'", &[]);
    let reply = dog.post(&vec![b'x'; 1 << 20]);
    assert_eq!((reply.status, reply.text()), (200, "closed\n"));
}
