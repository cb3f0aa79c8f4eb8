//! Starting a process with pipes for its three streams.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;

use rustix::pipe::{PipeFlags, pipe_with};

use crate::orphans::Orphans;
use crate::process::Process;
use crate::program::{Program, SpawnError};

/// Starts the function's program.
#[derive(Debug)]
pub(crate) struct Launcher {
    program: Program,
    combine_output: bool,
    orphans: Arc<Orphans>,
}

/// A started process and our ends of its pipes.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) process: Process,
    /// `None` when everything was written before the start.
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    /// `None` when stderr joins stdout.
    pub(crate) stderr: Option<OwnedFd>,
}

/// What is to be on stdin when the process starts.
pub(crate) enum Stdin<'a> {
    /// All of it, at most what fits into any pipe: it is written before the start.
    Whole(&'a [u8]),
    /// It is written later.
    Open,
}

impl Launcher {
    /// With `combine_output`, stderr goes where stdout goes.
    pub(crate) fn new(program: Program, combine_output: bool, orphans: Arc<Orphans>) -> Self {
        Self { program, combine_output, orphans }
    }

    /// The program's name, for messages.
    pub(crate) fn name(&self) -> &str {
        self.program.name()
    }

    /// Starts a process. Blocks for about 0.1 ms.
    ///
    /// # Errors
    /// [`SpawnError`] with the status and the words for the client.
    pub(crate) fn start(
        &self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        stdin: Stdin<'_>,
    ) -> Result<Started, SpawnError> {
        let no_pipe = |error: io::Error| SpawnError::out_of_resources(self.program.name(), &error);
        let (their_stdin, our_stdin) = pipe().map_err(no_pipe)?;
        let our_stdin = match stdin {
            Stdin::Whole(bytes) => {
                // Cannot block: the pipe is empty, and the caller keeps to what an empty pipe takes.
                rustix::io::write(&our_stdin, bytes).map_err(|error| no_pipe(error.into()))?;
                None
            }
            Stdin::Open => Some(our_stdin),
        };
        let (our_stdout, their_stdout) = pipe().map_err(no_pipe)?;
        let (our_stderr, their_stderr) = if self.combine_output {
            (None, their_stdout.try_clone().map_err(no_pipe)?)
        } else {
            let (ours, theirs) = pipe().map_err(no_pipe)?;
            (Some(ours), theirs)
        };
        let streams = [their_stdin, their_stdout, their_stderr].map(Stdio::from);
        let process = Process::start(&self.program, variables.into_iter(), streams, &self.orphans)?;
        Ok(Started { process, stdin: our_stdin, stdout: our_stdout, stderr: our_stderr })
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}
