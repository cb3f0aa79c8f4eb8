//! The watchdog's settings: the only place that reads the environment.
//!
//! Names and defaults are those of the two original watchdogs. A value that cannot be read stops the
//! start with the variable's name and the value; nothing falls back to a default unseen.

mod env;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use hyper::header::HeaderValue;
use hyper::http::uri::PathAndQuery;

use crate::log::LineStyle;
pub(crate) use env::{ConfigError, Env};

/// Processes that `prefork` may keep at most.
const PREFORK_MAX: usize = 1_024;
/// What `log_buffer_size=-1` means here: lines are still cut somewhere.
const LOG_LINE_MAX_BYTES: usize = 1 << 20;
/// `log_buffer_size` by default, and for the classic watchdog, which had no such setting.
const LOG_LINE_BYTES: usize = 64 << 10;
/// `exec_timeout` of the of-watchdog's modes by default.
const EXEC_TIMEOUT: Duration = Duration::from_secs(30);

/// Everything the watchdog was told.
#[derive(Debug)]
pub(crate) struct Config {
    /// `port`; 0 takes a free one.
    pub(crate) port: u16,
    /// `metrics_port`; 0 takes a free one.
    pub(crate) metrics_port: u16,
    /// `suppress_lock`, `TMPDIR`: the lock file, if there is to be one.
    pub(crate) lock: Option<PathBuf>,
    /// `healthcheck_interval`: how long to go on serving after SIGTERM.
    pub(crate) healthcheck_interval: Duration,
    /// `max_inflight`; `None` (written 0) for no limit.
    pub(crate) max_inflight: Option<usize>,
    /// `ready_path`: what `/_/ready` asks the function.
    pub(crate) ready_path: Option<PathAndQuery>,
    /// `debug_headers`: log the headers of requests and responses.
    pub(crate) debug_headers: bool,
    /// The three timeouts.
    pub(crate) timeouts: Timeouts,
    /// `mode`, with what belongs to it.
    pub(crate) mode: Mode,
}

/// The limits of one request; `None` (written 0) for no limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    /// `read_timeout`: from the first byte of a request to the last of its body; also for an idle connection.
    pub(crate) read: Option<Duration>,
    /// `write_timeout`: from the head of a request to the last byte of its response.
    pub(crate) write: Option<Duration>,
    /// `exec_timeout`: from the head of a request to the exit of its process.
    pub(crate) exec: Option<Duration>,
}

/// How requests become work.
#[derive(Debug)]
pub(crate) enum Mode {
    /// One process per request: the classic watchdog, `streaming` and `serializing`.
    Fork(ForkSettings),
    /// `http`: one process that serves HTTP itself.
    Http(HttpSettings),
    /// `static`: files of a directory.
    Static(PathBuf),
}

/// Which of the three watchdogs with a process per request to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForkStyle {
    /// `mode` unset: the status follows the exit code; stderr joins stdout.
    Classic,
    /// `mode=streaming`: every byte goes out at once.
    Streaming,
    /// `mode=serializing`: like the classic watchdog, with terser failures.
    Serializing,
}

/// Settings of the modes with a process per request.
#[derive(Debug)]
pub(crate) struct ForkSettings {
    /// Which watchdog to be.
    pub(crate) style: ForkStyle,
    /// `fprocess`, cut into words; never empty.
    pub(crate) words: Vec<String>,
    /// `PATH`, for a program without a slash.
    pub(crate) search_path: OsString,
    /// `content_type`.
    pub(crate) content_type: Option<HeaderValue>,
    /// `combine_output`: stderr goes where stdout goes.
    pub(crate) combine_output: bool,
    /// `write_debug`: copy stdout to the log.
    pub(crate) write_debug: bool,
    /// `cgi_headers`: the request is described by `Http_…` variables.
    pub(crate) cgi_headers: bool,
    /// `marshal_request`: stdin is a JSON object of headers and body.
    pub(crate) marshal_request: bool,
    /// `output=cgi`: stdout begins with headers.
    pub(crate) cgi_output: bool,
    /// `prefork`: processes to keep started.
    pub(crate) prefork: usize,
    /// How the program's stderr appears in the log.
    pub(crate) line_style: LineStyle,
}

