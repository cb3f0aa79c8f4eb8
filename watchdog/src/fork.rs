//! A process per request: the classic watchdog, `mode=streaming` and `mode=serializing`.
//!
//! The status of a response depends on the exit code, so output is held back until the process exits,
//! but no more of it than [`HOLD_BYTES`]: what is longer streams, and an exit code other than 0 then
//! breaks the connection. In `streaming` nothing is held back once there is a first byte.

mod cgi;
mod environment;
mod exchange;
mod habit;
mod launcher;
mod marshal;
mod prefork;
mod stdin;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::config::{ForkSettings, ForkStyle, Timeouts};
use crate::log::{LineLog, log};
use crate::orphans::Orphans;
use crate::payload::{Aborted, Payload, plain};
use crate::process::describe;
use crate::program::{Program, SpawnError};
use crate::sniff::sniff;
use cgi::{CgiError, CgiHead, parse_cgi};
pub(crate) use environment::percent_decoded;
use exchange::{CHUNK_BYTES, Exchange, Failure, Limits};
use habit::Habit;
use launcher::{Launcher, Stdin};
use marshal::Marshal;
use prefork::Prefork;
use stdin::Input;

/// Most output that is held back for the exit code.
const HOLD_BYTES: usize = 64 << 10;
/// Room that the first read gets; most answers are small.
const FIRST_READ_BYTES: usize = 8 << 10;
/// How long a request took, for the client.
const DURATION_HEADER: HeaderName = HeaderName::from_static("x-duration-seconds");

/// Runs a process per request.
#[derive(Debug)]
pub(crate) struct Fork {
    settings: ForkSettings,
    timeouts: Timeouts,
    launcher: Arc<Launcher>,
    prefork: Option<Arc<Prefork>>,
    habit: Habit,
}

/// Why there is no output to send.
enum Refusal {
    Spawn(SpawnError),
    Failed(Failure),
    /// The process exited with something else than 0; its output so far.
    Exit(std::process::ExitStatus, Bytes),
    Cgi(CgiError),
    NulInPath,
}

/// Output that is to be sent.
struct Output {
    head: Option<CgiHead>,
    /// Everything, or what came before `rest`.
    bytes: Bytes,
    /// More has come, and was not kept.
    cut: bool,
    rest: Option<Exchange>,
}

impl Fork {
    /// Takes the settings; starts processes only for `prefork`.
    pub(crate) fn new(mut settings: ForkSettings, timeouts: Timeouts, orphans: Arc<Orphans>) -> Self {
        let words = std::mem::take(&mut settings.words);
        let program = Program::new(words, std::mem::take(&mut settings.search_path));
        if let Err(error) = program.find() {
            log!("Every request will fail until this is mended: {error}");
        }
        let launcher = Arc::new(Launcher::new(program, settings.combine_output, orphans));
        let prefork = (settings.prefork > 0).then(|| Prefork::start(Arc::clone(&launcher), settings.prefork));
        Self { settings, timeouts, launcher, prefork, habit: Habit::new() }
    }

    /// Answers one request. Dropping the future kills its process group.
    pub(crate) async fn respond(&self, request: Request<Incoming>, started: Instant) -> Response<Payload> {
        let echoed = match self.settings.style {
            ForkStyle::Classic => request.headers().get(CONTENT_TYPE).cloned(),
            ForkStyle::Streaming | ForkStyle::Serializing => None,
        };
        log!("Forking fprocess.");
        let mut debug = self.settings.write_debug.then(|| LineLog::new("", self.settings.line_style));
        match self.run(request, started, &mut debug).await {
            Ok(output) => self.accept(output, echoed, started, debug),
            Err(refusal) => self.refuse(refusal, started),
        }
    }

    /// Ends what waits for requests.
    pub(crate) fn stop(&self) {
        if let Some(prefork) = &self.prefork {
            prefork.stop();
        }
    }

