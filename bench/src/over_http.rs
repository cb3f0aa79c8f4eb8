//! `http`: a function behind the gateway against a bare axum echo in the same process and runtime.
//!
//! Three questions: how much gets through at so many connections, how long it takes on a schedule,
//! and what the gateway adds to one lone request.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;

use crate::api::Api;
use crate::contest::{Contender, Contest};
use crate::guests;
use crate::load::{self, Load, Pace, Target};
use crate::report::Report;
use crate::server::{ECHO_PATH, Server};
use crate::stats::{Spread, ratio, time, time_of, whole};
use crate::table::Table;

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
}

/// Gateway (first) and axum (second) under one load.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) body_bytes: usize,
    pub(crate) connections: usize,
    /// Requests due in a second; `None` in the closed loop.
    pub(crate) rate_per_second: Option<f64>,
    #[serde(flatten)]
    pub(crate) contest: Contest,
}

impl OverHttp {
    /// Measures and reports.
    ///
    /// # Errors
    /// When the server does not start or does not answer as it should.
    pub(crate) fn report(&self) -> Result<Report> {
        let results = self.measure()?;
        let mut report = Report::new("http", self.method(), &results)?;
        if !results.closed.is_empty() {
            let title = "Closed loop: the most that gets through (ratio of the rates)";
            report = report.table(table(title, &results.closed, |contest| contest.rate_ratio));
        }
        if !results.open.is_empty() {
            let title = "Open loop: latency from the instant a request was due (ratio of the p50)";
            report = report.table(table(title, &results.open, |contest| contest.p50_ratio));
        }
        let added = results.closed.iter().filter(|comparison| comparison.connections == 1).map(|lone| {
            let added = lone.contest.p50_difference_ns.text(time);
            format!("the gateway adds {added} to the p50 of a lone request of {} bytes", lone.body_bytes)
        });
        let limits = results.closed.iter().filter(|comparison| comparison.contest.sender_limits()).map(|limited| {
            format!(
                "at {} connections the sender was busy all the time: its speed limits both sides (--client-threads)",
                limited.connections
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
        self.client_threads.unwrap_or_else(load::default_threads)
    }

    /// # Errors
    /// As [`Self::report`].
    pub(crate) fn measure(&self) -> Result<Results> {
        let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
        let server = Server::start(dir.path(), self.server_threads)?;
        Api::connect(server.addresses.gateway)?.upload("echo", &guests::echo())?;
        let mut results = Results { closed: Vec::new(), open: Vec::new() };
        for &body_bytes in &self.body {
            let first = results.closed.len();
            for &connections in &self.connections {
                results.closed.push(self.compare(&server, body_bytes, connections, Pace::Closed)?);
            }
            let closed = &results.closed[first..];
            let peaks =
                closed.iter().map(|comparison| comparison.contest.sides[0].requests_per_second.median);
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
        let contender = |address| -> Result<Contender<'_>> {
            let echoed = Api::connect(address)?.invoke("echo", &body)?;
            ensure!(echoed == body, "the echo on {address} answered something else");
            Ok(Contender::server(server, Target::post(address, ECHO_PATH, &body)))
        };
        let contenders = [contender(server.addresses.gateway)?, contender(server.addresses.axum)?];
        let duration = Duration::from_secs_f64(self.seconds);
        let load = Load { connections, threads: self.threads(), duration, pace };
        let what = format!("{body_bytes} bytes, connections: {connections}, {pace}");
        Ok(Comparison {
            body_bytes,
            connections,
            rate_per_second: if let Pace::Open(rate) = pace { Some(rate) } else { None },
            contest: Contest::hold(&what, &contenders, load, self.rounds)?,
        })
    }
}

fn table(title: &str, comparisons: &[Comparison], compared: fn(&Contest) -> Spread) -> Table {
    let mut table = Table::new(
        title,
        [
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
        ],
    );
    for Comparison { body_bytes, connections, contest, .. } in comparisons {
        let gateway = [format!("{body_bytes} B"), connections.to_string(), "gateway".to_owned()];
        let axum = [String::new(), String::new(), "axum".to_owned()];
        let cpu = contest.cpu_ratio.map(|compared| format!("CPU {}", compared.text(ratio)));
        let rows = [(gateway, compared(contest).text(ratio)), (axum, cpu.unwrap_or_default())];
        for ((head, last), side) in rows.into_iter().zip(&contest.sides) {
            let [body, connections, name] = head;
            let unsent = if side.unsent == 0 { String::new() } else { format!(", {} unsent", side.unsent) };
            table.row([
                body,
                connections,
                name,
                side.requests_per_second.text(whole) + &unsent,
                time_of(side.latency.p50_ns),
                time_of(side.latency.p90_ns),
                time_of(side.latency.p99_ns),
                time_of(side.latency.p999_ns),
                side.cpu_ns_per_request.map_or_else(String::new, |spent| time(spent.median)),
                last,
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
