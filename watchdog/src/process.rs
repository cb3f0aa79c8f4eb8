//! A child process in a process group of its own: started, watched, and never left behind.
//!
//! The property that holds: a [`Process`] that is dropped is killed with its whole group and reaped.
//! The group is only signalled while its leader is not reaped, so its number cannot belong to others.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::orphans::Orphans;
use crate::program::{Program, SpawnError};

/// A running child and its process group.
#[derive(Debug)]
pub(crate) struct Process {
    /// `None` once it is reaped.
    child: Option<Child>,
    group: Pid,
    orphans: Arc<Orphans>,
    /// Readable once it has exited; made when somebody waits.
    exit: Option<AsyncFd<OwnedFd>>,
}

impl Process {
    /// Starts `program`. Blocks until the new program is loaded (about 0.1 ms): `posix_spawn` waits for it.
    ///
    /// # Errors
    /// [`SpawnError`] with the status and the words for the client.
    pub(crate) fn start(
        program: &Program,
        variables: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
        [stdin, stdout, stderr]: [Stdio; 3],
        orphans: &Arc<Orphans>,
    ) -> Result<Self, SpawnError> {
        let path = program.find()?;
        let mut command = Command::new(path);
        // No `pre_exec`, no name to search for: the standard library then uses `posix_spawn`.
        command.arg0(program.name()).args(program.arguments()).process_group(0);
        command.envs(variables).stdin(stdin).stdout(stdout).stderr(stderr);
        let child =
            orphans.start(&mut command).map_err(|error| SpawnError::explain(program.name(), path, &error))?;
        let group = Pid::from_child(&child);
        Ok(Self { child: Some(child), group, orphans: Arc::clone(orphans), exit: None })
    }

    /// Asks the child to end; what it started is its own affair.
    pub(crate) fn terminate(&self) {
        if self.child.is_some() {
            let _ = kill_process(self.group, Signal::TERM);
        }
    }

    /// Kills the whole group: the child and every descendant that did not leave the group.
    pub(crate) fn kill(&self) {
        if self.child.is_some() {
            // The only failure is that nobody is left in it.
            let _ = kill_process_group(self.group, Signal::KILL);
        }
    }

    /// The exit status, if it exited; reaps it then.
    ///
    /// # Errors
    /// What `waitpid` says.
    pub(crate) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let status = child.try_wait()?;
        if status.is_some() {
            self.child = None;
            self.orphans.reaped(self.group);
        }
        Ok(status)
    }

    /// Waits for the exit and does not reap it, so that its group can still be killed. Never ends on
    /// kernels before 5.3 and in sandboxes without `pidfd_open`.
    ///
    /// # Errors
    /// What `epoll` says.
    pub(crate) async fn exited(&mut self) -> io::Result<()> {
        match exit_of(self.group, &mut self.exit)? {
            Some(exit) => exit.readable().await.map(drop),
            None => std::future::pending().await,
        }
    }

    /// Waits for the exit and reaps it. Dropping the future only stops waiting.
    ///
    /// # Errors
    /// What `waitpid` or `epoll` say.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let Some(child) = &mut self.child else { return Err(io::ErrorKind::NotFound.into()) };
        let status = wait_for_exit(child, self.group, &mut self.exit).await?;
        self.child = None;
        self.orphans.reaped(self.group);
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        // A killed process is gone within milliseconds, and is then reaped beside the requests. Without
        // a runtime the watchdog itself is about to exit. The task holds no `Process`: a runtime that
        // ends drops what is spawned on it, and that would lead back here.
        if let (Some(child), Ok(runtime)) = (self.child.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(reap_killed(child, self.group, Arc::clone(&self.orphans)));
        }
    }
}

/// Waits for a killed process.
async fn reap_killed(mut child: Child, group: Pid, orphans: Arc<Orphans>) {
    let _ = wait_for_exit(&mut child, group, &mut None).await;
    orphans.reaped(group);
}

/// Waits for the exit of a child and reaps it.
async fn wait_for_exit(
    child: &mut Child,
    pid: Pid,
    exit: &mut Option<AsyncFd<OwnedFd>>,
) -> io::Result<ExitStatus> {
    // Most have exited by the time that their output has ended.
    if let Some(status) = child.try_wait()? {
        return Ok(status);
    }
    let Some(exit) = exit_of(pid, exit)? else { return poll_for_exit(child).await };
    loop {
        let mut ready = exit.readable().await?;
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        ready.clear_ready();
    }
}

/// What tells of the exit of a child that is not reaped, where the kernel can.
fn exit_of(pid: Pid, known: &mut Option<AsyncFd<OwnedFd>>) -> io::Result<Option<&AsyncFd<OwnedFd>>> {
    if known.is_none() {
        let Ok(pidfd) = pidfd_open(pid, PidfdFlags::NONBLOCK) else { return Ok(None) };
        #[expect(deprecated, reason = "unsound for what can give its descriptor away; an OwnedFd cannot")]
        let exit = AsyncFd::with_interest(pidfd, Interest::READABLE)?;
        *known = Some(exit);
    }
    Ok(known.as_ref())
}

/// For kernels before 5.3 and sandboxes without `pidfd_open`.
async fn poll_for_exit(child: &mut Child) -> io::Result<ExitStatus> {
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// An exit status in Go's words, which clients of the classic watchdog know.
pub(crate) fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => {
            let core = if status.core_dumped() { " (core dumped)" } else { "" };
            format!("signal: {}{core}", signal_name(signal))
        }
        (None, None) => "unknown exit status".to_owned(),
    }
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        10 => "user defined signal 1",
        11 => "segmentation fault",
        12 => "user defined signal 2",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    #[test]
    fn describes_an_exit_in_gos_words() {
        for (raw, text) in [
            (3 << 8, "exit status 3"),
            (0, "exit status 0"),
            (9, "signal: killed"),
            (11 | 0x80, "signal: segmentation fault (core dumped)"),
            (40, "signal: signal 40"),
        ] {
            assert_eq!(describe(ExitStatus::from_raw(raw)), text);
        }
    }
}
