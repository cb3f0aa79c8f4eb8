//! `invoke`: one wasm invocation inside the process, without HTTP.
//!
//! A real [`WasmProvider`] on a temporary directory, a fresh instance each time. Measured from the
//! call of `Provider::invoke` to the last frame of the response; making the request is not in it.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use bramble_host::{HostConfig, WasmProvider};
use bramble_provider::{Body, CallId, Code, FunctionName, FunctionSpec, Invocation, Provider};
use bytes::Bytes;
use clap::Args;
use http::request::Parts;
use http_body_util::BodyExt;
use serde::Serialize;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::guests;
use crate::report::{Report, progress};
use crate::stats::{Latencies, Percentiles, Spread, time, time_of, whole};
use crate::table::Table;

/// Labels of what is measured; the budgets are found by them.
pub(crate) const ECHO: &str = "echo 100 B";
pub(crate) const LARGE_ECHO: &str = "echo 1 MiB";
pub(crate) const SDK: &str = "SDK hello";

/// Ops before the clock starts, so that pages, caches and predictors are warm.
const WARM_UP: Duration = Duration::from_millis(300);

/// One invocation in the process, a fresh instance each: latency and rate
#[derive(Debug, Clone, Args)]
pub(crate) struct Invoke {
    /// Rounds over all functions
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Seconds for each function in each round
    #[arg(long, default_value_t = 1.0)]
    pub(crate) seconds: f64,
    /// The SDK's hello as wasm [default: hello.wasm among the built examples]
    #[arg(long, value_name = "FILE")]
    pub(crate) sdk_guest: Option<PathBuf>,
}

/// What was measured of one function at one number of tasks.
#[derive(Debug, Serialize)]
pub(crate) struct Case {
    pub(crate) function: &'static str,
    pub(crate) tasks: usize,
    pub(crate) ops_per_second: Spread,
    /// The p50 of each round.
    pub(crate) p50_ns: Spread,
    pub(crate) latency: Percentiles,
}

/// Which function, and what is asked of it.
struct Program {
    label: &'static str,
    name: FunctionName,
    target: &'static str,
    parts: Parts,
    body: Bytes,
    answer: Option<Bytes>,
}

/// One function at one number of tasks: rate and latencies of each round.
struct Sample<'a> {
    program: &'a Program,
    tasks: usize,
    rounds: Vec<(f64, Latencies)>,
}

impl Invoke {
    /// Measures and reports.
    ///
    /// # Errors
    /// When the host cannot start or a function does not answer as it should.
    pub(crate) fn report(&self) -> Result<Report> {
        let cases = self.measure()?;
        let mut table = Table::new(
            "One invocation in the process, fresh instance",
            ["function", "tasks", "ops/s", "p50 (min..max of rounds)", "p90", "p99", "p99.9"],
        );
        for case in &cases {
            table.row([
                case.function.to_owned(),
                case.tasks.to_string(),
                whole(case.ops_per_second.median),
                case.p50_ns.text(time),
                time_of(case.latency.p90_ns),
                time_of(case.latency.p99_ns),
                time_of(case.latency.p999_ns),
            ]);
        }
        let missing = guests::sdk_guest_path(self.sdk_guest.as_deref()).is_none();
        let missing = missing.then(|| {
            "no SDK guest was measured: build the examples (examples/build.sh) or name one with --sdk-guest".to_owned()
        });
        let method = format!(
            "WasmProvider::invoke in this process until the last response frame, {} rounds of {} s each in turns, \
             after {:?} of warm-up",
            self.rounds, self.seconds, WARM_UP
        );
        Ok(Report::new("invoke", method, &cases)?.table(table).notes(missing))
    }

    /// Every function at one task and at two, in turns.
    ///
    /// # Errors
    /// As [`Self::report`].
    pub(crate) fn measure(&self) -> Result<Vec<Case>> {
        let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
        let provider = WasmProvider::open(HostConfig::in_dir(dir.path()), &prometheus::Registry::new())
            .context("cannot open the wasm host")?;
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let programs = self.programs(&provider, &runtime)?;
        let sample =
            |tasks| programs.iter().map(move |program| Sample { program, tasks, rounds: Vec::new() });
        let mut samples: Vec<_> = [1, 2].into_iter().flat_map(sample).collect();
        let seconds = Duration::from_secs_f64(self.seconds);
        for round in 1..=self.rounds.max(1) {
            for Sample { program, tasks, rounds } in &mut samples {
                progress(format_args!("round {round}: {} at {tasks} tasks", program.label));
                rounds.push(run_tasks(&provider, runtime.handle(), program, *tasks, seconds)?);
            }
        }
        Ok(samples.iter().map(Sample::case).collect())
    }

    fn programs(&self, provider: &WasmProvider, runtime: &Runtime) -> Result<Vec<Program>> {
        let small = Bytes::from(vec![b'x'; 100]);
        let large = Bytes::from(vec![b'x'; 1 << 20]);
        let echo = deploy(provider, runtime, "echo", guests::echo(), None)?;
        let mut programs = vec![Program::echo(ECHO, &echo, small)?, Program::echo(LARGE_ECHO, &echo, large)?];
        if let Some(path) = guests::sdk_guest_path(self.sdk_guest.as_deref()) {
            let name = deploy(provider, runtime, "hello", guests::read(&path)?, Some("cgi"))?;
            programs.push(Program::new(SDK, &name, "/function/hello?name=Bramble", Bytes::new(), None)?);
        }
        Ok(programs)
    }
}

