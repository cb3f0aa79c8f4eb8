//! `mode=static`.

use crate::dog::{Dog, wait_until};

/// A watchdog over a small site.
fn site() -> (Dog, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("index.html", b"<p>home</p>");
    write("docs/index.html", b"docs");
    write("style.css", b"p {}");
    write("unknown", b"0123456789");
    write("empty/keep.txt", b"");
    write("large.bin", &vec![7; 1 << 20]);
    let dog = Dog::start(&[("mode", "static"), ("static_path", root.path().to_str().unwrap())]);
    dog.wait_until_healthy();
    (dog, root)
}

#[test]
fn serves_files_with_their_types() {
    let (dog, _root) = site();
    for (path, mime, body) in [
        ("/", "text/html; charset=utf-8", "<p>home</p>"),
        ("/docs/", "text/html; charset=utf-8", "docs"),
        ("/style.css?v=1", "text/css; charset=utf-8", "p {}"),
        ("/unknown", "text/plain; charset=utf-8", "0123456789"),
    ] {
        let reply = dog.get(path);
        assert_eq!((reply.status, reply.header("content-type"), reply.text()), (200, mime, body), "{path}");
    }
    assert_eq!(dog.get("/large.bin").body, vec![7; 1 << 20]);
    let head = dog.request("HEAD", "/large.bin", &[], b"");
    assert_eq!((head.status, head.header("content-length")), (200, "1048576"));
}

#[test]
fn refuses_what_is_not_there_or_not_below() {
    let (dog, _root) = site();
    for path in
        ["/none", "/empty/", "/../etc/passwd", "/%2e%2e/etc/passwd", "/docs/..%2f..%2fetc/passwd", "/a%00"]
    {
        assert_eq!(dog.get(path).status, 404, "{path}");
    }
    let reply = dog.get("/docs");
    assert_eq!((reply.status, reply.header("location")), (301, "/docs/"));
    assert_eq!(dog.post(b"x").status, 405);
}

#[test]
fn serves_ranges_and_validates_by_date() {
    let (dog, _root) = site();
    let reply = dog.request("GET", "/unknown", &[("Range", "bytes=2-4")], b"");
    assert_eq!((reply.status, reply.text()), (206, "234"));
    assert_eq!(reply.header("content-range"), "bytes 2-4/10");
    assert_eq!(dog.request("GET", "/unknown", &[("Range", "bytes=50-")], b"").status, 416);
    let modified = dog.get("/unknown").header("last-modified").to_owned();
    assert_eq!(dog.request("GET", "/unknown", &[("If-Modified-Since", &modified)], b"").status, 304);
    let old = "Thu, 01 Jan 1970 00:00:01 GMT";
    assert_eq!(dog.request("GET", "/unknown", &[("If-Modified-Since", old)], b"").status, 200);
    let both = [("Range", "bytes=0-0"), ("If-Range", old)];
    assert_eq!(dog.request("GET", "/unknown", &both, b"").status, 200);
}

#[test]
fn a_client_that_reads_slowly_is_given_up_after_write_timeout() {
    const LENGTH: u64 = 1 << 30;
    let root = tempfile::tempdir().unwrap();
    std::fs::File::create(root.path().join("large")).unwrap().set_len(LENGTH).unwrap();
    let path = root.path().to_str().unwrap();
    let dog = Dog::start(&[("mode", "static"), ("static_path", path), ("write_timeout", "300ms")]);
    dog.wait_until_healthy();
    let mut connection = dog.connect();
    connection.send("GET", "/large", &[], b"");
    let head = connection.head().unwrap();
    assert_eq!((head.status, head.header("content-length")), (200, LENGTH.to_string().as_str()));
    // It always takes something, so only the clock can end it.
    let mut count = 0;
    wait_until("it is given up", || {
        count += connection.bytes(64 << 10).len() as u64;
        dog.log().contains("write_timeout")
    });
    assert!(connection.read_body(&head, |piece| count += piece.len() as u64).is_err());
    assert!(count < LENGTH);
}
