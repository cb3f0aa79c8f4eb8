//! A watchdog as a process of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::super::namespace::ask;
use crate::wait;

/// Longest wait for its start and for its end.
const LIMIT: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

const HEALTH: &[u8] = b"GET /_/health HTTP/1.1\r\nhost: x\r\n\r\n";

/// A watchdog; it and its program end when it is dropped.
#[derive(Debug)]
pub(super) struct Watchdog {
    child: Child,
    pub(super) address: SocketAddr,
    /// Where its lock file is.
    _dir: TempDir,
}

impl Watchdog {
    /// Starts it with nothing but a `PATH` and these variables, and waits until it is healthy.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) fn start(program: &Path, fprocess: &str, variables: &[(&str, &str)]) -> Result<Self> {
        let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
        let port = free_port()?;
        let child = Command::new(program)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("TMPDIR", dir.path())
            .env("fprocess", fprocess)
            .env("port", port.to_string())
            .env("metrics_port", "0")
            .env("healthcheck_interval", "0")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut watchdog = Self { child, address, _dir: dir };
        wait::until(&format!("{} is healthy", program.display()), LIMIT, LOOK_INTERVAL, || {
            let ended = watchdog.child.try_wait()?;
            ensure!(ended.is_none(), "{} with fprocess={fprocess:?} ended: {ended:?}", program.display());
            Ok(ask(address, HEALTH).filter(|(status, _)| *status == 200))
        })?;
        Ok(watchdog)
    }

    /// Its number.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // Asked, it ends the server that it started; killed, it could not.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        for _ in 0..LIMIT.as_millis() / LOOK_INTERVAL.as_millis() {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            wait::pause(LOOK_INTERVAL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on at the moment.
///
/// # Errors
/// When there is none.
pub(super) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port")?;
    Ok(listener.local_addr().context("a socket without an address")?.port())
}
