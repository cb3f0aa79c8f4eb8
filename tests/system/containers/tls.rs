//! A Docker daemon that is asked over TLS and wants to see a certificate.

use std::fs;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::json;
use std::os::fd::AsFd;

use crate::support::docker::{CONFORM, Docker};
use crate::support::{Start, wait};

/// An authority, a server's certificate for the loopback, and a client's in a directory of its own.
fn certificates(directory: &Path) {
    let script = r#"
        cd "$0"; mkdir client other
        authority() { openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1" -keyout "$2/ca-key.pem" -out "$2/ca.pem"; }
        signed() {
            openssl req -newkey rsa:2048 -nodes -subj "/CN=$2" -keyout "$1/key.pem" -out "$1/request.pem"
            openssl x509 -req -days 2 -in "$1/request.pem" -CA "$3/ca.pem" -CAkey "$3/ca-key.pem" -CAcreateserial \
                -extfile <(printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth') -out "$1/cert.pem"
        }
        authority tests . && signed . server . && signed client client . && cp ca.pem client
        authority others other && signed other client other && cp ca.pem other/ca.pem
    "#;
    let output = Command::new("bash").args(["-euc", script]).arg(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Takes connections here and makes others in the network of the daemon.
fn forward(namespace: &Path, to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap();
    let namespace = namespace.to_owned();
    // Ends with the process of the test.
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let namespace = fs::File::open(&namespace);
            thread::spawn(move || -> io::Result<()> {
                move_into_link_name_space(namespace?.as_fd(), Some(LinkNameSpaceType::Network))?;
                let server = TcpStream::connect(to)?;
                let (client_in, server_out) = (client.try_clone()?, server.try_clone()?);
                let up = thread::spawn(move || copy(client_in, server_out));
                copy(server, client);
                drop(up.join());
                Ok(())
            });
        }
    });
    here
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn a_daemon_behind_tls_is_asked_with_a_certificate() {
    let docker = Docker::own();
    let home = tempfile::tempdir().unwrap();
    certificates(home.path());
    let file = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    docker.restart_with(&[
        "-H=tcp://127.0.0.1:2376",
        "--tlsverify",
        &format!("--tlscacert={}", file("ca.pem")),
        &format!("--tlscert={}", file("cert.pem")),
        &format!("--tlskey={}", file("key.pem")),
    ]);
    let address = forward(&docker.dir().join("net"), ([127, 0, 0, 1], 2376).into());
    let start = |certificates: &str| {
        Start::new()
            .flag("--docker-host", &format!("tcp://{address}"))
            .flag("--docker-tls-verify", "true")
            .flag("--docker-cert-path", &file(certificates))
            .start()
    };
    // Somebody else's certificate is not taken; the daemon says so.
    let stranger = start("other");
    wait::until("it is refused", || {
        stranger.containers()["reason"].as_str().unwrap_or_default().contains("received fatal alert")
    });
    drop(stranger);
    let gateway = start("client");
    gateway.connected();
    assert_eq!(gateway.containers()["docker"], format!("tcp://{address}"));
    gateway.create("remote", CONFORM, json!({})).expect(202);
    wait::until("it runs", || docker.containers("remote").len() == 1);
    assert_eq!(gateway.names(), ["remote"]);
    gateway.scale("remote", 0);
    wait::until("it runs no more", || docker.containers("remote").is_empty());
    gateway.remove("remote");
    assert!(!docker.has_service("remote"));
}