/// Settings of `mode=http`.
#[derive(Debug)]
pub(crate) struct HttpSettings {
    /// `fprocess`, cut into words; never empty.
    pub(crate) words: Vec<String>,
    /// `PATH`, for a program without a slash.
    pub(crate) search_path: OsString,
    /// `upstream_url`: where the process listens; has a host.
    pub(crate) upstream_url: hyper::Uri,
    /// `http_buffer_req_body`: send a chunked request's body with its length.
    pub(crate) buffer_request: bool,
    /// `log_callid`: put the call's id into its log line.
    pub(crate) log_call_id: bool,
    /// How the process's output appears in the log.
    pub(crate) line_style: LineStyle,
}

impl Config {
    /// Reads the settings.
    ///
    /// # Errors
    /// [`ConfigError`] naming the variable and its value.
    pub(crate) fn read(env: &Env) -> Result<Self, ConfigError> {
        refuse_jwt(env)?;
        let mode = read_mode(env)?;
        let write = env.duration("write_timeout")?.unwrap_or(Duration::from_secs(30));
        let classic = matches!(&mode, Mode::Fork(fork) if fork.style == ForkStyle::Classic);
        if write.is_zero() && !classic {
            return Err(env.refuse("write_timeout", "must be more than 0 in this mode, as in `30s`"));
        }
        let exec = env.duration("exec_timeout")?;
        let exec = if classic { exec } else { exec.or(Some(EXEC_TIMEOUT)) };
        let some = |limit: Duration| (!limit.is_zero()).then_some(limit);
        let read = env.duration("read_timeout")?.unwrap_or(Duration::from_secs(30));
        let timeouts = Timeouts { read: some(read), write: some(write), exec: exec.and_then(some) };
        Ok(Self {
            port: env.number("port", 8_080)?,
            metrics_port: env.number("metrics_port", 8_081)?,
            lock: (!env.switch("suppress_lock")?).then(|| lock_path(env)),
            healthcheck_interval: env.duration("healthcheck_interval")?.unwrap_or(write),
            max_inflight: Some(env.number("max_inflight", 0)?).filter(|limit| *limit > 0),
            ready_path: ready_path(env)?,
            debug_headers: env.switch("debug_headers")?,
            timeouts,
            mode,
        })
    }
}

/// What `--run-healthcheck` needs, readable even when the rest of the settings is not.
///
/// # Errors
/// [`ConfigError`] naming the variable and its value.
pub(crate) fn read_probe(env: &Env) -> Result<(u16, Option<PathBuf>), ConfigError> {
    Ok((env.number("port", 8_080)?, (!env.switch("suppress_lock")?).then(|| lock_path(env))))
}

fn lock_path(env: &Env) -> PathBuf {
    let directory = env.raw("TMPDIR").filter(|value| !value.is_empty());
    directory.map_or_else(|| PathBuf::from("/tmp"), PathBuf::from).join(".lock")
}

fn ready_path(env: &Env) -> Result<Option<PathAndQuery>, ConfigError> {
    let Some(text) = env.text("ready_path")? else { return Ok(None) };
    if !text.starts_with('/') {
        return Err(env.refuse("ready_path", "must begin with a slash, as in `/ready`"));
    }
    text.parse().map(Some).map_err(|_| env.refuse("ready_path", "is no path, as in `/ready`"))
}

/// A check that is asked for and not done would leave the function open.
fn refuse_jwt(env: &Env) -> Result<(), ConfigError> {
    for name in ["jwt_auth", "jwt_auth_local"] {
        if env.switch(name)? {
            return Err(env.refuse(name, "asks for a check of tokens that this watchdog does not have"));
        }
    }
    Ok(())
}

fn read_mode(env: &Env) -> Result<Mode, ConfigError> {
    let style = match env.text("mode")? {
        None | Some("classic") => ForkStyle::Classic,
        Some("streaming") => ForkStyle::Streaming,
        Some("serializing") => ForkStyle::Serializing,
        Some("http") => return refuse_prefork(env).and_then(|()| http(env)).map(Mode::Http),
        Some("static") => {
            refuse_prefork(env)?;
            let path = env.text("static_path")?.unwrap_or("/home/app/public");
            return Ok(Mode::Static(PathBuf::from(path)));
        }
        Some("afterburn") => return Err(env.refuse("mode", "was removed; use `http`")),
        Some("inproc") => {
            return Err(env.refuse("mode", "is for programs that link the original; use `http`"));
        }
        Some(_) => {
            return Err(env.refuse("mode", "is none of classic, streaming, serializing, http, static"));
        }
    };
    fork(env, style).map(Mode::Fork)
}

