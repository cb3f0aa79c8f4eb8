//! What Prometheus reads.

use crate::dog::{Dog, wait_until};
use crate::http_client::Connection;

/// The text of the metrics.
pub(crate) fn scrape(dog: &Dog) -> String {
    let mut connection = Connection::open(dog.metrics_port);
    connection.send("GET", "/metrics", &[], b"");
    let reply = connection.reply("GET").unwrap();
    assert_eq!(reply.status, 200);
    reply.text().to_owned()
}

#[test]
fn requests_are_counted_by_code_and_method() {
    let dog = Dog::running("sh -c 'read code; exit $code'", &[]);
    dog.post(b"0\n");
    dog.post(b"0\n");
    dog.post(b"5\n");
    dog.request("BREW", "/", &[], b"0\n");
    dog.get("/_/health");
    wait_until("all are counted", || {
        let text = scrape(&dog);
        [
            r#"http_requests_total{code="200",method="post"} 2"#,
            r#"http_requests_total{code="500",method="post"} 1"#,
            r#"http_requests_total{code="200",method="unknown"} 1"#,
            r#"http_request_duration_seconds_count{code="200",method="post"} 2"#,
            "http_requests_in_flight 0",
        ]
        .iter()
        .all(|line| text.contains(line))
            && !text.contains(r#"method="get""#)
    });
}

#[test]
fn a_request_is_in_flight_until_its_answer_is_sent() {
    let dog = Dog::running("cat", &[("mode", "streaming")]);
    let mut connection = dog.connect();
    connection.send_head("POST", "/", &[("Transfer-Encoding", "chunked")]);
    connection.send_chunk(b"x");
    assert_eq!(connection.head().unwrap().status, 200);
    assert!(scrape(&dog).contains("http_requests_in_flight 1"));
    connection.write(b"0\r\n\r\n").unwrap();
    wait_until("it has ended", || scrape(&dog).contains("http_requests_in_flight 0"));
}

#[test]
fn only_the_metrics_are_on_their_port() {
    let dog = Dog::running("cat", &[]);
    let mut connection = Connection::open(dog.metrics_port);
    connection.send("GET", "/", &[], b"");
    assert_eq!(connection.reply("GET").unwrap().status, 404);
    assert_eq!(dog.get("/metrics").status, 200, "on the function's port it is the function's path");
}
