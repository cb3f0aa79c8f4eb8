//! Runs the gateway in this process: log, runtime, signals.

use std::future::Future;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::Settings;
use crate::config::value::LogFormat;
use crate::instance::Announcement;
use crate::output::Output;
use bramble_provider::HttpUrl;

/// Where a gateway is that became ready.
#[derive(Debug)]
pub(crate) struct Serving {
    /// Functions and the API, as this machine reaches them.
    pub(crate) url: HttpUrl,
    /// `/metrics`, as this machine reaches it.
    pub(crate) metrics_url: String,
}

/// Runs a gateway until it is told to stop, and calls `ready` once it takes requests.
///
/// The first SIGINT, SIGTERM or SIGHUP stops it gracefully; a second one ends the process at once.
///
/// # Errors
/// Whatever kept the gateway from starting or stopping.
pub(crate) fn run<F>(
    mut settings: Settings,
    output: Output,
    ready: impl FnOnce(Serving) -> F + Send,
) -> Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    start_log(&settings, output)?;
    raise_file_limit();
    settings.gateway.wasm.compiler = std::env::current_exe().ok();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let stop = Stop::listen()?;
        let data_dir = settings.gateway.data_dir.clone();
        let mut announcement = None;
        let announce = |running: &bramble_gateway::Running| {
            let url = HttpUrl::local(running.listen).over_tls(running.tls);
            match Announcement::make(&data_dir, &url.to_string()) {
                Ok(made) => announcement = Some(made),
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "`bramble down` will not find this gateway")
                }
            }
            let metrics_url = format!("{}/metrics", HttpUrl::local(running.metrics_listen));
            tokio::spawn(ready(Serving { url, metrics_url }));
        };
        bramble_gateway::run(settings.gateway, announce, stop.requested()).await
    });
    // A compilation that still runs is not waited for: it is done again at the next start.
    runtime.shutdown_background();
    result
}

/// Allows as many open files as the machine does: a connection is one, and the usual soft limit of
/// 1,024 only protects programs that use `select`.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}

/// Starts the log, as its settings say.
///
/// # Errors
/// A level that cannot be understood, or a log that was started before.
pub(crate) fn start_log(settings: &Settings, output: Output) -> Result<()> {
    let filter = EnvFilter::try_new(&settings.log_level).context("log_level")?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::NONE)
        .with_ansi(output.stderr_color())
        .with_writer(std::io::stderr);
    let started = match settings.log_format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}

/// The signals that stop a gateway.
#[derive(Debug)]
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Stop {
    /// From here on these signals do not end the process by themselves.
    pub(crate) fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Resolves at the first signal. The next one ends the process.
    pub(crate) async fn requested(mut self) {
        let signal = self.next().await;
        tracing::info!(signal, "stopping; a second signal ends it at once");
        tokio::spawn(async move {
            let signal = self.next().await;
            tracing::warn!(signal, "stopped at once");
            exit_at_once(signal);
        });
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }
}

#[expect(clippy::exit, reason = "the second signal asks for exactly this: no drain, no destructors")]
fn exit_at_once(signal: &str) -> ! {
    // 128 and the signal's number, as a shell reports it.
    std::process::exit(match signal {
        "SIGINT" => 130,
        "SIGTERM" => 143,
        _ => 129,
    })
}
