//! The end: nothing that was accepted is lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rustix::process::Signal;

use crate::dog::{Dog, FEW_PLACES, wait_until};
use crate::http_client::Connection;

#[test]
fn health_fails_and_requests_are_served_until_the_interval_is_over() {
    let mut dog = Dog::running("cat", &[("healthcheck_interval", "700ms")]);
    let mut open = dog.connect();
    let begun = Instant::now();
    dog.signal(Signal::TERM);
    dog.wait_for_log("SIGTERM received");
    assert!(!dog.file(".lock").exists());
    assert_eq!(dog.get("/_/health").status, 503);
    open.send("POST", "/", &[], b"late");
    let reply = open.reply("POST").unwrap();
    assert_eq!((reply.status, reply.text()), (200, "late"));
    assert_eq!(reply.header("connection"), "close");
    dog.wait_for_good_end();
    assert!(begun.elapsed().as_millis() >= 700, "it did not wait for the interval");
}

#[test]
fn a_request_in_flight_is_waited_for() {
    let mut dog = Dog::running("sh -c 'echo $$ > $dir/pid; cat'", &[]);
    let mut connection = dog.connect();
    connection.send_head("POST", "/", &[("Content-Length", "4")]);
    dog.wait_for_file("pid");
    dog.signal(Signal::TERM);
    dog.wait_for_log("waiting for 1 requests in flight");
    assert!(!dog.has_ended());
    assert!(Connection::try_open(dog.port).is_err(), "it still listens");
    connection.write(b"done").unwrap();
    assert_eq!(connection.reply("POST").unwrap().text(), "done");
    dog.wait_for_good_end();
}

#[test]
fn a_request_that_does_not_end_is_given_up() {
    let variables = [("write_timeout", "30s"), ("exec_timeout", "500ms")];
    let mut dog = Dog::running("sh -c 'echo $$ > $dir/pid; exec sleep 1000'", &variables);
    let mut connection = dog.connect();
    connection.send("POST", "/", &[], b"");
    dog.wait_for_file("pid");
    dog.signal(Signal::TERM);
    assert_eq!(connection.reply("POST").unwrap().status, 408);
    dog.wait_for_good_end();
    dog.wait_for_end_of("pid");
}

#[test]
fn the_end_kills_what_has_no_limit() {
    let mut dog = Dog::running("sh -c 'echo $$ > $dir/pid; exec sleep 1000'", &[("write_timeout", "300ms")]);
    let mut connection = dog.connect();
    connection.send("POST", "/", &[], b"");
    dog.wait_for_file("pid");
    dog.signal(Signal::INT);
    dog.wait_for_good_end();
    dog.wait_for_end_of("pid");
}

#[test]
fn the_end_does_not_wait_for_a_place() {
    let mut dog = Dog::with_few_places(&[("fprocess", "cat"), ("write_timeout", "0")]);
    let mut connections: Vec<_> = (0..FEW_PLACES).map(|_| dog.connect()).collect();
    connections.iter_mut().for_each(|it| it.send_head("POST", "/", &[("Content-Length", "4")]));
    wait_until("all places are taken", || {
        crate::metrics::scrape(&dog).contains(&format!("http_requests_in_flight {FEW_PLACES}\n"))
    });
    dog.signal(Signal::TERM);
    dog.wait_for_log(&format!("waiting for {FEW_PLACES} requests in flight"));
    for connection in &mut connections {
        connection.write(b"done").unwrap();
        assert_eq!(connection.reply("POST").unwrap().text(), "done");
    }
    dog.wait_for_good_end();
}

#[test]
fn a_second_signal_ends_the_interval() {
    let mut dog = Dog::running("cat", &[("healthcheck_interval", "1h")]);
    dog.signal(Signal::TERM);
    dog.wait_for_log("SIGTERM received");
    dog.signal(Signal::TERM);
    dog.wait_for_good_end();
}

/// Clients that go on until they are told that the connection closes and that the watchdog is not healthy,
/// as a load balancer does. A process that is killed without draining would lose six requests here.
#[test]
fn sigterm_under_load_loses_no_request() {
    let mut dog = Dog::running("cat", &[("healthcheck_interval", "1s")]);
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for client in 0..6 {
            let (dog, answered) = (&dog, &answered);
            scope.spawn(move || {
                let mut connection = dog.connect();
                loop {
                    let body = format!("request of {client}");
                    connection.send("POST", "/", &[], body.as_bytes());
                    let reply = connection.reply("POST").expect("an accepted request was lost");
                    assert_eq!((reply.status, reply.text()), (200, body.as_str()));
                    answered.fetch_add(1, Ordering::Relaxed);
                    if reply.header("connection") == "close" {
                        if dog.get("/_/health").status == 503 && client % 2 == 0 {
                            return;
                        }
                        // Half of them come back once more all the same, and are served.
                        assert_eq!(dog.post(b"once more").text(), "once more");
                        return;
                    }
                }
            });
        }
        wait_until("the load is on", || answered.load(Ordering::Relaxed) > 100);
        dog.signal(Signal::TERM);
    });
    dog.wait_for_good_end();
    dog.wait_for_log("Exiting. Active requests: 0");
}
