//! One keep-alive connection with at most one request on its way.

use std::io::{ErrorKind, Read, Write};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use mio::net::TcpStream;
use mio::{Interest, Poll, Token};

use super::{Refused, ResponseReader, Target, WrongAnswer};

/// The connections of one thread, and what wakes it.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) poll: Poll,
    pub(super) all: Vec<Connection>,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    request: Bytes,
    sent_bytes: usize,
    response: ResponseReader,
    answer_bytes: u64,
    /// What the latency of the request on its way counts from; `None` when there is none.
    since: Option<Instant>,
}

/// Connects.
///
/// # Errors
/// When the server does not take the connections.
pub(super) fn open(target: &Target, count: usize) -> Result<Connections> {
    let poll = Poll::new().context("cannot make an epoll")?;
    let connect = |token| {
        let connection = Connection::open(target)?;
        let mut stream = connection.stream;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(token), interest).context("cannot watch a socket")?;
        Ok(Connection { stream, ..connection })
    };
    let all = (0..count).map(connect).collect::<Result<_>>()?;
    Ok(Connections { poll, all })
}

impl Connection {
    fn open(target: &Target) -> Result<Self> {
        let context = || format!("cannot connect to {}", target.address);
        let stream = std::net::TcpStream::connect(target.address).with_context(context)?;
        stream.set_nodelay(true).with_context(context)?;
        stream.set_nonblocking(true).with_context(context)?;
        Ok(Self {
            stream: TcpStream::from_std(stream),
            request: Bytes::new(),
            sent_bytes: 0,
            response: ResponseReader::new(),
            answer_bytes: target.answer_bytes,
            since: None,
        })
    }

    /// Sends a request, or as much of it as the socket takes now.
    ///
    /// # Errors
    /// When the connection broke.
    pub(super) fn send(&mut self, request: Bytes, since: Instant) -> Result<()> {
        self.request = request;
        self.sent_bytes = 0;
        self.since = Some(since);
        self.write()
    }

    /// Goes on after the socket became ready; what the latency counts from, when the answer is complete.
    ///
    /// # Errors
    /// When the connection broke, or the answer is not what was expected.
    pub(super) fn proceed(&mut self, buffer: &mut [u8]) -> Result<Option<Instant>> {
        if self.sent_bytes < self.request.len() {
            self.write()?;
        }
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("cannot read an answer"),
            };
            if self.response.feed(&buffer[..read])? {
                return self.complete().map(Some);
            }
            // A short read has emptied the socket: what comes next is an edge of its own.
            if read < buffer.len() {
                return Ok(None);
            }
        }
    }

    fn complete(&mut self) -> Result<Instant> {
        let (status, bytes) = (self.response.status(), self.response.body_bytes());
        if status != 200 {
            bail!(Refused { status });
        }
        if bytes != self.answer_bytes {
            bail!(WrongAnswer(format!("{bytes} bytes instead of {}", self.answer_bytes)));
        }
        self.since.take().context("an answer came to no request")
    }

    fn write(&mut self) -> Result<()> {
        while self.sent_bytes < self.request.len() {
            match self.stream.write(&self.request[self.sent_bytes..]) {
                Ok(sent) => self.sent_bytes += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot send a request"),
            }
        }
        Ok(())
    }
}
