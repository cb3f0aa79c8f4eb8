//! `http`: a function behind the gateway against a bare axum echo in the same process and runtime.
//!
//! In turns, so that a machine that changes its mind changes it for both. Three questions: how much
//! gets through at so many connections, how long it takes on a schedule, and what the gateway adds
//! to one lone request.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;

use crate::api::Api;
use crate::guests;
use crate::load::{self, Load, Outcome, Pace, Target};
use crate::machine::cores;
use crate::report::{Report, progress};
use crate::server::{ECHO_PATH, Server, cpu_time};
use crate::stats::{Latencies, Percentiles, Spread, ratio, time, time_of, whole};
use crate::table::Table;

/// Load before the first round, thrown away.
const WARM_UP: Duration = Duration::from_secs(1);

/// Load before each turn, thrown away: the other side has had the caches.
const TURN_UP: Duration = Duration::from_millis(200);

/// Sender's share of a core above which it may be what limits the rate.
const BUSY_SENDER: f64 = 0.95;

/// A function over HTTP against a bare axum echo in the same process: rate and latency, in turns
#[derive(Debug, Clone, Args)]
pub(crate) struct OverHttp {
    /// Connections of the closed loop
    #[arg(long, value_delimiter = ',', default_value = "1,8,16,64")]
    pub(crate) connections: Vec<usize>,
    /// Bytes of the body
    #[arg(long, value_delimiter = ',', default_value = "100,1048576")]
    pub(crate) body: Vec<usize>,
    /// Rounds; each asks both sides
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Seconds for each side in each round
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    /// Requests in a second of the open loop: a number, a share of the gateway's peak (`50%`), or `off`
    #[arg(long, default_value = "50%", value_parser = parse_rate)]
    pub(crate) rate: Rate,
    /// Connections of the open loop
    #[arg(long, default_value_t = 64)]
    pub(crate) open_connections: usize,
    /// Threads that send [default: one, and one more for each further 4 cores]
    #[arg(long)]
    pub(crate) client_threads: Option<usize>,
    /// Worker threads of the server [default: one for each core]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub(crate) server_threads: usize,
}

/// How fast the open loop sends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rate {
    Off,
    PerSecond(f64),
    /// Of the gateway's highest median in the closed loop.
    ShareOfPeak(f64),
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    let number = |text: &str| text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    let rate = match text.strip_suffix('%') {
        _ if text == "off" => Some(Rate::Off),
        Some(percent) => number(percent).map(|percent| Rate::ShareOfPeak(percent / 100.0)),
        None => number(text).map(Rate::PerSecond),
    };
    rate.ok_or_else(|| "neither a rate, nor a share such as 50%, nor off".to_owned())
}

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) closed: Vec<Comparison>,
    pub(crate) open: Vec<Comparison>,
    /// p50 of the gateway less p50 of axum at 1 connection, one for each body that was measured so.
    pub(crate) added_at_one_connection: Vec<Added>,
}

/// Both sides under one load.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) body_bytes: usize,
    pub(crate) connections: usize,
    /// Requests due in a second; `None` in the closed loop.
    pub(crate) rate_per_second: Option<f64>,
    pub(crate) gateway: Side,
    pub(crate) axum: Side,
    /// Of the requests per second, gateway to axum, one for each round.
    pub(crate) ratios: Vec<f64>,
    pub(crate) ratio: Spread,
    /// Of the processor time of the server for a request, gateway to axum.
    pub(crate) cpu_ratio: Spread,
}

/// One side under one load.
#[derive(Debug, Serialize)]
pub(crate) struct Side {
    pub(crate) requests_per_second: Spread,
    pub(crate) p50_ns: Spread,
    pub(crate) latency: Percentiles,
    pub(crate) server_cpu_ns_per_request: Spread,
    /// Sender's use of its threads, 1 being all of the time.
    pub(crate) sender_busy: Spread,
    pub(crate) unsent: u64,
}

/// What the gateway adds to a request that is alone.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Added {
    pub(crate) body_bytes: usize,
    pub(crate) p50_ns: f64,
}

/// One turn of one side.
struct Turn {
    outcome: Outcome,
    server_cpu_ns_per_request: f64,
    sender_busy: f64,
}

