//! `cold`: the first invocation of a function whose code is on disk and not in memory.
//!
//! The file is in the page cache: what is measured is checking, mapping and linking code, not the disk.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use bramble_host::{HostConfig, WasmProvider};
use bramble_provider::{Body, CallId, Code, FunctionName, FunctionSpec, Invocation, Provider, Scale};
use bytes::Bytes;
use clap::Args;
use http_body_util::BodyExt;
use serde::Serialize;
use tokio::runtime::{Builder, Runtime};

use crate::api::Api;
use crate::config;
use crate::guests;
use crate::invoke::request;
use crate::report::{Report, progress};
use crate::server::Server;
use crate::stats::{Latencies, Percentiles, time_of};
use crate::table::Table;

/// Bytes of the generated module.
const GENERATED_BYTES: usize = 100 << 10;

/// Valid for the echo and for json-sum.
const BODY: &[u8] = b"[1, 2.5]";

/// How it is called in the report.
const GENERATED: &str = "generated";

const NAME: &str = "cold";

/// The first invocation of a function whose code is not in memory
#[derive(Debug, Clone, Args)]
pub(crate) struct Cold {
    /// Cold starts of each kind
    #[arg(long, default_value_t = 100)]
    pub(crate) runs: usize,
    /// Another module beside the generated one [default: json-sum.wasm among the built examples]
    #[arg(long, value_name = "FILE")]
    pub(crate) module: Option<PathBuf>,
}

/// How the code came to be out of memory, and by which way it was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// In the process, after the function was scaled to 0 and to 1.
    Unloaded,
    /// In the process, on a provider that was opened anew.
    Reopened,
    /// Over HTTP, of a function at 0 replicas: activation is in it.
    HttpAtZero,
    /// Over HTTP, the first request to a process that just started.
    HttpRestarted,
}

/// Cold starts of one kind.
#[derive(Debug, Serialize)]
pub(crate) struct Case {
    pub(crate) module: String,
    pub(crate) module_bytes: usize,
    pub(crate) kind: Kind,
    pub(crate) cold: Percentiles,
    /// The invocation right after each, the code in memory.
    pub(crate) next: Percentiles,
}

impl Kind {
    /// In words.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Unloaded => "in process, unloaded",
            Self::Reopened => "in process, reopened",
            Self::HttpAtZero => "HTTP, from 0 replicas",
            Self::HttpRestarted => "HTTP, restarted gateway",
        }
    }
}

/// Times of a cold invocation and of the one after it.
struct Times {
    cold: Latencies,
    next: Latencies,
}

impl Cold {
    /// Measures and reports.
    ///
    /// # Errors
    /// When the host or the server cannot start, or a function does not answer as it should.
    pub(crate) fn report(&self) -> Result<Report> {
        let cases = self.measure()?;
        let mut table = Table::new(
            "First invocation, code on disk and not in memory",
            ["module", "kind", "p50", "p90", "p99", "the next, p50"],
        );
        for case in &cases {
            table.row([
                format!("{} ({} KiB)", case.module, case.module_bytes >> 10),
                case.kind.text().to_owned(),
                time_of(case.cold.p50_ns),
                time_of(case.cold.p90_ns),
                time_of(case.cold.p99_ns),
                time_of(case.next.p50_ns),
            ]);
        }
        let method = format!(
            "{} cold starts of each kind, compiled code in the page cache; `{GENERATED}` is an echo among \
             functions that are never called",
            self.runs
        );
        let missing = cases.iter().all(|case| case.module == GENERATED).then(|| {
            "only the generated module was measured: build the examples (examples/build.sh) or name one with --module"
                .to_owned()
        });
        Ok(Report::new("cold", method, &cases)?.table(table).notes(missing))
    }

