//! Calling a container from within its own network, as the gateway does.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::load::ResponseReader;

/// Longest wait for the answer to one attempt.
const PATIENCE: Duration = Duration::from_secs(2);

/// Does something on a thread in the network namespace of a process; threads that it starts are in it too.
///
/// # Errors
/// When the namespace cannot be entered, and those of what is done.
pub(crate) fn within<T: Send>(pid: u32, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let path = format!("/proc/{pid}/ns/net");
    let namespace = File::open(&path).with_context(|| format!("cannot open {path}: root is needed"))?;
    let enter = || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .context("cannot enter a network namespace: root is needed")
    };
    std::thread::scope(|scope| {
        // The thread ends in there: nobody else finds itself in another network.
        let thread = scope.spawn(|| enter().and_then(|()| work()));
        thread.join().expect("the thread in a namespace does not panic")
    })
}

/// The status and body of one answer on a connection of its own; `None` when there is no answer.
pub(crate) fn ask(address: SocketAddr, request: &[u8]) -> Option<(u16, Vec<u8>)> {
    let exchange = || -> Result<(u16, Vec<u8>)> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request)?;
        let mut reader = ResponseReader::keeping();
        let mut buffer = [0; 4 << 10];
        loop {
            match stream.read(&mut buffer)? {
                0 => bail!("closed"),
                read if reader.feed(&buffer[..read])? => return Ok((reader.status(), reader.take_body())),
                _ => {}
            }
        }
    };
    exchange().ok()
}
