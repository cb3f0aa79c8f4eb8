//! What a whole tick costs in a real gateway: its time as the gateway tells it, and the processor time against
//! a gateway that does not scale.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use crate::api::Api;
use crate::gateway::GatewayProcess;
use crate::guests;
use crate::report::progress;

/// How long the ticks are counted.
const SPAN: Duration = Duration::from_secs(20);

/// Where the scaler of a gateway reads the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum From {
    /// Nowhere: it does not run.
    Nothing,
    /// The gateway's own counters.
    Gateway,
    /// A Prometheus that scrapes the gateway.
    Prometheus,
}

/// One gateway with many functions.
#[derive(Debug, Serialize)]
pub(crate) struct WholeTick {
    pub(crate) from: From,
    pub(crate) functions: usize,
    /// Mean seconds of a tick, waiting for Prometheus included.
    pub(crate) seconds: f64,
    /// Processor time of the whole gateway for each second, a Prometheus' scrapes included.
    pub(crate) cpu_part: f64,
}

/// Measures all three, one after the other; without a `prometheus` program the last is left out.
pub(crate) fn measure(program: &Path, functions: usize) -> Result<Vec<WholeTick>> {
    let mut results = Vec::new();
    for from in [From::Nothing, From::Gateway, From::Prometheus] {
        progress(format_args!("scale: {functions} functions in a gateway that scales by {from:?}"));
        match look(program, functions, from)? {
            Some(result) => results.push(result),
            None => progress("scale: there is no program `prometheus`: left out"),
        }
    }
    Ok(results)
}

fn look(program: &Path, functions: usize, from: From) -> Result<Option<WholeTick>> {
    let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
    let prometheus = free_address()?;
    let flags = match from {
        From::Nothing => vec!["--scaler=off".to_owned()],
        From::Gateway => Vec::new(),
        From::Prometheus => {
            vec![format!("--prometheus-url=http://{prometheus}"), "--prometheus-window=5s".to_owned()]
        }
    };
    let gateway = GatewayProcess::start_with(program, dir.path(), &flags)?;
    let metrics = gateway.metrics;
    let _prometheus = match from {
        From::Nothing | From::Gateway => None,
        From::Prometheus => match Prometheus::start(dir.path(), prometheus, metrics)? {
            None => return Ok(None),
            started => started,
        },
    };
    let mut api = Api::connect(gateway.address)?;
    let digest = api.put_module(&guests::echo())?;
    for at in 0..functions {
        let name = format!("tick-{at}");
        api.deploy(&name, &digest)?;
        api.invoke(&name, b"x")?;
    }
    drop(api);
    let (began, before) = (Instant::now(), Figures::read(metrics)?);
    // Nobody but Prometheus looks meanwhile: the metrics of so many functions are megabytes.
    pause();
    let after = Figures::read(metrics)?;
    let ticks = after.ticks - before.ticks;
    ensure!(ticks > 0.0 || from == From::Nothing, "the scaler did not tick in {SPAN:?}");
    let result = WholeTick {
        from,
        functions,
        seconds: if ticks > 0.0 { (after.tick_seconds - before.tick_seconds) / ticks } else { 0.0 },
        cpu_part: (after.cpu_seconds - before.cpu_seconds) / began.elapsed().as_secs_f64(),
    };
    gateway.stop()?;
    Ok(Some(result))
}

/// What a gateway counted.
struct Figures {
    ticks: f64,
    tick_seconds: f64,
    cpu_seconds: f64,
}

impl Figures {
    fn read(metrics: SocketAddr) -> Result<Self> {
        let text = Api::connect(metrics)?.get("/metrics")?;
        let text = String::from_utf8(text).context("the metrics are no text")?;
        let value = |name| value(&text, name).unwrap_or_default();
        Ok(Self {
            ticks: value("bramble_scaler_tick_seconds_count"),
            tick_seconds: value("bramble_scaler_tick_seconds_sum"),
            cpu_seconds: value("process_cpu_seconds_total"),
        })
    }
}

/// The value of a series without labels.
fn value(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line?.trim().parse().ok()
}

/// An address of this machine at which nobody listens now.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot bind a port")?;
    listener.local_addr().context("a listener has an address")
}

/// A Prometheus that scrapes one gateway each second; killed when it is dropped.
struct Prometheus {
    child: Child,
}

impl Prometheus {
    /// None when the program is not there.
    fn start(dir: &Path, address: SocketAddr, metrics: SocketAddr) -> Result<Option<Self>> {
        let config = dir.join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: bramble\n  static_configs: [{{targets: ['{metrics}']}}]\n"
        );
        std::fs::write(&config, text).context("cannot write a configuration for Prometheus")?;
        let started = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("tsdb").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--log.level=error"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        match started {
            Ok(child) => Ok(Some(Self { child })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => bail!("cannot start prometheus: {error}"),
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "the span that is measured")]
fn pause() {
    std::thread::sleep(SPAN);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_without_labels_is_found() {
        let text = "# HELP a_total x\na_total{b=\"c\"} 1\na_total_sum 3\na_total 2.5\n";
        assert_eq!(value(text, "a_total"), Some(2.5));
        assert_eq!(value(text, "b"), None);
    }
}
