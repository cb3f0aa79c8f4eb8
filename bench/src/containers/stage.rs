//! What the bench puts on a Docker: a gateway of its own, its functions, and the way back.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::docker::{Docker, Place};
use crate::api::Api;
use crate::gateway::GatewayProcess;
use crate::wait;

/// The network that a gateway puts functions on unless it is told another.
const NETWORK: &str = "functions";

/// The port of a watchdog.
pub(super) const WATCHDOG_PORT: u16 = 8080;

/// Longest wait for Docker to do something.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// Between two looks at something that takes its time.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// A gateway on a Docker, and what it was given to run. Dropping it removes all of it.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) docker: Docker,
    gateway: Option<GatewayProcess>,
    pub(crate) address: SocketAddr,
    pub(super) gateway_pid: u32,
    services: RefCell<Vec<String>>,
    _dir: TempDir,
}

impl Stage {
    /// Starts a gateway on a fresh data directory and waits until it has found its Docker.
    ///
    /// # Errors
    /// When it does not start or finds none.
    pub(crate) fn set(docker: Docker, program: &Path) -> Result<Self> {
        let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
        let flags = [format!("--docker-host={}", docker.host())];
        let gateway = GatewayProcess::start_with(program, dir.path(), &flags)?;
        let (address, gateway_pid) = (gateway.address, gateway.pid());
        let services = RefCell::default();
        let stage = Self { docker, gateway: Some(gateway), address, gateway_pid, services, _dir: dir };
        let mut api = stage.api()?;
        wait::until("the gateway finds its Docker", LIMIT, LOOK_INTERVAL, || {
            let info = api.request("GET", "/system/info", None)?;
            Ok((info["containers"]["available"] == true).then_some(()))
        })?;
        Ok(stage)
    }

    /// A connection to the gateway.
    pub(crate) fn api(&self) -> Result<Api> {
        Api::connect(self.address)
    }

    /// A name that nothing else has; a service of this name is removed in the end.
    pub(crate) fn name(&self, name: &str) -> String {
        let name = format!("bench-{name}-{}", std::process::id());
        self.services.borrow_mut().push(name.clone());
        name
    }

    /// Deploys an image as a function and waits until it echoes.
    ///
    /// # Errors
    /// When the gateway refuses it, or it does not.
    pub(crate) fn deploy(&self, name: &str, image: &str, env: &Value) -> Result<String> {
        let name = self.name(name);
        let mut api = self.api()?;
        let document = json!({ "service": name, "image": image, "envVars": env });
        api.request("POST", "/system/functions", Some(&document))?;
        let echoed = api.invoke(&name, b"are you there")?;
        anyhow::ensure!(echoed == b"are you there", "{name} does not echo");
        Ok(name)
    }

    /// Where the one replica of a service is, once the Swarm says that it runs.
    ///
    /// # Errors
    /// When it does not in time.
    pub(super) fn place(&self, service: &str, interval: Duration) -> Result<Place> {
        self.docker.place(&self.container(service, interval)?, NETWORK)
    }

    /// The container of the one replica of a service, once the Swarm says that it runs.
    ///
    /// # Errors
    /// When it does not in time.
    pub(super) fn container(&self, service: &str, interval: Duration) -> Result<String> {
        let what = format!("a replica of {service}");
        wait::until(&what, LIMIT, interval, || self.docker.running(service))
    }

    /// Waits until nothing of a service runs.
    ///
    /// # Errors
    /// When something still does after a minute.
    pub(super) fn gone(&self, service: &str) -> Result<()> {
        wait::until(&format!("the end of {service}"), LIMIT, LOOK_INTERVAL, || {
            Ok(self.docker.is_gone(service)?.then_some(()))
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // First, or it would bring the services back.
        drop(self.gateway.take());
        for service in self.services.borrow().iter() {
            self.docker.remove(service);
        }
    }
}
