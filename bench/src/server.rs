//! The process that is measured: a gateway and, beside it in the same runtime, a bare axum echo.
//!
//! The bench starts itself again for it, so that what is measured and what measures share no
//! memory, no runtime and no allocator.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use axum::serve::ListenerExt;
use bramble_gateway::GatewayConfig;
use bytes::Bytes;
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

/// The path of the echo, on both sides: the requests are the same to the byte.
pub(crate) const ECHO_PATH: &str = "/function/echo";

/// Longest wait for connections when it stops.
const DRAIN: Duration = Duration::from_millis(200);

/// Clock ticks in a second as `/proc/PID/stat` counts them: 100 on every Linux of today.
const TICKS_PER_SECOND: f64 = 100.0;

/// Serve the gateway and the echo until stdin ends
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[arg(long)]
    data_dir: PathBuf,
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

/// Where the process listens.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) gateway: SocketAddr,
    pub(crate) axum: SocketAddr,
}

impl Serve {
    /// Serves until stdin ends, which it does when the bench is gone.
    ///
    /// # Errors
    /// When the gateway cannot start.
    pub(crate) fn run(self) -> Result<()> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        if self.threads > 0 {
            builder.worker_threads(self.threads);
        }
        let runtime = builder.enable_all().build().context("cannot start the runtime")?;
        let done = runtime.block_on(self.serve());
        runtime.shutdown_background();
        done
    }

    async fn serve(self) -> Result<()> {
        let localhost = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(localhost).await.context("cannot listen for the echo")?;
        let axum = listener.local_addr()?;
        // Both sides send without Nagle's algorithm.
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let echo = Router::new().route(ECHO_PATH, post(echo)).layer(DefaultBodyLimit::disable());
        tokio::spawn(async move { axum::serve(listener, echo).await });
        let config = GatewayConfig {
            listen: localhost,
            metrics_listen: localhost,
            drain_timeout: DRAIN,
            ..GatewayConfig::in_dir(self.data_dir)
        };
        let (closed, stop) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            let _ = closed.send(());
        });
        let announce = |running: &bramble_gateway::Running| {
            let line = serde_json::to_string(&Addresses { gateway: running.listen, axum });
            let _ = writeln!(std::io::stdout(), "{}", line.unwrap_or_default());
        };
        let stop = async {
            let _ = stop.await;
        };
        bramble_gateway::run(config, announce, stop).await
    }
}

async fn echo(body: Bytes) -> Bytes {
    body
}

/// A server process; stopped when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) addresses: Addresses,
}

impl Server {
    /// Starts it and waits until it takes requests.
    ///
    /// # Errors
    /// When it does not start; its own words are on stderr.
    pub(crate) fn start(data_dir: &Path, threads: usize) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut child = Command::new(program)
            .arg("serve")
            .arg("--data-dir")
            .arg(data_dir)
            .arg(format!("--threads={threads}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the server process")?;
        let stdout = child.stdout.take().context("the server process has no stdout")?;
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        let addresses = read.map_err(anyhow::Error::from).and_then(|_| Ok(serde_json::from_str(&line)?));
        match addresses {
            Ok(addresses) => Ok(Self { child, addresses }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error).context("the server process did not start")
            }
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Processor time of a process, to 10 ms.
///
/// # Errors
/// When the process is gone.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name, in parentheses, may hold spaces; behind it, fields 14 and 15 of proc(5) are the 12th and 13th.
    let fields = text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(11).take(2));
    let ticks: f64 = fields.into_iter().flatten().filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(Duration::from_secs_f64(ticks / TICKS_PER_SECOND))
}
