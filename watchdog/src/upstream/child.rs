//! The long-lived process behind `mode=http`.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::log::{LineLog, LineStyle, log};
use crate::orphans::Orphans;
use crate::process::{Process, describe};
use crate::program::Program;

/// How long the output of a server that has ended is read.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(200);

/// The function's own server.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    logs: Vec<JoinHandle<()>>,
}

/// A server that ended by itself; the watchdog has nothing to serve without it.
#[derive(Debug, thiserror::Error)]
#[error("Forked function has terminated: {0}")]
pub(crate) struct ServerEnded(String);

impl Server {
    /// Starts it, with its output in the log.
    ///
    /// # Errors
    /// Why it does not start.
    pub(crate) fn start(
        words: Vec<String>,
        search_path: OsString,
        style: LineStyle,
        orphans: &Arc<Orphans>,
    ) -> Result<Self, String> {
        log!(
            "Forking: {}, arguments: {:?}",
            words.first().map_or("", String::as_str),
            words.get(1..).unwrap_or_default()
        );
        let program = Program::new(words, search_path);
        let no_pipe = |error: io::Error| error.to_string();
        let (stdin, _) = pipe().map_err(no_pipe)?;
        let (our_stdout, stdout) = pipe().map_err(no_pipe)?;
        let (our_stderr, stderr) = pipe().map_err(no_pipe)?;
        let streams = [stdin, stdout, stderr].map(Stdio::from);
        let process = Process::start(&program, std::iter::empty(), streams, orphans)
            .map_err(|error| error.to_string())?;
        let mut logs = Vec::new();
        for (pipe, prefix) in [(our_stdout, "stdout: "), (our_stderr, "stderr: ")] {
            let pipe = pipe::Receiver::from_owned_fd(pipe).map_err(no_pipe)?;
            logs.push(tokio::spawn(log_lines(pipe, LineLog::new(prefix, style))));
        }
        tokio::spawn(Arc::clone(orphans).look_forever());
        Ok(Self { process, logs })
    }

    /// Returns when it ends in a way that leaves nothing to serve. One that exits with 0 may have put itself
    /// into the background.
    pub(crate) async fn ended(&mut self) -> ServerEnded {
        match self.process.wait().await {
            Ok(status) if status.success() => {
                log!("Forked function has exited with 0; requests still go to upstream_url.");
                std::future::pending().await
            }
            Ok(status) => {
                self.log_rest().await;
                ServerEnded(describe(status))
            }
            Err(error) => ServerEnded(error.to_string()),
        }
    }

    /// Asks it to end, and kills its group when it has not after `patience`.
    pub(crate) async fn stop(mut self, patience: Duration) {
        self.process.terminate();
        if timeout(patience, self.process.wait()).await.is_err() {
            log!("Forked function does not end on SIGTERM; killing it.");
            self.process.kill();
        }
        self.log_rest().await;
    }

    /// Waits for its last words, though not for a descendant that holds on to its output.
    async fn log_rest(&mut self) {
        let rest = async {
            for log in self.logs.drain(..) {
                let _ = log.await;
            }
        };
        let _ = timeout(LAST_WORDS_TIMEOUT, rest).await;
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

async fn log_lines(mut pipe: pipe::Receiver, mut lines: LineLog) {
    let mut buffer = BytesMut::with_capacity(8 << 10);
    while let Ok(1..) = pipe.read_buf(&mut buffer).await {
        lines.push(&buffer);
        buffer.clear();
        buffer.reserve(8 << 10);
    }
    lines.finish();
}