    async fn run(
        &self,
        request: Request<Incoming>,
        started: Instant,
        debug: &mut Option<LineLog>,
    ) -> Result<Output, Refusal> {
        let head_only = request.method() == Method::HEAD;
        let mut exchange = self.begin(request, started).await?;
        if self.settings.style != ForkStyle::Streaming && self.habit.is_small() {
            exchange.settle().await.map_err(Refusal::Failed)?;
        }
        let mut held = BytesMut::with_capacity(FIRST_READ_BYTES);
        let ended = loop {
            let count = exchange.read(&mut held).await.map_err(Refusal::Failed)?;
            if let Some(log) = debug {
                log.push(&held[held.len() - count..]);
            }
            if count == 0 {
                break true;
            }
            if held.len() > HOLD_BYTES || self.settings.style == ForkStyle::Streaming {
                let headless =
                    self.settings.cgi_output && parse_cgi(&held, false).map_err(Refusal::Cgi)?.is_none();
                if !headless {
                    break false;
                }
            }
            held.reserve(if held.len() < FIRST_READ_BYTES { FIRST_READ_BYTES } else { CHUNK_BYTES });
        };
        self.habit.note(ended);
        // Nobody reads the body of a HEAD, and the process is to run to its end all the same.
        let cut = head_only && !ended;
        if cut {
            exchange.skip().await.map_err(Refusal::Failed)?;
        }
        let rest = if ended || cut {
            let status = exchange.finish().await.map_err(Refusal::Failed)?;
            if !status.success() {
                return Err(Refusal::Exit(status, held.freeze()));
            }
            None
        } else {
            Some(exchange)
        };
        let mut bytes = held.freeze();
        let mut head = None;
        if self.settings.cgi_output {
            head = parse_cgi(&bytes, ended).map_err(Refusal::Cgi)?;
            bytes = bytes.split_off(head.as_ref().map_or(0, |head| head.body_at));
        }
        Ok(Output { head, bytes, cut, rest })
    }

    /// Starts the process, or takes one that waits, and connects it with the request.
    async fn begin(&self, request: Request<Incoming>, started: Instant) -> Result<Exchange, Refusal> {
        let variables = match self.settings.cgi_headers {
            true => environment::request_variables(&request).map_err(|_| Refusal::NulInPath)?,
            false => Vec::new(),
        };
        let marshal = self.settings.marshal_request.then(|| Marshal::new(request.headers()));
        let broken = |error| Refusal::Failed(Failure::Broken(error));
        let input = Input::take(request.into_body(), marshal).await.map_err(broken)?;
        let (process, input) = match self.prefork.as_ref().and_then(Prefork::take) {
            Some(waiting) => (waiting, Some(input)),
            None if input.is_small() => {
                let stdin = Stdin::Whole(&input.ready);
                (self.launcher.start(variables, stdin).map_err(Refusal::Spawn)?, None)
            }
            None => (self.launcher.start(variables, Stdin::Open).map_err(Refusal::Spawn)?, Some(input)),
        };
        let limits = Limits::of(&self.timeouts, started);
        Exchange::begin(process, input, limits, self.settings.line_style)
            .map_err(|error| Refusal::Failed(Failure::Io(error)))
    }

