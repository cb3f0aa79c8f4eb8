//! `fwatchdog` by itself, outside of any container.
//!
//! Against another watchdog with the same variables, such as the original's, when one is named; against
//! calling the server behind it; and, with processes started ahead, against itself without.

mod process;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::contest::{Contender, Contest};
use crate::idle::{Memory, mebibytes};
use crate::load::{self, Load, Pace, Target};
use crate::stats::{Spread, ratio, time, time_of, whole};
use crate::table::Table;
use process::{Watchdog, free_port};

/// Bytes of the body, and of one that is larger than a pipe.
pub(super) const BODY_BYTES: usize = 100;
const LARGE_BODY_BYTES: usize = 100_000;

/// Work of the server behind the watchdog for each request: none, and that of a small handler in Node.js.
const WORK_US: [u64; 2] = [0, 280];

/// A program whose start takes 20 ms.
const SLOW_START: &str = "sh -c 'sleep 0.02; exec cat'";

/// Requests in a second, one at a time, that leave prefork the time to start the next process.
const UNHURRIED: f64 = 16.0;

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan<'a> {
    pub(super) program: &'a Path,
    pub(super) other: Option<&'a Path>,
    pub(super) rounds: usize,
    pub(super) seconds: f64,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct Results {
    pub(super) program: PathBuf,
    /// `cat` for each request; the second side is the other watchdog, when there is one.
    pub(super) fork: Vec<Fork>,
    /// The watchdog (first) and the server behind it (second).
    pub(super) http: Vec<Http>,
    /// Processes started ahead (first) and at the request (second), of a program that starts in 20 ms.
    pub(super) prefork: Vec<Prefork>,
}

/// A process for each request.
#[derive(Debug, Serialize)]
pub(super) struct Fork {
    pub(super) connections: usize,
    pub(super) body_bytes: usize,
    /// Of each side, after the load.
    pub(super) resident_bytes: Vec<u64>,
    #[serde(flatten)]
    pub(super) contest: Contest,
}

/// A server behind the watchdog.
#[derive(Debug, Serialize)]
pub(super) struct Http {
    pub(super) connections: usize,
    /// Processor time of the server for a request.
    pub(super) work_us: u64,
    #[serde(flatten)]
    pub(super) contest: Contest,
}

/// Processes started ahead.
#[derive(Debug, Serialize)]
pub(super) struct Prefork {
    /// Requests in a second; `None` is one after the other.
    pub(super) rate_per_second: Option<f64>,
    #[serde(flatten)]
    pub(super) contest: Contest,
}

/// The program: the one that was named, else the one that images hold, else one beside this one.
///
/// # Errors
/// When there is none.
pub(super) fn program(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = named {
        ensure!(path.is_file(), "no watchdog at {}", path.display());
        return Ok(path.to_owned());
    }
    let own = std::env::current_exe().context("cannot find this program")?;
    // The target directory, two up, has those with a target of their own beside `release`.
    let target = own.ancestors().nth(2).unwrap_or(&own);
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let places = [target.join(triple).join("release/fwatchdog"), own.with_file_name("fwatchdog")];
    places.iter().find(|path| path.is_file()).cloned().with_context(|| {
        format!("no fwatchdog at {} or beside this program: scripts/images.sh builds it", places[0].display())
    })
}

