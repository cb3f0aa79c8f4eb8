//! Requests to a function that runs: through the gateway, and to its watchdog directly.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use super::namespace::within;
use super::stage::{Stage, WATCHDOG_PORT};
use crate::contest::{Contender, Contest};
use crate::load::{self, Load, Pace, Target};
use crate::stats::{ratio, time, time_of, whole};
use crate::table::Table;

/// Bytes of the body.
const BODY_BYTES: usize = 100;
/// Between two looks at tasks.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// How a watchdog runs its function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    /// A process for each request.
    Fork,
    /// The same, started before the request.
    Prefork,
    /// A server beside the watchdog.
    Http,
}

/// Gateway (first) and watchdog (second) under one load.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    pub(super) mode: Mode,
    pub(super) connections: usize,
    #[serde(flatten)]
    pub(super) contest: Contest,
}

impl Mode {
    pub(super) const ALL: [Self; 3] = [Self::Fork, Self::Prefork, Self::Http];

    /// In a word.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Prefork => "prefork",
            Self::Http => "http",
        }
    }

    /// The image, and the variables of an echo in this mode.
    fn function(self) -> (&'static str, Value) {
        match self {
            Self::Fork => (super::ECHOIT, json!({})),
            Self::Prefork => (super::ECHOIT, json!({ "prefork": "8", "cgi_headers": "false" })),
            Self::Http => {
                let url = "http://127.0.0.1:8082";
                let process = "/conform serve 8082";
                (super::CONFORM, json!({ "mode": "http", "fprocess": process, "http_upstream_url": url }))
            }
        }
    }
}

/// Deploys an echo in each mode, and measures; the functions stay.
///
/// # Errors
/// When a function does not come up or does not answer as it should.
pub(super) fn measure(
    stage: &Stage,
    connections: &[usize],
    rounds: usize,
    seconds: f64,
) -> Result<Vec<Comparison>> {
    let mut comparisons = Vec::new();
    for mode in Mode::ALL {
        let (image, env) = mode.function();
        let name = stage.deploy(mode.text(), image, &env)?;
        let place = stage.place(&name, LOOK_INTERVAL)?;
        let body = [b'x'; BODY_BYTES];
        let through = Target::post(stage.address, &format!("/function/{name}"), &body);
        let direct = Target::post(SocketAddr::new(place.ip, WATCHDOG_PORT), "/", &body);
        let contenders = [
            Contender { run: Box::new(|load| load::run(&through, load)), pid: Some(stage.gateway_pid) },
            Contender {
                run: Box::new(|load| within(place.pid, || load::run(&direct, load))),
                pid: Some(place.pid),
            },
        ];
        for &connections in connections {
            let duration = Duration::from_secs_f64(seconds);
            let load = Load { connections, threads: load::default_threads(), duration, pace: Pace::Closed };
            let what = format!("warm, {}, connections: {connections}", mode.text());
            let contest = Contest::hold(&what, &contenders, load, rounds)?;
            comparisons.push(Comparison { mode, connections, contest });
        }
    }
    Ok(comparisons)
}

/// For people.
pub(super) fn table(comparisons: &[Comparison]) -> Table {
    let title = "Warm: through the gateway, and the watchdog directly from its network (ratio of the rates)";
    let columns = [
        "mode",
        "conns",
        "side",
        "req/s (min..max)",
        "p50",
        "p99",
        "CPU/req of its process",
        "ratio (min..max)",
    ];
    let mut table = Table::new(title, columns);
    for Comparison { mode, connections, contest } in comparisons {
        for (at, side) in contest.sides.iter().enumerate() {
            let first = |text: String| if at == 0 { text } else { String::new() };
            table.row([
                first(mode.text().to_owned()),
                first(connections.to_string()),
                ["gateway", "direct"][at.min(1)].to_owned(),
                side.requests_per_second.text(whole),
                time_of(side.latency.p50_ns),
                time_of(side.latency.p99_ns),
                side.cpu_ns_per_request.map(|spread| time(spread.median)).unwrap_or_default(),
                first(contest.rate_ratio.text(ratio)),
            ]);
        }
    }
    table
}
