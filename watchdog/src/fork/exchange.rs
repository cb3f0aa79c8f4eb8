//! One request and its process: stdin is fed, stderr is logged and the clock is watched while stdout is read.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::time::Duration;

use bytes::BytesMut;
use rustix::io::Errno;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep_until};

use super::launcher::Started;
use super::stdin::{Feed, FeedEnd, Input};
use crate::config::Timeouts;
use crate::log::{LineLog, LineStyle};
use crate::process::Process;

/// Most that one read takes.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;

/// How long [`Exchange::settle`] waits between two looks at how much output waits.
const SETTLE_PAUSES_MS: [u64; 2] = [5, 15];
/// Half of what a pipe takes: the process is not to wait for room in it.
const MUCH_BYTES: u64 = 32 << 10;
/// What one turn takes of stderr, before others have theirs.
const LOG_PIECE_BYTES: usize = 8 << 10;

/// Why a run was given up. Its process group is killed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// `exec_timeout` passed.
    ExecTimeout,
    /// `write_timeout` passed.
    WriteTimeout,
    /// The client did not send its body in time.
    ReadTimeout,
    /// The client broke off while it sent its body.
    Broken(hyper::Error),
    /// The watchdog could not read a pipe or wait for the process.
    Io(io::Error),
}

/// The instants at which a run is given up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    exec: Option<Instant>,
    write: Option<Instant>,
    read: Option<Instant>,
}

impl Limits {
    /// The limits of a request whose head was read at `started`.
    pub(crate) fn of(timeouts: &Timeouts, started: Instant) -> Self {
        let after = |timeout| started + timeout;
        Self {
            exec: timeouts.exec.map(after),
            write: timeouts.write.map(after),
            read: timeouts.read.map(after),
        }
    }

    /// Which limit has passed, for those who are never made to wait.
    pub(crate) fn passed_by(self, now: Instant) -> Option<Failure> {
        let exec = self.exec.filter(|exec| *exec <= now).map(|_| Failure::ExecTimeout);
        exec.or(self.write.filter(|write| *write <= now).map(|_| Failure::WriteTimeout))
    }

    /// Waits for the earlier of `exec_timeout` and `write_timeout`.
    pub(crate) async fn passed(self) -> Failure {
        match (self.exec, self.write) {
            (None, None) => std::future::pending().await,
            (Some(exec), write) if write.is_none_or(|write| exec <= write) => {
                sleep_until(exec).await;
                Failure::ExecTimeout
            }
            (_, Some(write)) => {
                sleep_until(write).await;
                Failure::WriteTimeout
            }
            (Some(_), None) => unreachable!("the arm before takes it"),
        }
    }
}

/// A running process that answers a request. Dropping it kills the process group.
pub(crate) struct Exchange {
    process: Process,
    stdout: Stdout,
    side: Side,
}

/// Our end of stdout.
enum Stdout {
    /// Nobody is woken for what comes.
    Quiet(OwnedFd),
    /// The runtime watches it.
    Watched(pipe::Receiver),
}

/// What goes on beside the reading of stdout.
struct Side {
    feed: Option<Feed>,
    stderr: Option<ErrorLog>,
    limits: Limits,
}

/// Stderr on its way to the log.
struct ErrorLog {
    pipe: pipe::Receiver,
    log: LineLog,
    buffer: BytesMut,
}

impl Exchange {
    /// Connects a started process with a request's body. An `input` that was written already is `None`.
    ///
    /// # Errors
    /// The pipes cannot be watched.
    pub(crate) fn begin(
        started: Started,
        input: Option<Input>,
        limits: Limits,
        style: LineStyle,
    ) -> io::Result<Self> {
        let feed = match (started.stdin, input) {
            (Some(stdin), Some(input)) => {
                rustix::io::ioctl_fionbio(&stdin, true)?;
                let stdin = pipe::Sender::from_owned_fd_unchecked(stdin)?;
                Some(Box::pin(input.feed(stdin, limits.read)) as Feed)
            }
            _ => None,
        };
        let stderr = started.stderr.map(|pipe| ErrorLog::new(pipe, style)).transpose()?;
        rustix::io::ioctl_fionbio(&started.stdout, true)?;
        let stdout = Stdout::Quiet(started.stdout);
        Ok(Self { process: started.process, stdout, side: Side { feed, stderr, limits } })
    }

    /// Waits for the process to exit, for a moment, or until much of its output waits: what ends soon is
    /// then read at once, where each piece of output and its end would wake us for themselves.
    ///
    /// # Errors
    /// [`Failure`] when the run is to be given up.
    pub(crate) async fn settle(&mut self) -> Result<(), Failure> {
        let Stdout::Quiet(stdout) = &self.stdout else { return Ok(()) };
        for pause in SETTLE_PAUSES_MS {
            tokio::select! {
                biased;
                exited = self.process.exited() => return exited.map_err(Failure::Io),
                failure = self.side.attend() => return Err(failure),
                () = tokio::time::sleep(Duration::from_millis(pause)) => {}
            }
            if rustix::io::ioctl_fionread(stdout).is_ok_and(|waiting| waiting >= MUCH_BYTES) {
                break;
            }
        }
        Ok(())
    }

    /// Reads what comes next from stdout behind what is in `buffer`; 0 at its end. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Failure`] when the run is to be given up.
    pub(crate) async fn read(&mut self, buffer: &mut BytesMut) -> Result<usize, Failure> {
        tokio::select! {
            biased;
            count = self.stdout.read(buffer) => count.map_err(Failure::Io),
            failure = self.side.attend() => Err(failure),
        }
    }