impl Plan<'_> {
    /// # Errors
    /// When a watchdog does not start or does not answer as it should.
    pub(super) fn measure(&self) -> Result<Results> {
        Ok(Results {
            program: self.program.to_owned(),
            fork: [(1, BODY_BYTES), (8, BODY_BYTES), (1, LARGE_BODY_BYTES)]
                .into_iter()
                .map(|(connections, body_bytes)| self.fork(connections, body_bytes))
                .collect::<Result<_>>()?,
            http: WORK_US
                .into_iter()
                .flat_map(|work_us| [1, 16].map(|connections| (work_us, connections)))
                .map(|(work_us, connections)| self.http(work_us, connections))
                .collect::<Result<_>>()?,
            prefork: [None, Some(UNHURRIED)]
                .into_iter()
                .map(|rate| self.prefork(rate))
                .collect::<Result<_>>()?,
        })
    }

    fn fork(&self, connections: usize, body_bytes: usize) -> Result<Fork> {
        let programs = [Some(self.program), self.other].into_iter().flatten();
        let watchdogs: Vec<_> =
            programs.map(|program| Watchdog::start(program, "cat", &[])).collect::<Result<_>>()?;
        let what = format!("watchdog, fork, {body_bytes} bytes, connections: {connections}");
        let contest = self.hold(&what, &watchdogs, body_bytes, self.load(connections, Pace::Closed))?;
        let resident = |watchdog: &Watchdog| Ok(Memory::of(watchdog.pid())?.resident_bytes);
        let resident_bytes = watchdogs.iter().map(resident).collect::<Result<_>>()?;
        Ok(Fork { connections, body_bytes, resident_bytes, contest })
    }

    fn http(&self, work_us: u64, connections: usize) -> Result<Http> {
        let own = std::env::current_exe().context("cannot find this program")?;
        let port = free_port()?;
        let process = format!("'{}' upstream --port {port} --work-us {work_us}", own.display());
        let url = format!("http://127.0.0.1:{port}");
        let variables = [("mode", "http"), ("http_upstream_url", &url)];
        let watchdog = Watchdog::start(self.program, &process, &variables)?;
        let direct = target(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), BODY_BYTES);
        let contenders = [
            contender(&watchdog, BODY_BYTES),
            Contender { run: Box::new(move |load| load::run(&direct, load)), pid: None },
        ];
        let what = format!("watchdog, http, {work_us} µs of work, connections: {connections}");
        let contest = Contest::hold(&what, &contenders, self.load(connections, Pace::Closed), self.rounds)?;
        Ok(Http { connections, work_us, contest })
    }

    fn prefork(&self, rate: Option<f64>) -> Result<Prefork> {
        let start = |prefork| {
            let variables = [("cgi_headers", "false"), ("prefork", prefork)];
            Watchdog::start(self.program, SLOW_START, &variables)
        };
        let pace = rate.map_or(Pace::Closed, Pace::Open);
        let (what, watchdogs) = (format!("watchdog, prefork, {pace}"), [start("8")?, start("0")?]);
        let contest = self.hold(&what, &watchdogs, BODY_BYTES, self.load(1, pace))?;
        Ok(Prefork { rate_per_second: rate, contest })
    }

    fn hold(&self, what: &str, watchdogs: &[Watchdog], body_bytes: usize, load: Load) -> Result<Contest> {
        let contenders: Vec<_> = watchdogs.iter().map(|watchdog| contender(watchdog, body_bytes)).collect();
        Contest::hold(what, &contenders, load, self.rounds)
    }

    fn load(&self, connections: usize, pace: Pace) -> Load {
        let duration = Duration::from_secs_f64(self.seconds);
        Load { connections, threads: load::default_threads(), duration, pace }
    }
}

fn contender(watchdog: &Watchdog, body_bytes: usize) -> Contender<'static> {
    let target = target(watchdog.address, body_bytes);
    Contender { run: Box::new(move |load| load::run(&target, load)), pid: Some(watchdog.pid()) }
}

fn target(address: SocketAddr, body_bytes: usize) -> Target {
    Target::post(address, "/", &vec![b'x'; body_bytes])
}

/// For people.
pub(super) fn table(results: &Results) -> Table {
    let title = "fwatchdog by itself (its own CPU, without that of the processes it starts)";
    let columns =
        ["what", "side", "req/s (min..max)", "p50", "p99", "CPU/req", "resident", "ratio (min..max)"];
    let mut table = Table::new(title, columns);
    let mut rows = |what: String, names: [&str; 2], contest: &Contest, resident: &[u64], compared: Spread| {
        for (at, side) in contest.sides.iter().enumerate() {
            let first = |text: String| if at == 0 { text } else { String::new() };
            table.row([
                first(what.clone()),
                names[at.min(1)].to_owned(),
                side.requests_per_second.text(whole),
                time_of(side.latency.p50_ns),
                time_of(side.latency.p99_ns),
                side.cpu_ns_per_request.map(|spread| time(spread.median)).unwrap_or_default(),
                resident.get(at).copied().map(mebibytes).unwrap_or_default(),
                first(if contest.sides.len() == 2 { compared.text(ratio) } else { String::new() }),
            ]);
        }
    };
    for Fork { connections, body_bytes, resident_bytes, contest } in &results.fork {
        let what = format!("fork, cat, {body_bytes} B, {connections} conns");
        rows(what, ["fwatchdog", "other"], contest, resident_bytes, contest.rate_ratio);
    }
    for Http { connections, work_us, contest } in &results.http {
        let what = format!("http, {work_us} µs of work, {connections} conns");
        rows(what, ["fwatchdog", "direct"], contest, &[], contest.rate_ratio);
    }
    for Prefork { rate_per_second, contest } in &results.prefork {
        let (what, compared) = match rate_per_second {
            None => ("20 ms start, 1 conn".to_owned(), contest.rate_ratio),
            Some(rate) => (format!("20 ms start, {rate} in a second (p50)"), contest.p50_ratio),
        };
        rows(what, ["prefork=8", "prefork=0"], contest, &[], compared);
    }
    table
}