fn fork(env: &Env, style: ForkStyle) -> Result<ForkSettings, ConfigError> {
    let cgi_output = cgi_output(env)?;
    // stderr in front of CGI headers would spoil them.
    let combine = if style == ForkStyle::Classic && !cgi_output { "true" } else { "false" };
    let cgi_headers = env.switch_or("cgi_headers", "true")?;
    let prefork = env.number("prefork", 0)?;
    if prefork > PREFORK_MAX {
        return Err(env.refuse("prefork", "is more than 1024"));
    }
    if prefork > 0 && cgi_headers {
        let reason = "needs cgi_headers=false: a process that is started before its request cannot have \
                      that request's headers in its environment";
        return Err(env.refuse("prefork", reason));
    }
    Ok(ForkSettings {
        style,
        words: words(env)?,
        search_path: search_path(env),
        content_type: content_type(env)?,
        combine_output: env.switch_or("combine_output", combine)?,
        write_debug: env.switch("write_debug")?,
        cgi_headers,
        marshal_request: env.switch("marshal_request")?,
        cgi_output,
        prefork,
        line_style: line_style(env)?,
    })
}

fn http(env: &Env) -> Result<HttpSettings, ConfigError> {
    let name = if env.text("upstream_url")?.is_some() { "upstream_url" } else { "http_upstream_url" };
    let Some(url) = env.text(name)? else {
        return Err(ConfigError::missing(
            "upstream_url",
            "mode=http needs it, as in `http://127.0.0.1:3000`",
        ));
    };
    let upstream_url: hyper::Uri =
        url.parse().map_err(|_| env.refuse(name, "is no URL, as in `http://127.0.0.1:3000`"))?;
    if upstream_url.scheme_str() != Some("http") || upstream_url.host().is_none() {
        return Err(env.refuse(name, "must begin with http:// and a host, as in `http://127.0.0.1:3000`"));
    }
    Ok(HttpSettings {
        words: words(env)?,
        search_path: search_path(env),
        upstream_url,
        buffer_request: env.switch("http_buffer_req_body")? | env.switch("buffer_http")?,
        log_call_id: env.switch("log_callid")? | env.switch("log_call_id")?,
        line_style: line_style(env)?,
    })
}

fn refuse_prefork(env: &Env) -> Result<(), ConfigError> {
    match env.number("prefork", 0_usize)? {
        0 => Ok(()),
        _ => Err(env.refuse("prefork", "is for the modes with a process per request")),
    }
}

fn words(env: &Env) -> Result<Vec<String>, ConfigError> {
    let name = if env.text("fprocess")?.is_none() && env.text("function_process")?.is_some() {
        "function_process"
    } else {
        "fprocess"
    };
    let Some(text) = env.text(name)? else {
        return Err(ConfigError::missing(
            "fprocess",
            "it is the command to run for a request, as in `fprocess=cat`",
        ));
    };
    crate::words::split_words(text).map_err(|error| env.refuse(name, &error.to_string()))
}

fn search_path(env: &Env) -> OsString {
    env.raw("PATH").map_or_else(|| OsString::from("/usr/local/bin:/usr/bin:/bin"), OsString::from)
}

fn content_type(env: &Env) -> Result<Option<HeaderValue>, ConfigError> {
    let Some(text) = env.text("content_type")? else { return Ok(None) };
    HeaderValue::from_str(text).map(Some).map_err(|_| env.refuse("content_type", "is no header value"))
}

/// `output` is a name that a function may use for itself: only `BRAMBLE_OUTPUT` is held to its values.
fn cgi_output(env: &Env) -> Result<bool, ConfigError> {
    match env.text("BRAMBLE_OUTPUT")? {
        None => Ok(env.raw("output").is_some_and(|value| value == "cgi")),
        Some("body") => Ok(false),
        Some("cgi") => Ok(true),
        Some(_) => Err(env.refuse("BRAMBLE_OUTPUT", "is neither `body` nor `cgi`")),
    }
}

fn line_style(env: &Env) -> Result<LineStyle, ConfigError> {
    let size: i64 = env.number("log_buffer_size", 0)?;
    let limit_bytes = match size {
        -1 => LOG_LINE_MAX_BYTES,
        0 => LOG_LINE_BYTES,
        size => usize::try_from(size)
            .map_err(|_| env.refuse("log_buffer_size", "is neither -1 nor a number of bytes"))?
            .min(LOG_LINE_MAX_BYTES),
    };
    Ok(LineStyle { prefixed: env.switch_or("prefix_logs", "true")?, limit_bytes })
}

#[cfg(test)]
mod tests;