    /// Waits for the process to exit, after stdout has ended.
    ///
    /// # Errors
    /// [`Failure`] when the run is to be given up.
    pub(crate) async fn finish(mut self) -> Result<ExitStatus, Failure> {
        let status = tokio::select! {
            biased;
            status = self.process.wait() => status.map_err(Failure::Io)?,
            failure = self.side.attend() => return Err(failure),
        };
        if let Some(stderr) = &mut self.side.stderr {
            stderr.log_rest().await;
        }
        Ok(status)
    }

    /// Reads output to its end and keeps nothing of it.
    ///
    /// # Errors
    /// [`Failure`] when the run is to be given up.
    pub(crate) async fn skip(&mut self) -> Result<(), Failure> {
        let mut buffer = BytesMut::with_capacity(CHUNK_BYTES);
        while self.read(&mut buffer).await? > 0 {
            // Output that is always there would let nobody look at the clock.
            if let Some(failure) = self.side.limits.passed_by(Instant::now()) {
                return Err(failure);
            }
            buffer.clear();
            buffer.reserve(CHUNK_BYTES);
        }
        Ok(())
    }

    /// Feeds stdin and logs stderr until the run is to be given up.
    pub(crate) async fn attend(&mut self) -> Failure {
        self.side.attend().await
    }
}

impl Stdout {
    /// Waits for output and reads it behind what is in `buffer`; 0 at its end. Dropping the future loses nothing.
    async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        if let Self::Quiet(pipe) = self {
            let held = buffer.len();
            buffer.resize(buffer.capacity(), 0);
            let read = rustix::io::retry_on_intr(|| rustix::io::read(&*pipe, &mut buffer[held..]));
            buffer.truncate(held + read.unwrap_or_default());
            match read {
                Err(Errno::AGAIN) => *self = Self::Watched(receiver(pipe.try_clone()?)?),
                read => return Ok(read?),
            }
        }
        match self {
            Self::Quiet(_) => Ok(0),
            Self::Watched(pipe) => pipe.read_buf(buffer).await,
        }
    }
}

impl Side {
    async fn attend(&mut self) -> Failure {
        let passed = self.limits.passed();
        tokio::pin!(passed);
        loop {
            tokio::select! {
                // The clock first: behind others that are always ready it would never be asked, as they
                // use up what a task may do in one turn.
                biased;
                failure = &mut passed => return self.late_body().await.unwrap_or(failure),
                end = poll_feed(&mut self.feed), if self.feed.is_some() => {
                    self.feed = None;
                    match end {
                        FeedEnd::Done => {}
                        FeedEnd::ReadTimeout => return Failure::ReadTimeout,
                        FeedEnd::Broken(error) => return Failure::Broken(error),
                    }
                }
                open = poll_stderr(&mut self.stderr), if self.stderr.is_some() => {
                    if !open {
                        self.stderr = None;
                    }
                    // One that floods its stderr is not to hold up the others on this thread.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Whether the body is late as well, at the same instant: by the defaults it is, and then the client is told.
    async fn late_body(&mut self) -> Option<Failure> {
        tokio::select! {
            biased;
            end = poll_feed(&mut self.feed), if self.feed.is_some() => {
                self.feed = None;
                matches!(end, FeedEnd::ReadTimeout).then_some(Failure::ReadTimeout)
            }
            () = std::future::ready(()) => None,
        }
    }
}

impl Drop for Side {
    /// A body that is not read to its end would make the server close the connection under the response.
    fn drop(&mut self) {
        if let (Some(feed), Ok(runtime)) = (self.feed.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(feed);
        }
    }
}

/// A pipe to read, known to be one: tokio's own check costs three more system calls per request.
fn receiver(pipe: OwnedFd) -> io::Result<pipe::Receiver> {
    rustix::io::ioctl_fionbio(&pipe, true)?;
    pipe::Receiver::from_owned_fd_unchecked(pipe)
}

async fn poll_feed(feed: &mut Option<Feed>) -> FeedEnd {
    match feed {
        Some(feed) => feed.await,
        None => FeedEnd::Done,
    }
}

/// Logs the next piece of stderr; false at its end.
async fn poll_stderr(stderr: &mut Option<ErrorLog>) -> bool {
    match stderr {
        Some(stderr) => stderr.log_next().await,
        None => false,
    }
}

impl ErrorLog {
    fn new(pipe: OwnedFd, style: LineStyle) -> io::Result<Self> {
        Ok(Self { pipe: receiver(pipe)?, log: LineLog::new("stderr: ", style), buffer: BytesMut::new() })
    }

    async fn log_next(&mut self) -> bool {
        self.buffer.clear();
        self.buffer.reserve(LOG_PIECE_BYTES);
        let open = matches!(self.pipe.read_buf(&mut self.buffer).await, Ok(1..));
        self.log.push(&self.buffer);
        if !open {
            self.log.finish();
        }
        open
    }

    /// Logs what is in the pipe, without waiting for a descendant that still holds it; and no more than a
    /// pipe takes, as that one may go on writing.
    async fn log_rest(&mut self) {
        let mut left = rustix::pipe::fcntl_getpipe_size(&self.pipe).unwrap_or(CHUNK_BYTES);
        while left > 0 {
            self.buffer.clear();
            self.buffer.reserve(LOG_PIECE_BYTES);
            let Ok(count @ 1..) = self.pipe.try_read_buf(&mut self.buffer) else { break };
            self.log.push(&self.buffer);
            left = left.saturating_sub(count);
            tokio::task::yield_now().await;
        }
        self.log.finish();
    }
}
