//! The ways to run a program: its deployments, and one turn of each.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use super::program::Program;
use super::replay::{Answer, Call, replay};
use super::session::Session;
use crate::api::Api;
use crate::containers::Stage;
use crate::wait;

/// Longest wait for containers to go: the idle time, the scaler's tick, Docker's own time.
const GONE: Duration = Duration::from_secs(180);
/// Between two looks at the number of containers.
const LOOK: Duration = Duration::from_millis(100);
/// After the end of the last container, for the daemon to finish with it.
const REST: Duration = Duration::from_millis(500);

/// How a function is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Contender {
    /// Module only
    Wasm,
    /// The module a second time: two functions of one kind differ by what the machine does meanwhile
    WasmAgain,
    /// Image only
    Container,
    /// Both, policy `bridge`
    Bridge,
    /// Both, policy `fastest`
    Fastest,
    /// Both, policy `wasm-first`
    WasmFirst,
}

impl Contender {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Wasm => "wasm",
            Self::WasmAgain => "wasm-again",
            Self::Container => "container",
            Self::Bridge => "bridge",
            Self::Fastest => "fastest",
            Self::WasmFirst => "wasm-first",
        }
    }

    pub(super) fn is_hybrid(self) -> bool {
        !matches!(self, Self::Wasm | Self::WasmAgain | Self::Container)
    }

    fn has_containers(self) -> bool {
        !matches!(self, Self::Wasm | Self::WasmAgain)
    }

    /// What is deployed.
    fn document(self, name: &str, program: Program, digest: &str, settings: &Settings) -> Value {
        let mut document = json!({ "service": name, "envVars": program.env(settings.iterations) });
        if !self.has_containers() {
            document["image"] = json!(digest);
            return document;
        }
        document["image"] = json!(program.image());
        document["labels"] = json!({
            "com.openfaas.scale.zero": "true",
            "com.openfaas.scale.zero-duration": format!("{}s", settings.idle_seconds),
            // One runs as many requests side by side as come; the machine is the same for all.
            "com.openfaas.scale.max": "1",
        });
        if self.is_hybrid() {
            document["annotations"] = json!({ "bramble.module": digest, "bramble.policy": self.text() });
        }
        document
    }
}

/// What all deployments have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) iterations: u32,
    pub(super) idle_seconds: u32,
}

/// A program deployed in one way.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) contender: Contender,
    name: String,
    body: Vec<u8>,
    /// What it answers.
    expected: Vec<u8>,
}

/// One session, as a function got through it.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) answers: Vec<Answer>,
    /// Invocations that each runtime took.
    pub(super) by_wasm: f64,
    pub(super) by_container: f64,
    /// Containers asked for, over the turn and until they were gone.
    pub(super) container_seconds: f64,
}

impl Function {
    /// Deploys a program, and waits until it answers.
    ///
    /// # Errors
    /// When the gateway refuses it, or it does not answer.
    pub(super) fn deploy(
        stage: &Stage,
        contender: Contender,
        program: Program,
        digest: &str,
        settings: &Settings,
    ) -> Result<Self> {
        let name = stage.name(&format!("{}-{}", program.text(), contender.text()));
        let mut api = stage.api()?;
        let document = contender.document(&name, program, digest, settings);
        api.request("POST", "/system/functions", Some(&document))?;
        let body = program.body();
        let expected = api.invoke(&name, &body)?;
        Ok(Self { contender, name, body, expected })
    }

    /// # Errors
    /// When it does not answer as the other does.
    pub(super) fn answers_as(&self, other: &Self) -> Result<()> {
        let (name, other_name) = (&self.name, &other.name);
        ensure!(self.expected == other.expected, "{name} and {other_name} do not answer the same");
        Ok(())
    }

    /// One session, and the wait until its containers are gone.
    ///
    /// # Errors
    /// When the gateway does not answer, containers do not go, or somebody wants an end.
    pub(super) fn turn(&self, stage: &Stage, session: &Session) -> Result<Turn> {
        self.is_idle(stage)?;
        let before = self.taken(stage)?;
        let (address, over) = (stage.address, AtomicBool::new(false));
        let (answers, container_seconds) = std::thread::scope(|scope| {
            let meter = scope.spawn(|| self.meter(address, &over));
            let answers = replay(self.call(address), session).and_then(|answers| {
                self.is_idle(stage)?;
                Ok(answers)
            });
            over.store(true, Relaxed);
            let seconds = meter.join().expect("the meter does not panic");
            Ok::<_, anyhow::Error>((answers?, seconds?))
        })?;
        let after = self.taken(stage)?;
        let (by_wasm, by_container) = match self.contender {
            Contender::Wasm | Contender::WasmAgain => (answers.len() as f64, 0.0),
            Contender::Container => (0.0, answers.len() as f64),
            _ => (after[0] - before[0], after[1] - before[1]),
        };
        Ok(Turn { answers, by_wasm, by_container, container_seconds })
    }

    /// What the router has measured of each half, in seconds.
    ///
    /// # Errors
    /// When the gateway does not answer.
    pub(super) fn service_seconds(&self, stage: &Stage) -> Result<[Option<f64>; 2]> {
        let told = self.status(&mut stage.api()?)?;
        Ok(["wasm", "container"].map(|runtime| told["runtimes"][runtime]["serviceSeconds"].as_f64()))
    }

    fn call(&self, address: SocketAddr) -> Call<'_> {
        Call { address, function: &self.name, body: &self.body, expected: &self.expected }
    }

    fn status(&self, api: &mut Api) -> Result<Value> {
        api.request("GET", &format!("/system/function/{}", self.name), None)
    }

    /// Waits until nothing of it runs in a container.
    fn is_idle(&self, stage: &Stage) -> Result<()> {
        if self.contender.has_containers() {
            let mut api = stage.api()?;
            wait::until(&format!("{} without containers", self.name), GONE, LOOK, || {
                // A daemon that is busy with others may take longer than it is waited for.
                let gone = || stage.docker.is_gone(&self.name).unwrap_or(false);
                let none = wanted(&self.status(&mut api)?) == 0 && gone();
                Ok(none.then_some(()))
            })?;
        }
        wait::pause(REST);
        Ok(())
    }

    /// Invocations that its halves took so far.
    fn taken(&self, stage: &Stage) -> Result<[f64; 2]> {
        if !self.contender.is_hybrid() {
            return Ok([0.0; 2]);
        }
        let told = self.status(&mut stage.api()?)?;
        let count = |runtime: &str| told["runtimes"][runtime]["invocationCount"].as_f64().unwrap_or_default();
        Ok(["wasm", "container"].map(count))
    }

    /// Adds up how many containers are asked for until it is over. A function without is asked too, so
    /// that this costs all the same.
    fn meter(&self, address: SocketAddr, over: &AtomicBool) -> Result<f64> {
        let mut api = Api::connect(address).context("the meter")?;
        let (mut sum, mut last) = (0.0, Instant::now());
        while !over.load(Relaxed) {
            let wanted = wanted(&self.status(&mut api)?);
            let now = Instant::now();
            if self.contender.has_containers() {
                sum += wanted as f64 * (now - last).as_secs_f64();
            }
            last = now;
            wait::pause(LOOK);
        }
        Ok(sum)
    }
}

/// Replicas that are asked for; of a hybrid they are its containers.
fn wanted(status: &Value) -> u64 {
    status["replicas"].as_u64().unwrap_or_default()
}
