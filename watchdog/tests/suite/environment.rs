//! What a program learns of its request.

use std::collections::BTreeMap;

use crate::dog::Dog;
use crate::http_client::Reply;

/// The variables that `env` printed.
fn variables(reply: &Reply) -> BTreeMap<&str, &str> {
    reply.text().lines().filter_map(|line| line.split_once('=')).collect()
}

#[test]
fn describes_the_request() {
    let dog = Dog::running("env", &[("greeting", "hello")]);
    let headers =
        [("X-Foo-Bar", "first"), ("X-Foo-Bar", "second"), ("User-Agent", "me"), ("Content-Type", "a/b")];
    let reply = dog.request("POST", "/a%20b/c?x=1&y=%20", &headers, b"12345");
    let variables = variables(&reply);
    for (name, value) in [
        ("Http_Method", "POST"),
        ("Http_Path", "/a b/c"),
        ("Http_Query", "x=1&y=%20"),
        ("Http_Host", "function.test"),
        ("Http_ContentLength", "5"),
        ("Http_Content_Length", "5"),
        ("Http_X_Foo_Bar", "first"),
        ("Http_User_Agent", "me"),
        ("Http_Content_Type", "a/b"),
        ("greeting", "hello"),
    ] {
        assert_eq!(variables.get(name), Some(&value), "{name}");
    }
    assert!(!variables.contains_key("Http_Transfer_Encoding"));
}

#[test]
fn leaves_out_what_is_not_there() {
    let dog = Dog::running("env", &[]);
    let reply = dog.get("/");
    let variables = variables(&reply);
    assert!(!variables.contains_key("Http_Query"));
    assert_eq!((variables["Http_Path"], variables["Http_Content_Length"]), ("/", "0"));
}

#[test]
fn a_chunked_body_has_no_length() {
    let dog = Dog::running("env", &[]);
    let mut connection = dog.connect();
    connection.send_head("POST", "/", &[("Transfer-Encoding", "chunked")]);
    connection.write(b"0\r\n\r\n").unwrap();
    let reply = connection.reply("POST").unwrap();
    let variables = variables(&reply);
    assert_eq!(variables["Http_Content_Length"], "-1");
    assert_eq!(variables["Http_ContentLength"], "-1");
    assert_eq!(variables["Http_Transfer_Encoding"], "chunked");
}

#[test]
fn a_header_cannot_take_the_place_of_the_requests_own_names() {
    let dog = Dog::running("env", &[]);
    let headers = [("Path", "/admin"), ("Method", "ROOT"), ("Query", "q"), ("ContentLength", "9")];
    let reply = dog.request("POST", "/real?real", &headers, b"");
    let variables = variables(&reply);
    assert_eq!((variables["Http_Path"], variables["Http_Method"]), ("/real", "POST"));
    assert_eq!((variables["Http_Query"], variables["Http_ContentLength"]), ("real", "0"));
}

#[test]
fn a_path_that_no_variable_can_hold_is_refused() {
    let dog = Dog::running("env", &[]);
    assert_eq!(dog.get("/a%00b").status, 400);
    assert_eq!(dog.get("/fine").status, 200);
}

#[test]
fn cgi_headers_false_gives_none() {
    let dog = Dog::running("env", &[("cgi_headers", "false")]);
    let reply = dog.request("POST", "/?x", &[("X-A", "b")], b"");
    assert!(!reply.text().contains("Http_"), "{}", reply.text());
}
