//! The gateway that is measured: one that runs somewhere, or one of the run's own; and the way back.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bramble_provider::HttpUrl;
use http::HeaderValue;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::metrics::Metrics;
use super::programs::Sample;
use super::results::{self, Runtime};
use crate::api::Api;
use crate::containers::Docker;
use crate::gateway::GatewayProcess;
use crate::machine::kib_field;
use crate::wait;

/// Longest wait for the gateway or a Docker to do something.
pub(super) const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at something that takes its time.
pub(super) const LOOK: Duration = Duration::from_millis(50);
/// The same, at what is done at once.
const WASM_LOOK: Duration = Duration::from_millis(2);
/// A Docker that is not there: nobody's containers are looked at.
const NO_DOCKER: &str = "unix:///nonexistent/bramble-bench.sock";
/// What the scaler of the run's own gateway waits for before it takes replicas away; it is what a run from 0
/// and back to 0 would else spend its time with.
const SCALE_DOWN_WINDOW: &str = "--scale-down-window=4s";

/// A gateway, and what it was given. Dropping it removes all of that, and the gateway if it is the run's own.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) address: SocketAddr,
    login: Option<HeaderValue>,
    url: String,
    own: Option<GatewayProcess>,
    metrics: Option<(SocketAddr, String)>,
    pub(super) docker: Option<Docker>,
    /// What every name begins with.
    prefix: String,
    /// Names that were given out so far.
    named: Cell<usize>,
    functions: RefCell<Vec<String>>,
    modules: RefCell<Vec<String>>,
    _dir: Option<TempDir>,
}

/// The way to a gateway's API, for any thread.
#[derive(Debug, Clone)]
pub(super) struct Door {
    address: SocketAddr,
    login: Option<HeaderValue>,
}

impl Door {
    /// A connection, showing what this user logged in with.
    ///
    /// # Errors
    /// When nobody listens there.
    pub(super) fn api(&self) -> Result<Api> {
        Ok(Api::connect(self.address)?.logged_in(self.login.clone()))
    }
}

/// A program that is deployed.
#[derive(Debug, Clone)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) runtime: Runtime,
}

impl Subject {
    /// Starts a gateway on a fresh data directory.
    ///
    /// # Errors
    /// When it does not start, or does not find its Docker.
    pub(super) fn start(program: &Path, docker: Option<Docker>) -> Result<Self> {
        let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
        let host = docker.as_ref().map_or(NO_DOCKER, Docker::host);
        let flags = [format!("--docker-host={host}"), SCALE_DOWN_WINDOW.to_owned()];
        let own = GatewayProcess::start_with(program, dir.path(), &flags)?;
        let subject = Self {
            address: own.address,
            login: None,
            url: format!("http://{}", own.address),
            metrics: Some((own.metrics, "/metrics".to_owned())),
            own: Some(own),
            docker,
            prefix: prefix(),
            named: Cell::default(),
            functions: RefCell::default(),
            modules: RefCell::default(),
            _dir: Some(dir),
        };
        if subject.docker.is_some() {
            wait::until("the gateway finds its Docker", LIMIT, LOOK, || {
                Ok(subject.has_containers()?.then_some(()))
            })?;
        }
        Ok(subject)
    }

    /// Takes a gateway that runs, and shows it these credentials.
    ///
    /// # Errors
    /// When nobody answers there, or it takes other credentials only.
    pub(super) fn running(
        url: &HttpUrl,
        login: Option<HeaderValue>,
        metrics: Option<&HttpUrl>,
        docker: Option<Docker>,
    ) -> Result<Self> {
        ensure!(url.path("").is_empty(), "the gateway's URL {url} has a path: name its port itself");
        let metrics = metrics.map(|url| Ok::<_, anyhow::Error>((resolve(url)?, metrics_path(url))));
        let subject = Self {
            address: resolve(url)?,
            login,
            url: url.to_string(),
            own: None,
            metrics: metrics.transpose()?,
            docker,
            prefix: prefix(),
            named: Cell::default(),
            functions: RefCell::default(),
            modules: RefCell::default(),
            _dir: None,
        };
        subject.info().with_context(|| format!("cannot measure the gateway at {url}"))?;
        if subject.metrics.is_some() {
            subject.metrics().context("--metrics-url")?;
        }
        Ok(subject)
    }

    /// A connection to it.
    ///
    /// # Errors
    /// When it takes none.
    pub(super) fn api(&self) -> Result<Api> {
        self.door().api()
    }

    /// The same for other threads.
    pub(super) fn door(&self) -> Door {
        Door { address: self.address, login: self.login.clone() }
    }