impl OverHttp {
    /// Measures and reports.
    ///
    /// # Errors
    /// When the server does not start or does not answer as it should.
    pub(crate) fn report(&self) -> Result<Report> {
        let results = self.measure()?;
        let mut report = Report::new("http", self.method(), &results)?;
        let closed = results.closed.iter();
        for (title, comparisons) in [
            ("Closed loop: the most that gets through", closed.collect::<Vec<_>>()),
            ("Open loop: latency from the instant a request was due", results.open.iter().collect()),
        ] {
            if !comparisons.is_empty() {
                report = report.table(table(title, &comparisons));
            }
        }
        let added = results.added_at_one_connection.iter().map(|added| {
            format!(
                "the gateway adds {} to the p50 of a lone request of {} bytes",
                time(added.p50_ns),
                added.body_bytes
            )
        });
        let limits = results.closed.iter().filter(|comparison| comparison.sender_limits()).map(|comparison| {
            format!(
                "at {} connections the sender was busy all the time: its speed limits both sides (--client-threads)",
                comparison.connections
            )
        });
        Ok(report.notes(added).notes(limits))
    }

    fn method(&self) -> String {
        format!(
            "gateway (wasm echo, fresh instance each) and axum::serve echo in one server process and runtime, \
             same request bytes; {} rounds, each {} s of one side and then of the other; {} sending threads, \
             keep-alive, no pipelining",
            self.rounds,
            self.seconds,
            self.threads()
        )
    }

    fn threads(&self) -> usize {
        self.client_threads.unwrap_or(1 + cores().saturating_sub(1) / 4)
    }

    /// # Errors
    /// As [`Self::report`].
    pub(crate) fn measure(&self) -> Result<Results> {
        let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
        let server = Server::start(dir.path(), self.server_threads)?;
        Api::connect(server.addresses.gateway)?.upload("echo", &guests::echo())?;
        let mut results =
            Results { closed: Vec::new(), open: Vec::new(), added_at_one_connection: Vec::new() };
        for &body_bytes in &self.body {
            let first = results.closed.len();
            for &connections in &self.connections {
                results.closed.push(self.compare(&server, body_bytes, connections, Pace::Closed)?);
            }
            let closed = &results.closed[first..];
            if let Some(lone) = closed.iter().find(|comparison| comparison.connections == 1) {
                let p50_ns = lone.gateway.p50_ns.median - lone.axum.p50_ns.median;
                results.added_at_one_connection.push(Added { body_bytes, p50_ns });
            }
            let peaks = closed.iter().map(|comparison| comparison.gateway.requests_per_second.median);
            let rate = match self.rate {
                Rate::Off => continue,
                Rate::PerSecond(rate) => rate,
                Rate::ShareOfPeak(share) => share * peaks.fold(f64::NAN, f64::max),
            };
            ensure!(rate.is_finite(), "--rate is a share of the peak, but no --connections were asked for");
            results.open.push(self.compare(&server, body_bytes, self.open_connections, Pace::Open(rate))?);
        }
        Ok(results)
    }

    fn compare(
        &self,
        server: &Server,
        body_bytes: usize,
        connections: usize,
        pace: Pace,
    ) -> Result<Comparison> {
        let body = vec![b'x'; body_bytes];
        let target = |address| -> Result<Target> {
            let echoed = Api::connect(address)?.invoke("echo", &body)?;
            ensure!(echoed == body, "the echo on {address} answered something else");
            Ok(Target::post(address, ECHO_PATH, &body))
        };
        let sides = [target(server.addresses.gateway)?, target(server.addresses.axum)?];
        let load = |duration| Load { connections, threads: self.threads(), duration, pace };
        for side in &sides {
            load::run(side, load(WARM_UP))?;
        }
        let mut turns: [Vec<Turn>; 2] = [Vec::new(), Vec::new()];
        for round in 1..=self.rounds.max(1) {
            progress(format_args!(
                "http: round {round}, {body_bytes} bytes, {connections} connections, {pace:?}"
            ));
            // Whoever goes first in one round goes second in the next.
            for at in if round % 2 == 1 { [0, 1] } else { [1, 0] } {
                load::run(&sides[at], load(TURN_UP))?;
                turns[at].push(turn(server, &sides[at], load(Duration::from_secs_f64(self.seconds)))?);
            }
        }
        let [gateway, axum] = turns;
        let ratios: Vec<f64> = gateway
            .iter()
            .zip(&axum)
            .map(|(ours, theirs)| ours.outcome.requests_per_second / theirs.outcome.requests_per_second)
            .collect();
        let cpu = gateway.iter().zip(&axum);
        let cpu = cpu.map(|(ours, theirs)| ours.server_cpu_ns_per_request / theirs.server_cpu_ns_per_request);
        Ok(Comparison {
            body_bytes,
            connections,
            rate_per_second: if let Pace::Open(rate) = pace { Some(rate) } else { None },
            ratio: Spread::of(ratios.iter().copied()),
            cpu_ratio: Spread::of(cpu),
            ratios,
            gateway: Side::of(&gateway),
            axum: Side::of(&axum),
        })
    }
}

