//! What is told of a function, and of two of them.

use serde::Serialize;

use super::Run;
use super::contender::{Contender, Turn};
use super::replay::Answer;
use crate::stats::{Latencies, Percentiles, Spread, ratio, time, time_of};
use crate::table::Table;

/// A program in one way, over all sessions.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) contender: Contender,
    pub(super) requests: usize,
    /// Answers that were not 200, or not what was expected.
    pub(super) errors: usize,
    pub(super) mean_ns: f64,
    pub(super) latency: Percentiles,
    /// Of the first request of each session, when no container was there.
    pub(super) first_ns: Spread,
    pub(super) by_wasm: f64,
    pub(super) by_container: f64,
    /// Containers asked for, over time.
    pub(super) container_seconds: f64,
    /// What the router had measured in the end: of the module, of the containers.
    pub(super) service_seconds: [Option<f64>; 2],
    /// Mean latency of each session.
    pub(super) session_mean_ns: Vec<f64>,
}

impl Figures {
    pub(super) fn of(contender: Contender, turns: &[Turn], service_seconds: [Option<f64>; 2]) -> Self {
        let answers = || turns.iter().flat_map(|turn| &turn.answers);
        let mut latencies = Latencies::new();
        answers().for_each(|answer| latencies.record(answer.latency));
        let firsts = turns.iter().filter_map(|turn| turn.answers.first());
        Self {
            contender,
            requests: answers().count(),
            errors: answers().filter(|answer| !answer.right).count(),
            mean_ns: mean(answers().map(nanos)),
            latency: latencies.percentiles(),
            first_ns: Spread::of(firsts.map(nanos)),
            by_wasm: turns.iter().map(|turn| turn.by_wasm).sum(),
            by_container: turns.iter().map(|turn| turn.by_container).sum(),
            container_seconds: turns.iter().map(|turn| turn.container_seconds).sum(),
            service_seconds,
            session_mean_ns: turns.iter().map(|turn| mean(turn.answers.iter().map(nanos))).collect(),
        }
    }

    /// Our mean latency to theirs: over all requests, and the spread over the sessions.
    pub(super) fn against(&self, other: &Self) -> Ratio {
        let each =
            self.session_mean_ns.iter().zip(&other.session_mean_ns).map(|(ours, theirs)| ours / theirs);
        Ratio { all: self.mean_ns / other.mean_ns, sessions: Spread::of(each) }
    }
}

/// One mean latency to another.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Ratio {
    /// Of the means over all requests.
    pub(super) all: f64,
    /// Of the means of each session.
    pub(super) sessions: Spread,
}

impl Ratio {
    pub(super) fn text(&self) -> String {
        format!("{}; sessions {}", ratio(self.all), self.sessions.text(ratio))
    }
}

fn nanos(answer: &Answer) -> f64 {
    answer.latency.as_nanos() as f64
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

/// For people.
pub(super) fn table(run: &Run) -> Table {
    let title = format!("{}: {} requests to each", run.program.text(), run.requests);
    let columns = [
        "function",
        "errors",
        "mean",
        "p50",
        "p99",
        "max",
        "first after idle (min..max)",
        "by wasm",
        "by containers",
        "container-s",
        "router's means",
    ];
    let mut table = Table::new(title, columns);
    for figures in &run.functions {
        let share = |count: f64| format!("{:.1}%", 100.0 * count / figures.requests.max(1) as f64);
        let known = |at: usize| figures.service_seconds[at].map_or("?".to_owned(), |known| time(known * 1e9));
        table.row([
            figures.contender.text().to_owned(),
            figures.errors.to_string(),
            time(figures.mean_ns),
            time_of(figures.latency.p50_ns),
            time_of(figures.latency.p99_ns),
            time_of(figures.latency.max_ns),
            figures.first_ns.text(time),
            share(figures.by_wasm),
            share(figures.by_container),
            format!("{:.1}", figures.container_seconds),
            if figures.contender.is_hybrid() { format!("{}, {}", known(0), known(1)) } else { String::new() },
        ]);
    }
    table
}

/// Hybrids against each runtime alone.
pub(super) fn ratios(run: &Run) -> Table {
    let title = format!("{}: mean response against one runtime alone", run.program.text());
    let mut table = Table::new(title, ["policy", "to wasm alone", "to containers alone"]);
    for hybrid in run.hybrids() {
        let against = |other| run.of(other).map_or_else(String::new, |other| hybrid.against(other).text());
        table.row([
            hybrid.contender.text().to_owned(),
            against(Contender::Wasm),
            against(Contender::Container),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn turn(latencies_us: &[u64]) -> Turn {
        let answer = |&us| Answer { latency: Duration::from_micros(us), right: us < 1_000 };
        Turn {
            answers: latencies_us.iter().map(answer).collect(),
            by_wasm: 1.0,
            by_container: 2.0,
            container_seconds: 0.5,
        }
    }

    #[test]
    fn figures_are_over_all_requests_and_of_each_session() {
        let ours = Figures::of(Contender::Bridge, &[turn(&[1, 2]), turn(&[6])], [None; 2]);
        assert_eq!((ours.requests, ours.errors, ours.by_wasm, ours.by_container), (3, 0, 2.0, 4.0));
        assert_eq!((ours.mean_ns, ours.container_seconds), (3e3, 1.0));
        assert_eq!((ours.first_ns.min, ours.first_ns.max), (1e3, 6e3));
        let theirs = Figures::of(Contender::Wasm, &[turn(&[3, 3]), turn(&[1_000])], [None; 2]);
        assert_eq!(theirs.errors, 1);
        let ratio = ours.against(&theirs);
        assert_eq!((ratio.sessions.min, ratio.sessions.max), (6e3 / 1e6, 0.5));
    }
}
