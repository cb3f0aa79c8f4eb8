//! From no replica to an answer: by a request to the gateway, and by hand.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;
use serde_json::json;

use super::docker::Place;
use super::namespace::{ask, within};
use super::stage::{LIMIT, Stage, WATCHDOG_PORT};
use crate::load::post;
use crate::report::progress;
use crate::stats::{Spread, ratio, time};
use crate::table::Table;
use crate::wait;

/// By hand: how often the Swarm is asked for the task, and then the watchdog.
const TASK_INTERVAL: Duration = Duration::from_millis(5);
const PROBE_INTERVAL: Duration = Duration::from_millis(2);
/// How long a container is paused.
const PAUSED: Duration = Duration::from_millis(20);
/// After the end of a task, for the daemon to finish with it.
const REST: Duration = Duration::from_millis(500);

const BODY: &[u8] = b"wake up";

/// What was measured, in nanoseconds.
#[derive(Debug, Serialize)]
pub(super) struct Results {
    /// One request to a function without replicas, until its answer was there.
    pub(super) gateway_ns: Vec<f64>,
    /// A service scaled from 0 to 1 by the daemon's API, until its watchdog answered.
    pub(super) bare_ns: Vec<f64>,
    /// Gateway to bare; one for each run.
    pub(super) ratio: Spread,
}

/// A frozen function, in nanoseconds.
#[derive(Debug, Serialize)]
pub(super) struct Frozen {
    /// One request to a frozen function, until its answer was there.
    pub(super) thaw_ns: Vec<f64>,
    /// The request behind it.
    pub(super) warm_ns: Vec<f64>,
    /// Docker's own thaw of an equal container, until its watchdog answered.
    pub(super) bare_ns: Vec<f64>,
    /// Frozen to bare; one for each run.
    pub(super) ratio: Spread,
}

/// Starts a function and an equal service from nothing, in turns.
///
/// # Errors
/// When one does not start.
pub(super) fn measure(stage: &Stage, runs: usize) -> Result<Results> {
    // Its replica keeps the node's end of the network alive: without one both sides take longer.
    stage.deploy("keeper", super::ECHOIT, &json!({}))?;
    let function = stage.deploy("cold", super::ECHOIT, &json!({}))?;
    let bare = stage.name("bare");
    stage.docker.copy_service(&function, &bare)?;
    let (mut gateway_ns, mut bare_ns) = (Vec::new(), Vec::new());
    // The first run is for warming up.
    for run in 0..=runs {
        progress(format_args!("0 to 1, run {run} of {runs}"));
        stage.api()?.scale(&function, 0)?;
        stage.docker.scale(&bare, 0)?;
        stage.gone(&function)?;
        stage.gone(&bare)?;
        for side in [run % 2, (run + 1) % 2] {
            wait::go_on()?;
            wait::pause(REST);
            let (times, took) = match side {
                0 => (&mut gateway_ns, through_gateway(stage, &function)?),
                _ => (&mut bare_ns, by_hand(stage, &bare)?),
            };
            if run > 0 {
                times.push(took.as_nanos() as f64);
            }
        }
    }
    let ratios = gateway_ns.iter().zip(&bare_ns).map(|(gateway, bare)| gateway / bare);
    Ok(Results { ratio: Spread::of(ratios), gateway_ns, bare_ns })
}

/// Freezes a function and calls it, and the same by hand with an equal service, so often in turns.
///
/// # Errors
/// When one cannot be frozen or does not answer.
pub(super) fn measure_frozen(stage: &Stage, runs: usize) -> Result<Frozen> {
    let name = stage.deploy("frozen", super::ECHOIT, &json!({}))?;
    let bare = stage.name("paused");
    stage.docker.copy_service(&name, &bare)?;
    stage.docker.scale(&bare, 1)?;
    let (container, place) = (stage.container(&bare, TASK_INTERVAL)?, stage.place(&bare, TASK_INTERVAL)?);
    first_answer(place)?;
    let mut api = stage.api()?;
    let (mut thaw_ns, mut warm_ns, mut bare_ns) = (Vec::new(), Vec::new(), Vec::new());
    // The first run is for warming up.
    for run in 0..=runs {
        progress(format_args!("frozen, run {run} of {runs}"));
        let done = api.request("POST", &format!("/system/freeze-function/{name}"), None)?;
        ensure!(done["frozen"] == 1, "one replica was to be frozen: {done}");
        stage.docker.pause(&container)?;
        wait::pause(PAUSED);
        let started = Instant::now();
        stage.docker.unpause(&container)?;
        first_answer(place)?;
        let bare = started.elapsed();
        wait::pause(PAUSED);
        let mut invoke = || -> Result<Duration> {
            let started = Instant::now();
            ensure!(api.invoke(&name, BODY)? == BODY, "{name} does not echo");
            Ok(started.elapsed())
        };
        let (thaw, warm) = (invoke()?, invoke()?);
        if run > 0 {
            thaw_ns.push(thaw.as_nanos() as f64);
            warm_ns.push(warm.as_nanos() as f64);
            bare_ns.push(bare.as_nanos() as f64);
        }
    }
    let ratio = Spread::of(thaw_ns.iter().zip(&bare_ns).map(|(thaw, bare)| thaw / bare));
    Ok(Frozen { thaw_ns, warm_ns, bare_ns, ratio })
}

fn through_gateway(stage: &Stage, function: &str) -> Result<Duration> {
    let mut api = stage.api()?;
    let started = Instant::now();
    let answer = api.invoke(function, BODY)?;
    let took = started.elapsed();
    ensure!(answer == BODY, "{function} does not echo");
    Ok(took)
}

fn by_hand(stage: &Stage, service: &str) -> Result<Duration> {
    let started = Instant::now();
    stage.docker.scale(service, 1)?;
    let place = stage.place(service, TASK_INTERVAL)?;
    first_answer(place)?;
    Ok(started.elapsed())
}

/// Asks a watchdog from within its network until it answers.
fn first_answer(place: Place) -> Result<()> {
    let address = SocketAddr::new(place.ip, WATCHDOG_PORT);
    let request = post(address, "/", BODY);
    within(place.pid, || {
        wait::until("the first answer", LIMIT, PROBE_INTERVAL, || {
            Ok(ask(address, &request).filter(|(status, body)| *status == 200 && body == BODY).map(drop))
        })
    })
}

/// For people.
pub(super) fn table(cold: Option<&Results>, frozen: Option<&Frozen>) -> Table {
    let title = "From 0 replicas, and from a frozen one, to the answer to one request";
    let mut table = Table::new(title, ["what", "runs", "time (min..max)", "ratio (min..max)"]);
    let mut row = |what: &str, times: &[f64], ratio: String| {
        let spread = Spread::of(times.iter().copied());
        table.row([what.to_owned(), times.len().to_string(), spread.text(time), ratio]);
    };
    if let Some(cold) = cold {
        row("0 to 1 by a request to the gateway", &cold.gateway_ns, cold.ratio.text(ratio));
        row("0 to 1 by hand, to the watchdog's first answer", &cold.bare_ns, String::new());
    }
    if let Some(frozen) = frozen {
        row("frozen, by a request to the gateway", &frozen.thaw_ns, frozen.ratio.text(ratio));
        row("unpaused by hand, to the watchdog's first answer", &frozen.bare_ns, String::new());
        row("the request behind the first", &frozen.warm_ns, String::new());
    }
    table
}