    /// # Errors
    /// As [`Self::report`].
    pub(crate) fn measure(&self) -> Result<Vec<Case>> {
        let mut modules = vec![(GENERATED.to_owned(), guests::padded_echo(GENERATED_BYTES))];
        let built =
            || config::examples_dir().map(|dir| dir.join("json-sum.wasm")).filter(|path| path.is_file());
        if let Some(path) = self.module.clone().or_else(built) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            modules.push((name, guests::read(&path)?));
        }
        let mut cases = Vec::new();
        for (module, wasm) in modules {
            for kind in [Kind::Unloaded, Kind::Reopened, Kind::HttpAtZero, Kind::HttpRestarted] {
                progress(format_args!("cold: {module}, {}", kind.text()));
                let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
                let times = match kind {
                    Kind::Unloaded | Kind::Reopened => self.in_process(dir.path(), &wasm, kind),
                    Kind::HttpAtZero => self.at_zero(dir.path(), &wasm),
                    Kind::HttpRestarted => self.restarted(dir.path(), &wasm),
                };
                let times = times.with_context(|| format!("{module}, {}", kind.text()))?;
                cases.push(Case {
                    module: module.clone(),
                    module_bytes: wasm.len(),
                    kind,
                    cold: times.cold.percentiles(),
                    next: times.next.percentiles(),
                });
            }
        }
        Ok(cases)
    }

    fn in_process(&self, dir: &Path, wasm: &Bytes, kind: Kind) -> Result<Times> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let mut provider = open(dir)?;
        let module = runtime.block_on(provider.put_module(wasm.clone()))?;
        let name = FunctionName::parse(NAME).context("the function's name")?;
        let spec = FunctionSpec::new(name.clone(), Code::Module(module.digest));
        runtime.block_on(provider.deploy(&spec, 1))?;
        let mut times = Times::new();
        for _ in 0..self.runs {
            if kind == Kind::Reopened {
                drop(provider);
                provider = open(dir)?;
                let refused = provider.restore(vec![(spec.clone(), 1)]);
                ensure!(refused.is_empty(), "not restored: {refused:?}");
            } else {
                runtime.block_on(provider.scale(&name, 0))?;
                runtime.block_on(provider.scale(&name, 1))?;
            }
            let loaded = provider.slots(&name).is_some_and(|slots| slots.loaded);
            ensure!(!loaded, "the code is still in memory");
            times.take(|| invoke(&provider, &runtime, &name))?;
        }
        Ok(times)
    }

    fn at_zero(&self, dir: &Path, wasm: &Bytes) -> Result<Times> {
        let server = Server::start(dir, 0)?;
        let mut api = Api::connect(server.addresses.gateway)?;
        api.upload(NAME, wasm)?;
        let mut times = Times::new();
        for _ in 0..self.runs {
            api.scale(NAME, 0)?;
            times.take(|| api.invoke(NAME, BODY).map(drop))?;
        }
        Ok(times)
    }

    fn restarted(&self, dir: &Path, wasm: &Bytes) -> Result<Times> {
        Api::connect(Server::start(dir, 0)?.addresses.gateway)?.upload(NAME, wasm)?;
        let mut times = Times::new();
        for _ in 0..self.runs {
            let server = Server::start(dir, 0)?;
            let mut api = Api::connect(server.addresses.gateway)?;
            times.take(|| api.invoke(NAME, BODY).map(drop))?;
        }
        Ok(times)
    }
}

impl Times {
    fn new() -> Self {
        Self { cold: Latencies::new(), next: Latencies::new() }
    }

    fn take(&mut self, mut invoke: impl FnMut() -> Result<()>) -> Result<()> {
        for latencies in [&mut self.cold, &mut self.next] {
            let started = Instant::now();
            invoke()?;
            latencies.record(started.elapsed());
        }
        Ok(())
    }
}

fn open(dir: &Path) -> Result<WasmProvider> {
    WasmProvider::open(HostConfig::in_dir(dir), &prometheus::Registry::new())
        .context("cannot open the wasm host")
}

fn invoke(provider: &WasmProvider, runtime: &Runtime, name: &FunctionName) -> Result<()> {
    let request = request("/function/cold", BODY.len())?;
    let invocation = Invocation {
        call_id: CallId::from_random(0),
        path_offset: request.uri.path().len(),
        request,
        body: Body::whole(Bytes::from_static(BODY)),
        peer: None,
        started_at: std::time::SystemTime::now(),
    };
    runtime.block_on(async {
        let response = provider.invoke(name, invocation).await?;
        let status = response.status();
        response.into_body().collect().await.map_err(|error| anyhow!(error))?;
        ensure!(status.is_success(), "answered {status}");
        Ok(())
    })
}
