//! Replicas in another network namespace. Needs root, as entering one does.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;

use rustix::thread::UnshareFlags;

use super::*;
use crate::upstream::{NoConnection, Probe};

/// A namespace of its own with a replica on its loopback: neither outlives the test.
fn namespace() -> (Arc<OwnedFd>, std::net::TcpListener) {
    std::thread::spawn(|| {
        #[expect(
            deprecated,
            reason = "the other form is unsafe for file tables, which are not unshared here"
        )]
        rustix::thread::unshare(UnshareFlags::NEWNET)
            .expect("making a network namespace failed; run the tests as root");
        // The command is in the namespace of the thread that starts it.
        let up =
            Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("iproute2 is installed");
        assert!(up.success(), "the loopback of the namespace stays down");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        (Arc::new(File::open("/proc/thread-self/ns/net").unwrap().into()), listener)
    })
    .join()
    .unwrap()
}

#[tokio::test]
async fn reaches_a_replica_in_its_namespace() {
    let dialer = Dialer::default();
    for _ in 0..2 {
        let (namespace, listener) = namespace();
        let socket = listener.local_addr().unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        tokio::spawn(async move {
            loop {
                tokio::spawn(answer_ok(Peer::accept(&listener).await));
            }
        });
        // The dialer's thread came back from the last one: nothing is there.
        let probe = Upstream::new(Address { socket, path: Path::Direct }, dialer.clone()).probe(LIMIT).await;
        assert!(matches!(probe, Probe::NotYet(_)), "{probe:?}");

        let upstream = Upstream::new(Address { socket, path: Path::Namespace(namespace) }, dialer.clone());
        let probe = within("an answer", upstream.probe(LIMIT)).await;
        assert!(matches!(probe, Probe::Ready), "{probe:?}");
        assert_eq!(text(upstream.send(post(Body::empty())).await.unwrap()).await, "ok");
    }
}

#[tokio::test]
async fn what_is_no_namespace_is_an_error() {
    let file = Arc::new(OwnedFd::from(File::open("/proc/self/status").unwrap()));
    let address = Address { socket: nobody_there().await, path: Path::Namespace(file) };
    let sent = Upstream::new(address, Dialer::default()).send(post(whole("hello"))).await;
    match sent {
        Err(SendError::NotSent { cause: NoConnection::Namespace { .. }, request }) => {
            assert_eq!(request.into_body().into_whole().unwrap(), "hello");
        }
        other => panic!("not what was expected: {other:?}"),
    }
}

#[test]
fn says_what_to_do_without_the_right_to_enter() {
    let source = std::io::ErrorKind::PermissionDenied.into();
    let message = NoConnection::Namespace { source }.to_string();
    assert!(message.contains("run as root"), "{message}");
}
