//! One trace, replayed for every contender: as a table and as a plot.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::controller::{Contender, SECOND};
use super::trace::{Kind, Trace};
use super::{POINTS, Replica, seconds};
use crate::plot::{self, Axis, Key, Lines, Scale, Series, Tint, Unit};
use crate::stats::{Percentiles, ratio, time_of, whole};
use crate::table::Table;

/// One trace, replayed for every contender.
#[derive(Debug, Serialize)]
pub(super) struct Replay {
    pub(super) trace: Kind,
    pub(super) replicas: Replica,
    pub(super) functions: usize,
    pub(super) seconds: u64,
    pub(super) rows: Vec<Row>,
}

/// What came of one contender.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) contender: Contender,
    pub(super) requests: u64,
    pub(super) refused: u64,
    pub(super) cold: u64,
    pub(super) thawed: u64,
    pub(super) latency: Percentiles,
    pub(super) wait: Percentiles,
    pub(super) utilisation: f64,
    pub(super) replica_seconds: f64,
    pub(super) frozen_replica_seconds: f64,
    pub(super) moves: u64,
    pub(super) reversals: u64,
    #[serde(skip)]
    pub(super) series: Vec<f64>,
}

impl Replay {
    fn title(&self) -> String {
        let functions = if self.functions == 1 { "one function" } else { "functions" };
        let count = if self.functions == 1 { String::new() } else { format!("{} ", self.functions) };
        let minutes = self.seconds / 60;
        format!("{}, {}: {count}{functions}, {minutes} minutes", self.trace.text(), self.replicas.text())
    }

    pub(super) fn table(&self) -> Table {
        let columns = [
            "who decides",
            "use",
            "cold",
            "thawed",
            "refused",
            "p50",
            "p99",
            "p99 wait",
            "replica s",
            "frozen s",
            "moves",
            "reversals",
        ];
        let mut table = Table::new(self.title(), columns);
        for row in &self.rows {
            table.row([
                row.contender.text().to_owned(),
                ratio(row.utilisation),
                row.cold.to_string(),
                row.thawed.to_string(),
                row.refused.to_string(),
                time_of(row.latency.p50_ns),
                time_of(row.latency.p99_ns),
                time_of(row.wait.p99_ns),
                whole(row.replica_seconds),
                whole(row.frozen_replica_seconds),
                row.moves.to_string(),
                row.reversals.to_string(),
            ]);
        }
        table
    }

    pub(super) fn plot(&self, dir: &Path, offered: &[f64]) -> Result<()> {
        let path = dir.join(format!("{}-{}.svg", self.trace.text(), self.replicas.text()));
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let text = plot::file(&self.lines(offered));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn lines(&self, offered: &[f64]) -> Lines {
        let step_seconds = self.seconds as f64 / POINTS as f64;
        let series = |name: &str, tint, dash, values: &[f64]| Series {
            name: name.to_owned(),
            tint,
            dash,
            points: (0_u32..)
                .zip(values)
                .map(|(at, value)| ((f64::from(at) + 0.5) * step_seconds, *value))
                .collect(),
            dots: false,
        };
        let tints = [Tint::Blue, Tint::Teal, Tint::Purple, Tint::Orange, Tint::Ochre];
        let rows = self.rows.iter().zip(tints).enumerate();
        let all = self.rows.iter().flat_map(|row| &row.series).chain(offered);
        let most = all.copied().fold(1.0, f64::max);
        let title = format!("Replicas over time: {}", self.title());
        Lines {
            about: format!(
                "How many replicas each policy keeps while the load changes, up to {most:.0}; the area is what the \
                 load keeps busy."
            ),
            title,
            x: Axis { name: String::new(), scale: Scale::until(self.seconds as f64), unit: Unit::Clock },
            y: Axis { name: "replicas".to_owned(), scale: Scale::from_zero(most), unit: Unit::Count },
            area: Some(series("busy", Tint::Grey, 0, offered)),
            lines: rows
                .map(|(at, (row, tint))| series(row.contender.text(), tint, at, &row.series))
                .collect(),
            limits: Vec::new(),
            key: Key::Below,
            frame_height: 240.0,
        }
    }
}

/// Replicas that the requests of each stretch of time would keep busy all the time.
pub(super) fn offered(trace: &Trace, concurrency: u32) -> Vec<f64> {
    let mut busy = vec![0.0; usize::try_from(POINTS).unwrap_or(1)];
    let step = trace.seconds * SECOND / POINTS;
    for requests in (0..trace.functions).map(|function| trace.requests(function)) {
        for arrival in &requests.arrivals {
            let at = usize::try_from(arrival / step).unwrap_or(usize::MAX);
            if let Some(busy) = busy.get_mut(at) {
                *busy += requests.service / seconds(step) / f64::from(concurrency);
            }
        }
    }
    busy
}
