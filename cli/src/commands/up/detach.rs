//! `bramble up --detach`: a gateway in the background.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::{Instant, interval};

use super::super::Context;
use super::{Greeting, Login, Made, deploy_samples};
use crate::api::Api;
use crate::config::{SettingFlags, Settings};
use crate::error::CliError;
use crate::instance::{self, Running};
use crate::samples::Sample;
use bramble_provider::HttpUrl;
use bramble_provider::url::InvalidUrl;

/// The log of a background gateway, in its data directory.
const LOG_NAME: &str = "gateway.log";

/// A log that is larger is put aside at the next start, in place of the one before.
const MAX_LOG_BYTES: u64 = 16 << 20;

/// Longest wait for a gateway to become ready. It reads its store and compiles nothing.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(20);

/// Most of the log that is shown when the start failed.
const SHOWN_LOG_BYTES: u64 = 4 << 10;

/// Starts a gateway unless it runs, deploys the samples and says how to go on.
pub(super) async fn run(
    flags: &SettingFlags<true>,
    settings: &Settings,
    samples: Vec<Sample>,
    login: Option<&Login>,
    context: &Context,
) -> Result<()> {
    let data_dir = settings.gateway.data_dir.as_path();
    let (running, was_running) = match instance::find(data_dir)? {
        Some(running) => (expected(running, settings)?, true),
        None => (start(flags, data_dir, context).await?, false),
    };
    let (api, made) = api_of(&running, login, context)?;
    if !wait_ready(&api, Instant::now() + START_LIMIT).await {
        let message = format!("the gateway at {} (pid {}) does not become ready", running.url, running.pid);
        return Err(CliError::failed(message).into());
    }
    deploy_samples(&api, samples, context.output).await?;
    if was_running {
        let pid = running.pid;
        context.output.line(format!("a gateway runs already on {} (pid {pid})", data_dir.display()))?;
    }
    Greeting::of(&api, &context.program).await.print(data_dir, made, context.output)
}

/// The gateway that runs, when it is the one that was asked for.
fn expected(running: Running, settings: &Settings) -> Result<Running, CliError> {
    let listen = settings.gateway.listen;
    let tls = settings.gateway.tls_cert.is_some();
    let asked = HttpUrl::local(listen).over_tls(tls).to_string();
    if listen.port() == 0 || running.url == asked {
        return Ok(running);
    }
    let data_dir = settings.gateway.data_dir.display();
    let message = format!("a gateway runs already on {data_dir}, at {} instead of {asked}", running.url);
    Err(CliError::failed(message).hint("stop it with `bramble down`, or choose another --data-dir"))
}

fn api_of<'a>(
    running: &Running,
    login: Option<&'a Login>,
    context: &Context,
) -> Result<(Api, Option<Made<'a>>)> {
    let url = HttpUrl::with_or_without_tls(&running.url).map_err(|reason: InvalidUrl| {
        CliError::failed(format!("the gateway announced the URL {:?}, which {reason}", running.url))
    })?;
    super::api(url, login, &context.environment.logins(), context.output)
}

/// Starts this program again as a gateway, and waits until it says where it is.
async fn start(flags: &SettingFlags<true>, data_dir: &Path, context: &Context) -> Result<Running> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .with_context(|| format!("cannot create the data directory {}", data_dir.display()))?;
    let mut log = open_log(data_dir)?;
    let log_start = log.seek(SeekFrom::End(0))?;
    let mut child = Command::new(std::env::current_exe().context("finding this program")?)
        .args(["gateway", "--session"])
        .args(flags.gateway_arguments())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .spawn()
        .context("cannot start the gateway")?;
    let spinner = context.output.spinner("starting the gateway");
    let running = wait_announced(&mut child, data_dir).await;
    drop(spinner);
    running.map_err(|reason| {
        let said = tail(&mut log, log_start).unwrap_or_default();
        context.output.note_bytes(said.as_bytes());
        let path = data_dir.join(LOG_NAME);
        CliError::failed(reason).hint(format!("its log is {}", path.display())).into()
    })
}

async fn wait_announced(child: &mut Child, data_dir: &Path) -> Result<Running, String> {
    let end = Instant::now() + START_LIMIT;
    let mut ticks = interval(INTERVAL);
    while Instant::now() < end {
        ticks.tick().await;
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => return Err(format!("the gateway did not start ({status})")),
            Err(error) => return Err(format!("the gateway is lost: {error}")),
        }
        match instance::find(data_dir) {
            Ok(Some(running)) => return Ok(running),
            Ok(None) => {}
            Err(error) => return Err(format!("{error:#}")),
        }
    }
    Err(format!("the gateway (pid {}) is not ready after {START_LIMIT:?}", child.id()))
}

async fn wait_ready(api: &Api, end: Instant) -> bool {
    let mut ticks = interval(INTERVAL);
    loop {
        ticks.tick().await;
        if matches!(api.is_ready().await, Ok(true)) {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
    }
}

fn open_log(data_dir: &Path) -> Result<File> {
    let path = data_dir.join(LOG_NAME);
    let open = || {
        if path.metadata().is_ok_and(|metadata| metadata.len() > MAX_LOG_BYTES) {
            std::fs::rename(&path, path.with_extension("log.1"))?;
        }
        OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(&path)
    };
    open().with_context(|| format!("cannot open {}", path.display()))
}

/// The end of what was logged since `start`.
fn tail(log: &mut File, start: u64) -> std::io::Result<String> {
    let end = log.seek(SeekFrom::End(0))?;
    log.seek(SeekFrom::Start(start.max(end.saturating_sub(SHOWN_LOG_BYTES))))?;
    let mut said = Vec::new();
    log.take(SHOWN_LOG_BYTES).read_to_end(&mut said)?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}
