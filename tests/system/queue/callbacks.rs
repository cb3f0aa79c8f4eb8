//! Callbacks over TLS, to a receiver with a certificate of an authority of its own.

use std::net::TcpListener;

use super::{queue, until};
use crate::support::{Gateway, Start, guest};
use crate::tls::{curl, text, with_certificate};

#[test]
fn a_callback_goes_over_tls_to_whom_a_named_authority_vouches_for() {
    let (directory, receiver) = with_certificate();
    let ca = directory.path().join("ca.pem").to_str().unwrap().to_owned();
    let module = directory.path().join("sink.wasm");
    std::fs::write(&module, guest::cat()).unwrap();
    let words = ["deploy", module.to_str().unwrap(), "--tls-ca", &ca, "--env", "write_debug=true"];
    assert!(receiver.cli(&words).output().unwrap().status.success());

    let gateway = Start::new().flag("--callback-ca", &ca).start();
    gateway.deploy("cat", &guest::cat());
    let url = format!("{}/function/sink", receiver.url());
    let id = queue(&gateway, "cat", b"sent over TLS\n", &[("x-callback-url", &url)]);
    until(&gateway, &id, "done");
    assert_eq!(receiver.counted("sink", 200), 1.0);
    let log = curl(directory.path(), &format!("{}/system/logs?name=sink", receiver.url()), &[]);
    assert!(text(&log).contains("sent over TLS"), "{log:?}");
}

#[test]
fn a_callback_to_who_is_not_who_it_should_be_is_a_dead_letter_with_the_reason() {
    let (directory, receiver) = with_certificate();
    let (_stranger, other) = with_certificate();
    let ca = directory.path().join("ca.pem");
    let gateway = Start::new().flag("--callback-ca", ca.to_str().unwrap()).start();
    gateway.deploy("cat", &guest::cat());
    let plain = Gateway::start();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // All at once: each is tried three times.
    let calls = [
        (other.url(), "invalid peer certificate"),
        (format!("https://localhost:{}", receiver.address.port()), "not valid for"),
        (format!("https://{}", plain.address), "no TLS with it"),
        (format!("https://{gone}"), "refused"),
    ]
    .map(|(url, reason)| (queue(&gateway, "cat", b"", &[("x-callback-url", &url)]), reason));
    for (id, reason) in calls {
        let call = until(&gateway, &id, "dead");
        assert!(call["reason"].as_str().unwrap().contains(reason), "{reason:?} is not in {call}");
        assert_eq!((&call["statusCode"], &call["starts"]), (&200.into(), &1.into()));
    }
}

#[test]
fn an_authority_that_cannot_be_used_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    for content in
        [None, Some("no certificate"), Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
    {
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let refused = Start::new().flag("--callback-ca", path.to_str().unwrap()).try_start().unwrap_err();
        assert!(refused.stderr.contains(&format!("callback_ca = {}", path.display())), "{refused:?}");
    }
}
