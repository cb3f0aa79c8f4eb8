//! `--run-healthcheck`: what a container's `HEALTHCHECK` runs.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::config::{Env, read_probe};

/// Time for each step of the probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks whether the watchdog of this container takes requests: by its lock file, or over HTTP where there is none.
///
/// # Errors
/// Why it does not.
pub(crate) fn run_healthcheck(env: &Env) -> Result<(), String> {
    match read_probe(env).map_err(|error| error.to_string())? {
        (_, Some(lock)) if lock.exists() => Ok(()),
        (_, Some(lock)) => Err(format!("unable to find lock file {}", lock.display())),
        (port, None) => probe(port).map_err(|error| format!("port={port}: {error}")),
    }
}

fn probe(port: u16) -> std::io::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PROBE_TIMEOUT)?;
    stream.set_read_timeout(Some(PROBE_TIMEOUT))?;
    stream.set_write_timeout(Some(PROBE_TIMEOUT))?;
    stream.write_all(b"GET /_/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    if &head == b"HTTP/1.1 200" {
        Ok(())
    } else {
        Err(std::io::Error::other("/_/health does not answer 200"))
    }
}