impl Program {
    fn new(
        label: &'static str,
        name: &FunctionName,
        target: &'static str,
        body: Bytes,
        answer: Option<Bytes>,
    ) -> Result<Self> {
        let parts = request(target, body.len())?;
        Ok(Self { label, name: name.clone(), target, parts, body, answer })
    }

    fn echo(label: &'static str, name: &FunctionName, body: Bytes) -> Result<Self> {
        Self::new(label, name, "/function/echo", body.clone(), Some(body))
    }

    /// The same, sharing no count of references with this one: as requests of two clients are.
    fn apart(&self) -> Result<Self> {
        let copy = Bytes::copy_from_slice;
        let answer = self.answer.as_deref().map(copy);
        Self::new(self.label, &self.name, self.target, copy(&self.body), answer)
    }

    fn invocation(&self, id: u128) -> Invocation {
        Invocation {
            call_id: CallId::from_random(id),
            path_offset: self.parts.uri.path().len(),
            request: self.parts.clone(),
            body: Body::whole(self.body.clone()),
            peer: None,
            started_at: SystemTime::now(),
        }
    }

    /// Invokes until the time is over; each invocation ends before the next begins.
    async fn repeat(&self, provider: &WasmProvider, duration: Duration) -> Result<Latencies> {
        let mut latencies = Latencies::new();
        let end = Instant::now() + duration;
        let mut id = 0;
        loop {
            let invocation = self.invocation(id);
            let started = Instant::now();
            let response = provider.invoke(&self.name, invocation).await.context(self.label)?;
            let mut body = response.into_body();
            let mut length = 0;
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| anyhow::anyhow!(error)).context(self.label)?;
                length += frame.data_ref().map_or(0, Bytes::len);
            }
            drop(body);
            let ended = Instant::now();
            latencies.record(ended - started);
            ensure!(
                self.answer.as_ref().is_none_or(|answer| answer.len() == length),
                "{}: {length} bytes",
                self.label
            );
            if ended >= end {
                return Ok(latencies);
            }
            id += 1;
        }
    }

    /// One invocation whose answer is compared byte by byte.
    async fn check(&self, provider: &WasmProvider) -> Result<()> {
        let response = provider.invoke(&self.name, self.invocation(0)).await.context(self.label)?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
        ensure!(status.is_success(), "{} answered {status}", self.label);
        ensure!(
            self.answer.as_ref().is_none_or(|answer| *answer == body),
            "{} answered something else",
            self.label
        );
        Ok(())
    }
}

/// Requests per second and latencies of `tasks` loops, each on a thread of its own.
fn run_tasks(
    provider: &WasmProvider,
    runtime: &Handle,
    program: &Program,
    tasks: usize,
    duration: Duration,
) -> Result<(f64, Latencies)> {
    runtime.block_on(program.check(provider))?;
    let run = |duration| -> Result<Latencies> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..tasks)
                .map(|_| {
                    scope.spawn(|| {
                        let program = program.apart()?;
                        runtime.block_on(program.repeat(provider, duration))
                    })
                })
                .collect();
            let mut all = Latencies::new();
            for thread in threads {
                all.add(&thread.join().expect("a loop does not panic")?);
            }
            Ok(all)
        })
    };
    run(WARM_UP)?;
    let started = Instant::now();
    let latencies = run(duration)?;
    Ok((latencies.percentiles().count as f64 / started.elapsed().as_secs_f64(), latencies))
}

impl Sample<'_> {
    fn case(&self) -> Case {
        let mut all = Latencies::new();
        self.rounds.iter().for_each(|(_, latencies)| all.add(latencies));
        Case {
            function: self.program.label,
            tasks: self.tasks,
            ops_per_second: Spread::of(self.rounds.iter().map(|(rate, _)| *rate)),
            p50_ns: Spread::of(self.rounds.iter().map(|(_, latencies)| latencies.p50_ns() as f64)),
            latency: all.percentiles(),
        }
    }
}

/// Uploads a module to a host and deploys it.
///
/// # Errors
/// What the host refuses.
pub(crate) fn deploy(
    provider: &WasmProvider,
    runtime: &Runtime,
    name: &str,
    wasm: Bytes,
    output: Option<&str>,
) -> Result<FunctionName> {
    let name = FunctionName::parse(name).context("a function's name")?;
    runtime.block_on(async {
        let module = provider.put_module(wasm).await.with_context(|| format!("cannot store {name}"))?;
        let mut spec = FunctionSpec::new(name.clone(), Code::Module(module.digest));
        if let Some(form) = output {
            spec.annotations.insert("bramble.output".to_owned(), form.to_owned());
        }
        provider.deploy(&spec, 16).await.with_context(|| format!("cannot deploy {name}"))
    })?;
    Ok(name)
}

/// The head of a request as a client sends it.
///
/// # Errors
/// When the target is no URI.
pub(crate) fn request(target: &str, body_bytes: usize) -> Result<Parts> {
    let request = http::Request::post(target)
        .header("host", "127.0.0.1:8080")
        .header("user-agent", "bramble-bench")
        .header("accept", "*/*")
        .header("content-type", "application/octet-stream")
        .header("content-length", body_bytes)
        .body(())
        .with_context(|| format!("{target:?} is no request target"))?;
    Ok(request.into_parts().0)
}
