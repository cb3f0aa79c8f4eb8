//! A gateway inside this process, in a temporary folder: what runs in it is what would run deployed.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;

use anyhow::{Context as _, Result, anyhow};
use bramble_gateway::GatewayConfig;
use bramble_provider::url::query;
use bramble_provider::{FunctionName, HttpUrl};
use http::Method;
use http_body_util::BodyExt;
use serde::Deserialize;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::api::Api;
use crate::client::{Client, RequestBody, Trust};
use crate::error::CliError;
use crate::output::Output;

/// Longest log line that is kept together.
const MAX_LINE_BYTES: usize = 1 << 20;

/// A gateway that serves as long as it is polled.
pub(super) struct PrivateGateway {
    gateway: Pin<Box<dyn Future<Output = Result<()>> + Send>>,
    listen: SocketAddr,
    // Removed when it is dropped, after the gateway above.
    _folder: TempDir,
}

impl PrivateGateway {
    /// Starts one on a port of the loopback address.
    ///
    /// # Errors
    /// When the port is taken, or there is no temporary folder.
    pub(super) async fn start(port: u16) -> Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("bramble-local-").tempdir().context("making a folder")?;
        let mut config = GatewayConfig::in_dir(folder.path());
        config.listen = (Ipv4Addr::LOCALHOST, port).into();
        config.metrics_listen = (Ipv4Addr::LOCALHOST, 0).into();
        config.scaling.enabled = false;
        // No daemon of this machine is to be asked or changed.
        let nowhere = format!("unix://{}", folder.path().join("no-docker.sock").display());
        config.containers.docker_host = nowhere.parse().map_err(|error| anyhow!("{nowhere}: {error}"))?;
        let (sender, ready) = oneshot::channel();
        // Nobody waits for it any more when this future was dropped.
        let announce = move |running: &bramble_gateway::Running| {
            let _ = sender.send(running.listen);
        };
        // It is stopped by being dropped.
        let mut gateway: Pin<Box<dyn Future<Output = Result<()>> + Send>> =
            Box::pin(bramble_gateway::run(config, announce, std::future::pending()));
        let listen = tokio::select! {
            ended = &mut gateway => {
                ended?;
                return Err(CliError::failed("the host ended by itself").into());
            }
            listen = ready => listen.context("the host did not start")?,
        };
        Ok(Self { gateway, listen, _folder: folder })
    }

    /// Its API.
    ///
    /// # Errors
    /// As of [`Client::trusting`].
    pub(super) fn api(&self) -> Result<Api> {
        Ok(Api::new(Client::trusting(HttpUrl::local(self.listen), &Trust::System)?))
    }

    /// Serves until `work` is done, and stops.
    ///
    /// # Errors
    /// Those of the work, and of a gateway that ends too early.
    pub(super) async fn during<T>(mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            ended = &mut self.gateway => {
                ended?;
                Err(CliError::failed("the host ended by itself").into())
            }
            done = work => done,
        }
    }
}

/// Prints what a function logged to stderr; with `follow`, until the gateway ends.
///
/// # Errors
/// When the log cannot be read.
pub(super) async fn logs(api: &Api, name: &FunctionName, follow: bool, output: Output) -> Result<()> {
    #[derive(Deserialize)]
    struct Line {
        text: String,
    }
    let follow = if follow { "true" } else { "false" };
    let path = format!("/system/logs{}", query([("name", name.name()), ("follow", follow)]));
    let request = api.client().request(Method::GET, &path).body(RequestBody::empty())?;
    let mut body = api.client().send(request, None).await?.into_body();
    let mut pending = Vec::new();
    while let Some(frame) = body.frame().await {
        pending.extend_from_slice(&frame?.into_data().unwrap_or_default());
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            if let Ok(line) = serde_json::from_slice::<Line>(&line) {
                output.note(line.text.trim_end_matches('\n'));
            }
        }
        if pending.len() > MAX_LINE_BYTES {
            pending.clear();
        }
    }
    Ok(())
}