    /// As the results hold it.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) fn described(&self) -> Result<results::Gateway> {
        let info = self.info()?;
        let version = info["version"]["release"].as_str().unwrap_or("unknown").to_owned();
        let docker = self.docker.as_ref().map(Docker::version);
        Ok(results::Gateway { url: self.url.clone(), own: self.own.is_some(), version, info, docker })
    }

    /// Whether it runs functions in containers now.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) fn has_containers(&self) -> Result<bool> {
        Ok(self.info()?["containers"]["available"] == true)
    }

    fn info(&self) -> Result<Value> {
        self.api()?.request("GET", "/system/info", None)
    }

    /// Its metrics; `None` when nobody said where they are.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) fn metrics(&self) -> Result<Option<Metrics>> {
        self.metrics.as_ref().map(|(address, path)| Metrics::fetch(*address, path)).transpose()
    }

    /// The resident memory of its process; `None` when nobody tells it.
    pub(super) fn resident_bytes(&self) -> Option<u64> {
        if let Some(own) = &self.own {
            return resident_bytes(own.pid());
        }
        let bytes = self.metrics().ok()??.value("process_resident_memory_bytes", &[])?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number of bytes"
        )]
        (bytes >= 0.0).then_some(bytes as u64)
    }

    /// A name that nothing else has; what is deployed under it is removed in the end.
    pub(super) fn name(&self, name: &str) -> String {
        let at = self.named.replace(self.named.get() + 1);
        let name = format!("{}-{name}-{at}", self.prefix);
        self.functions.borrow_mut().push(name.clone());
        name
    }

    /// Says that a module was stored that was not there before; it is removed in the end.
    pub(super) fn stored(&self, digest: &str) {
        self.modules.borrow_mut().push(digest.to_owned());
    }

    /// Deploys what is stored already, with labels.
    ///
    /// # Errors
    /// When the gateway refuses it.
    pub(super) fn deploy(
        &self,
        name: &str,
        image: &str,
        sample: &Sample,
        labels: &BTreeMap<&str, String>,
    ) -> Result<()> {
        let mut annotations = sample.annotations.clone();
        annotations.insert("bramble.bench".to_owned(), "true".to_owned());
        let mut document = json!({
            "service": name, "image": image, "envVars": sample.env, "labels": labels, "annotations": annotations,
        });
        if let Some(process) = &sample.process {
            document["envProcess"] = json!(process);
        }
        self.api()?.request("POST", "/system/functions", Some(&document)).map(drop)
    }

    /// Removes a function now. Its container ends soon.
    ///
    /// # Errors
    /// When the gateway refuses it.
    pub(super) fn remove(&self, function: &Function) -> Result<()> {
        let document = json!({ "functionName": function.name });
        self.api()?.request("DELETE", "/system/functions", Some(&document))?;
        self.functions.borrow_mut().retain(|made| *made != function.name);
        Ok(())
    }

    /// How many replicas a function is asked to have; 1 at least.
    ///
    /// # Errors
    /// When the gateway does not know it.
    pub(super) fn replicas(&self, function: &Function) -> Result<u32> {
        let status = self.api()?.request("GET", &format!("/system/function/{}", function.name), None)?;
        let replicas = status["replicas"].as_u64().and_then(|replicas| u32::try_from(replicas).ok());
        Ok(replicas.unwrap_or(1).max(1))
    }

    /// Sets a function to 0 replicas and waits until none is left. A scaler that looked a moment before may
    /// bring one back once, for a request that was answered meanwhile: then it is set to 0 again.
    ///
    /// # Errors
    /// When one stays.
    pub(super) fn scale_to_zero(&self, function: &Function) -> Result<()> {
        let name = &function.name;
        let mut api = self.api()?;
        api.scale(name, 0)?;
        let docker = self.docker.as_ref().filter(|_| function.runtime == Runtime::Container);
        let look = if function.runtime == Runtime::Container { LOOK } else { WASM_LOOK };
        wait::until(&format!("{name} without a replica"), LIMIT, look, || {
            let status = api.request("GET", &format!("/system/function/{name}"), None)?;
            let number = |field: &str| status[field].as_u64().unwrap_or_default();
            if number("replicas") > 0 {
                api.scale(name, 0)?;
                return Ok(None);
            }
            // A daemon that is busy with others may take longer than it is waited for.
            let gone = docker.is_none_or(|docker| docker.is_gone(name).unwrap_or(false));
            Ok((number("availableReplicas") == 0 && gone).then_some(()))
        })
    }

    /// The one container of a function; `None` when it is not seen from here.
    pub(super) fn container(&self, function: &Function) -> Option<String> {
        self.docker.as_ref()?.running(&function.name).ok()?
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // In the end nobody is there to be told; what one call cannot remove, the next one still may.
        if let Ok(mut api) = self.api() {
            for name in self.functions.borrow().iter() {
                let _ = api.request("DELETE", "/system/functions", Some(&json!({ "functionName": name })));
            }
            for digest in self.modules.borrow().iter() {
                let _ = api.request("DELETE", &format!("/system/modules/{digest}"), None);
            }
        }
        // Before the services, or it would bring them back.
        let own = self.own.take().is_some();
        if let Some(docker) = self.docker.as_ref().filter(|_| own) {
            self.functions.borrow().iter().for_each(|name| docker.remove(name));
        }
    }
}

fn prefix() -> String {
    format!("bench-{:08x}", fastrand::u32(..))
}

/// Where a URL's server listens.
///
/// # Errors
/// When its host has no address.
pub(super) fn resolve(url: &HttpUrl) -> Result<SocketAddr> {
    let addresses = (url.host(), url.port()).to_socket_addrs();
    let mut addresses = addresses.with_context(|| format!("cannot find the host of {url}"))?;
    addresses.next().with_context(|| format!("the host of {url} has no address"))
}

/// The URL's own path, or the usual one.
fn metrics_path(url: &HttpUrl) -> String {
    Some(url.path("")).filter(|path| !path.is_empty()).unwrap_or_else(|| "/metrics".to_owned())
}

/// The resident memory of a process; `None` when it is gone.
pub(super) fn resident_bytes(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    kib_field(&text, "VmRSS").map(|kib| kib << 10)
}