fn turn(server: &Server, target: &Target, load: Load) -> Result<Turn> {
    let sender = || cpu_time(std::process::id());
    let (server_before, sender_before) = (server.cpu_time()?, sender()?);
    let started = std::time::Instant::now();
    let outcome = load::run(target, load)?;
    let elapsed = started.elapsed().as_secs_f64();
    let server_cpu = (server.cpu_time()? - server_before).as_secs_f64();
    let sender_cpu = (sender()? - sender_before).as_secs_f64();
    Ok(Turn {
        server_cpu_ns_per_request: 1e9 * server_cpu / outcome.latencies.percentiles().count as f64,
        sender_busy: sender_cpu / elapsed / load.threads.min(load.connections) as f64,
        outcome,
    })
}

impl Side {
    fn of(turns: &[Turn]) -> Self {
        let mut all = Latencies::new();
        turns.iter().for_each(|turn| all.add(&turn.outcome.latencies));
        let spread = |figure: fn(&Turn) -> f64| Spread::of(turns.iter().map(figure));
        Self {
            requests_per_second: spread(|turn| turn.outcome.requests_per_second),
            p50_ns: spread(|turn| turn.outcome.latencies.p50_ns() as f64),
            latency: all.percentiles(),
            server_cpu_ns_per_request: spread(|turn| turn.server_cpu_ns_per_request),
            sender_busy: spread(|turn| turn.sender_busy),
            unsent: turns.iter().map(|turn| turn.outcome.unsent).sum(),
        }
    }
}

impl Comparison {
    fn sender_limits(&self) -> bool {
        self.gateway.sender_busy.median > BUSY_SENDER || self.axum.sender_busy.median > BUSY_SENDER
    }
}

fn table(title: &str, comparisons: &[&Comparison]) -> Table {
    let columns = [
        "body",
        "conns",
        "side",
        "req/s (min..max)",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "server CPU/req",
        "ratio (min..max)",
    ];
    let mut table = Table::new(title, columns);
    for comparison in comparisons {
        let sides = [("gateway", &comparison.gateway), ("axum", &comparison.axum)];
        for (name, side) in sides {
            let unsent = if side.unsent == 0 { String::new() } else { format!(", {} unsent", side.unsent) };
            table.row([
                if name == "gateway" { format!("{} B", comparison.body_bytes) } else { String::new() },
                if name == "gateway" { comparison.connections.to_string() } else { String::new() },
                name.to_owned(),
                side.requests_per_second.text(whole) + &unsent,
                time_of(side.latency.p50_ns),
                time_of(side.latency.p90_ns),
                time_of(side.latency.p99_ns),
                time_of(side.latency.p999_ns),
                time(side.server_cpu_ns_per_request.median),
                match name {
                    "gateway" => comparison.ratio.text(ratio),
                    _ => format!("CPU {}", comparison.cpu_ratio.text(ratio)),
                },
            ]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_or_a_share_or_off() {
        assert_eq!(parse_rate("50%"), Ok(Rate::ShareOfPeak(0.5)));
        assert_eq!(parse_rate("2000"), Ok(Rate::PerSecond(2000.0)));
        assert_eq!(parse_rate("off"), Ok(Rate::Off));
        for bad in ["", "%", "-1", "0", "inf", "fast"] {
            assert!(parse_rate(bad).is_err(), "{bad:?}");
        }
    }
}
