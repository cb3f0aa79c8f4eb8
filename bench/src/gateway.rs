//! The real gateway as a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::idle::Memory;
use crate::machine::kib_field;

/// A `bramble gateway` on a port of its own; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct GatewayProcess {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Where its metrics are.
    pub(crate) metrics: SocketAddr,
}

impl GatewayProcess {
    /// The program: the one that was named, or `bramble` beside this one.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn program(named: Option<&Path>) -> Result<PathBuf> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => std::env::current_exe().context("cannot find this program")?.with_file_name("bramble"),
        };
        ensure!(
            path.is_file(),
            "no gateway at {}: build it (cargo build --release -p bramble) or name one with --bramble",
            path.display()
        );
        path.canonicalize().with_context(|| format!("cannot resolve {}", path.display()))
    }

    /// Starts it in a directory of ours, with its defaults, and waits until it takes requests.
    ///
    /// # Errors
    /// When it does not start; its own words are on stderr.
    pub(crate) fn start(program: &Path, dir: &Path) -> Result<Self> {
        Self::start_with(program, dir, &[])
    }

    /// The same, with more flags.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) fn start_with(program: &Path, dir: &Path, flags: &[String]) -> Result<Self> {
        let mut child = Command::new(program)
            .args(["gateway", "--listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0", "--log-level=warn"])
            .arg("--data-dir")
            // Made by the gateway: what is there already may be open to others, which it warns of.
            .arg(dir.join("data"))
            .args(flags)
            // Nothing of the caller's settings: the figure is of the defaults.
            .env_clear()
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let stdout = child.stdout.take().context("the gateway has no stdout")?;
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        let addresses = read.map_err(anyhow::Error::from).and_then(|_| addresses(&line));
        match addresses {
            Ok((address, metrics)) => Ok(Self { child, address, metrics }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error).with_context(|| format!("{} did not start", program.display()))
            }
        }
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops it as a supervisor does, and waits for its end.
    ///
    /// # Errors
    /// When it did not end well.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process number")?;
        kill_process(pid, Signal::TERM).context("cannot stop the gateway")?;
        let status = self.child.wait().context("cannot wait for the gateway")?;
        ensure!(status.success(), "the gateway ended with {status}");
        Ok(())
    }

    /// What it holds now.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn memory(&self) -> Result<Memory> {
        Memory::of(self.child.id())
    }
}

impl Memory {
    /// What a process holds now.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let bytes = |name| kib_field(&text, name).map(|kib| kib * 1_024);
        Ok(Self {
            resident_bytes: bytes("VmRSS").with_context(|| format!("no VmRSS in {path}"))?,
            anonymous_bytes: bytes("RssAnon").unwrap_or_default(),
        })
    }
}

impl Drop for GatewayProcess {
    fn drop(&mut self) {
        // After `stop` both find nothing, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The addresses in `listening on http://127.0.0.1:1234, metrics on http://…`.
fn addresses(line: &str) -> Result<(SocketAddr, SocketAddr)> {
    let mut urls = line.split("http://").skip(1).map(|rest| rest.split(&[',', '/', '\n'][..]).next());
    let mut next = || urls.next()??.parse().ok();
    next().zip(next()).with_context(|| format!("no two addresses in its first line {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_addresses_in_the_first_line() {
        let line = "listening on http://127.0.0.1:1234, metrics on http://127.0.0.1:5/metrics\n";
        let expected = ("127.0.0.1:1234".parse().unwrap(), "127.0.0.1:5".parse().unwrap());
        assert_eq!(addresses(line).unwrap(), expected);
        assert!(addresses("listening on http://127.0.0.1:1234").is_err());
    }
}