    /// The response to a run that went well so far.
    fn accept(
        &self,
        output: Output,
        echoed: Option<HeaderValue>,
        started: Instant,
        mut debug: Option<LineLog>,
    ) -> Response<Payload> {
        let content_type = self.content_type(&output, echoed);
        let (status, mut headers) =
            output.head.map_or((StatusCode::OK, HeaderMap::new()), |head| (head.status, head.headers));
        headers.entry(CONTENT_TYPE).or_insert(content_type);
        let payload = match output.rest {
            None => {
                headers.insert(DURATION_HEADER, seconds(started));
                match &mut debug {
                    Some(log) => log.finish(),
                    None => log_written(output.bytes.len() as u64, started),
                }
                if output.cut { Payload::unknown() } else { Payload::whole(output.bytes) }
            }
            Some(exchange) => {
                let (sender, receiver) = mpsc::channel(1);
                tokio::spawn(pour(exchange, output.bytes, sender, started, debug));
                Payload::pieces(receiver, None)
            }
        };
        let mut response = Response::new(payload);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    fn content_type(&self, output: &Output, echoed: Option<HeaderValue>) -> HeaderValue {
        let guess = || match self.settings.style {
            ForkStyle::Classic => HeaderValue::from_static(sniff(&output.bytes)),
            ForkStyle::Streaming | ForkStyle::Serializing => {
                HeaderValue::from_static("application/octet-stream")
            }
        };
        self.settings.content_type.clone().or(echoed).unwrap_or_else(guess)
    }

    /// The response to a run that failed before anything was sent.
    fn refuse(&self, refusal: Refusal, started: Instant) -> Response<Payload> {
        let mut response = match refusal {
            Refusal::Spawn(error) => plain(error.status, format!("{error}\n")),
            Refusal::Cgi(error) => plain(StatusCode::BAD_GATEWAY, format!("{error}\n")),
            Refusal::NulInPath => plain(StatusCode::BAD_REQUEST, "the path contains %00\n"),
            Refusal::Failed(failure) => self.refuse_failure(&failure),
            Refusal::Exit(status, output) => {
                let line = describe(status);
                log!("{line}");
                match self.settings.style {
                    ForkStyle::Serializing => plain(StatusCode::INTERNAL_SERVER_ERROR, line),
                    ForkStyle::Classic | ForkStyle::Streaming => {
                        let text = [line.as_bytes(), b"\n", &output].concat();
                        plain(StatusCode::INTERNAL_SERVER_ERROR, text)
                    }
                }
            }
        };
        log!("{} - Duration: {:.6}s", response.status(), started.elapsed().as_secs_f64());
        response.headers_mut().insert(DURATION_HEADER, seconds(started));
        response
    }

    fn refuse_failure(&self, failure: &Failure) -> Response<Payload> {
        log_failure(failure);
        match (failure, self.settings.style) {
            (Failure::ExecTimeout, ForkStyle::Classic) => {
                plain(StatusCode::REQUEST_TIMEOUT, "Killed process.\n")
            }
            (Failure::ExecTimeout, ForkStyle::Serializing) => {
                plain(StatusCode::INTERNAL_SERVER_ERROR, "signal: killed")
            }
            (Failure::ExecTimeout, ForkStyle::Streaming) => {
                plain(StatusCode::GATEWAY_TIMEOUT, "Killed process.\n")
            }
            (Failure::WriteTimeout, _) => {
                plain(StatusCode::GATEWAY_TIMEOUT, "the function did not answer within write_timeout\n")
            }
            (Failure::ReadTimeout, _) => {
                plain(StatusCode::REQUEST_TIMEOUT, "the request's body did not arrive within read_timeout\n")
            }
            (Failure::Broken(_), _) => plain(StatusCode::BAD_REQUEST, "the request's body is broken off\n"),
            (Failure::Io(error), _) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }
}

/// Sends the rest of a process's output. Ends, and kills the process, when the client leaves.
async fn pour(
    exchange: Exchange,
    first: Bytes,
    sender: mpsc::Sender<Result<Bytes, Aborted>>,
    started: Instant,
    mut debug: Option<LineLog>,
) {
    let mut written = 0;
    match pour_to_end(exchange, first, &sender, &mut written, &mut debug).await {
        Ok(Some(status)) if status.success() => match &mut debug {
            Some(log) => log.finish(),
            None => log_written(written, started),
        },
        Ok(Some(status)) => {
            log!("{} after {written} Bytes: the connection is closed.", describe(status));
            let _ = sender.send(Err(Aborted)).await;
        }
        Ok(None) => log!("Killed process: the client left."),
        Err(failure) => {
            log_failure(&failure);
            let _ = sender.send(Err(Aborted)).await;
        }
    }
}

/// The exit status, or `None` when the client left first. The process is gone when this returns.
async fn pour_to_end(
    mut exchange: Exchange,
    first: Bytes,
    sender: &mpsc::Sender<Result<Bytes, Aborted>>,
    written: &mut u64,
    debug: &mut Option<LineLog>,
) -> Result<Option<std::process::ExitStatus>, Failure> {
    let mut piece = first;
    loop {
        *written += piece.len() as u64;
        // A client that reads slowly must not stop the feeding of stdin, nor the clock.
        let permit = tokio::select! {
            biased;
            permit = sender.reserve() => permit,
            failure = exchange.attend() => return Err(failure),
        };
        let Ok(permit) = permit else { return Ok(None) };
        permit.send(Ok(piece));
        let mut buffer = BytesMut::with_capacity(CHUNK_BYTES);
        let count = tokio::select! {
            biased;
            count = exchange.read(&mut buffer) => count?,
            () = sender.closed() => return Ok(None),
        };
        if count == 0 {
            break;
        }
        if let Some(log) = debug {
            log.push(&buffer);
        }
        piece = buffer.freeze();
    }
    tokio::select! {
        biased;
        status = exchange.finish() => status.map(Some),
        () = sender.closed() => Ok(None),
    }
}

fn log_failure(failure: &Failure) {
    match failure {
        Failure::ExecTimeout => log!("Killed process: exec_timeout."),
        Failure::WriteTimeout => log!("Killed process: write_timeout."),
        Failure::ReadTimeout => {
            log!("Killed process: the request's body did not arrive within read_timeout.")
        }
        Failure::Broken(error) => log!("Killed process: {error}."),
        Failure::Io(error) => log!("Killed process: {error}."),
    }
}

fn log_written(bytes: u64, started: Instant) {
    log!("Wrote {bytes} Bytes - Duration: {:.6}s", started.elapsed().as_secs_f64());
}

/// `X-Duration-Seconds`.
fn seconds(started: Instant) -> HeaderValue {
    let text = format!("{:.6}", started.elapsed().as_secs_f64());
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

/// A connection's service never fails; responses say what went wrong.
pub(crate) type Answered = Result<Response<Payload>, Infallible>;
