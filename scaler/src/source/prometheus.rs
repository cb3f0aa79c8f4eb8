//! The load as a Prometheus has it, one query per signal for all functions.
//!
//! The properties that must hold: a tick's queries end within [`QUERY_LIMIT`] and hold at most
//! [`MAX_ANSWER_BYTES`] each; how old a sample is, is told by Prometheus' own clock alone; a value
//! that is no finite number, and a function that is not ours, are as if they were not there.

mod answer;
mod client;

use std::collections::HashMap;
use std::time::Duration;

use bramble_provider::{DEFAULT_NAMESPACE, HttpUrl, Runtime};

use self::answer::Sample;
use self::client::Client;
use super::promql::{Queries, Query, Selector};
use super::{Source, SourceError};
use crate::load::Load;
use crate::target::{Counters, Observed};

/// Longest that all queries of one tick may take, from the connection to the last byte.
const QUERY_LIMIT: Duration = Duration::from_secs(5);

/// Largest answer to one query that is read; 10,000 functions are about 1 MiB.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// How to ask a Prometheus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusConfig {
    /// Where it is.
    pub url: HttpUrl,
    /// Which series are this gateway's.
    pub selector: Selector,
    /// How far back two scrapes may be that make a rate, and how old a sample may be: longer than two
    /// scrape intervals.
    pub window: Duration,
}

/// Asks a Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    client: Client,
    queries: Queries,
    window: Duration,
    limit: Duration,
}

impl Prometheus {
    /// Nothing is asked yet.
    pub fn new(config: PrometheusConfig) -> Self {
        let PrometheusConfig { url, selector, window } = config;
        let queries = Queries::new(&selector, window);
        Self { client: Client::new(url), queries, window, limit: QUERY_LIMIT }
    }

    /// Asks one thing of all functions, and puts it into their rows.
    async fn ask(
        &self,
        query: &Query,
        places: &HashMap<&str, usize>,
        rows: &mut [Row],
        put: fn(&mut Row, Sample<'_>),
    ) -> Result<(), SourceError> {
        let answer = self.client.ask(query).await?;
        let put = |sample: Sample<'_>| {
            if let Some(place) = places.get(own_name(sample.function)) {
                put(&mut rows[*place], sample);
            }
        };
        answer::each(&answer, put).map_err(|reason| self.client.garbage(reason))
    }

    /// One row for each function, in their order. One query after the other: a single answer is held.
    async fn rows(&self, functions: &[Observed]) -> Result<Vec<Row>, SourceError> {
        let places: HashMap<&str, usize> = functions
            .iter()
            .enumerate()
            .map(|(place, observed)| (observed.function.name().as_str(), place))
            .collect();
        let mut rows = vec![Row::default(); functions.len()];
        let Queries {
            scraped_at,
            started,
            rps,
            inflight,
            queued,
            queue_depth,
            cpu,
            begun_on_containers: begun,
            on_containers,
        } = &self.queries;
        self.ask(scraped_at, &places, &mut rows, |row, is| row.age = Some(is.at - is.value)).await?;
        self.ask(started, &places, &mut rows, |row, is| row.started = Some(is.value)).await?;
        self.ask(rps, &places, &mut rows, |row, is| row.rps = Some(is.value)).await?;
        self.ask(inflight, &places, &mut rows, |row, is| row.inflight = Some(is.value)).await?;
        self.ask(queued, &places, &mut rows, |row, is| row.queued = Some(is.value)).await?;
        self.ask(queue_depth, &places, &mut rows, |row, is| row.queue_depth = Some(is.value)).await?;
        self.ask(cpu, &places, &mut rows, |row, is| row.cpu = Some(is.value)).await?;
        if functions.iter().any(|observed| observed.state.runtime == Runtime::Hybrid) {
            self.ask(begun, &places, &mut rows, |row, is| row.begun_on_containers = Some(is.value)).await?;
            self.ask(on_containers, &places, &mut rows, |row, is| row.on_containers = Some(is.value)).await?;
        }
        Ok(rows)
    }
}

/// The answers for one function.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    /// Seconds from its last scrape to the answer.
    age: Option<f64>,
    started: Option<f64>,
    rps: Option<f64>,
    inflight: Option<f64>,
    queued: Option<f64>,
    /// Only while there are any: the series ends with the last one.
    queue_depth: Option<f64>,
    cpu: Option<f64>,
    /// Of a hybrid: what its containers took, in all and per second.
    begun_on_containers: Option<f64>,
    on_containers: Option<f64>,
}

impl Source for Prometheus {
    fn name(&self) -> &'static str {
        "prometheus"
    }

    async fn loads(&mut self, functions: &[Observed], _: Duration) -> Result<Vec<Load>, SourceError> {
        let rows = tokio::time::timeout(self.limit, self.rows(functions))
            .await
            .unwrap_or_else(|_| Err(self.client.timed_out(self.limit)))?;
        Ok(rows.into_iter().zip(functions).map(|(row, observed)| self.load(row, observed)).collect())
    }
}

impl Prometheus {
    fn load(&self, row: Row, observed: &Observed) -> Load {
        // A sample from the future is one of a clock that stepped; nothing is known of its age.
        if !row.age.is_some_and(|age| (0.0..=self.window.as_secs_f64()).contains(&age)) {
            return Load::default();
        }
        if observed.state.runtime == Runtime::Hybrid {
            return on_containers(row, observed);
        }
        let waiting = row.queued.unwrap_or(0.0);
        Load {
            rps: rate(row.rps, row.started),
            inflight: row.inflight.map(|inflight| (inflight - waiting).max(0.0)),
            cpu_cores: row.cpu,
            queued: row.queued.map(|queued| queued + row.queue_depth.unwrap_or(0.0)),
            waiting: None,
            idle_for: Some(Duration::ZERO),
        }
    }
}

/// A series of a count begins with the first invocation. Without it there was none; with it but without a rate there
/// was one scrape, which tells nothing.
fn rate(rate: Option<f64>, count: Option<f64>) -> Option<f64> {
    rate.or_else(|| count.is_none().then_some(0.0))
}

/// The load of a hybrid's containers, which are its replicas. The series of a function are of both halves, so what
/// runs or waits now is the registry's to say.
fn on_containers(row: Row, observed: &Observed) -> Load {
    let Counters { inflight, queued, queue_depth, .. } = observed.counters;
    Load {
        rps: rate(row.on_containers, row.begun_on_containers),
        inflight: Some(inflight.saturating_sub(queued).into()),
        cpu_cores: row.cpu,
        queued: Some(queued.saturating_add(queue_depth).into()),
        waiting: None,
        idle_for: Some(Duration::ZERO),
    }
}

/// The original writes the default namespace behind a name.
fn own_name(text: &str) -> &str {
    text.strip_suffix(DEFAULT_NAMESPACE).and_then(|text| text.strip_suffix('.')).unwrap_or(text)
}

#[cfg(test)]
mod tests;
