//! What is counted of the queue.

use std::sync::{Arc, Weak};
use std::time::SystemTime;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounterVec, IntGauge, Opts, Registry};

use super::book::Book;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Retried,
    Dead,
    Cancelled,
}

/// Counters, and gauges that are read when Prometheus asks.
#[derive(Debug)]
pub(super) struct QueueMetrics {
    completed: IntCounterVec,
}

impl QueueMetrics {
    /// # Errors
    /// When they are registered already.
    pub(super) fn register(registry: &Registry, book: &Arc<Mutex<Book>>) -> Result<Self, prometheus::Error> {
        let opts =
            Opts::new("bramble_queue_completed_total", "Runs of queued invocations, by what became of them");
        let completed = IntCounterVec::new(opts, &["outcome"])?;
        registry.register(Box::new(completed.clone()))?;
        registry.register(Box::new(Gauges::new(book)?))?;
        Ok(Self { completed })
    }

    pub(super) fn completed(&self, outcome: Outcome) {
        let label = match outcome {
            Outcome::Done => "done",
            Outcome::Retried => "retried",
            Outcome::Dead => "dead",
            Outcome::Cancelled => "cancelled",
        };
        self.completed.with_label_values(&[label]).inc();
    }
}

struct Gauges {
    book: Weak<Mutex<Book>>,
    depth: GaugeVec,
    oldest: GaugeVec,
    running: GaugeVec,
    dead: IntGauge,
    bytes: IntGauge,
}

impl Gauges {
    fn new(book: &Arc<Mutex<Book>>) -> Result<Self, prometheus::Error> {
        let by_name = |name: &str, help: &str| GaugeVec::new(Opts::new(name, help), &["function_name"]);
        Ok(Self {
            book: Arc::downgrade(book),
            depth: by_name("bramble_queue_depth", "Queued invocations that wait, retries included")?,
            oldest: by_name(
                "bramble_queue_oldest_seconds",
                "How long the first queued invocation has waited",
            )?,
            running: by_name("bramble_queue_running", "Queued invocations that run")?,
            dead: IntGauge::new("bramble_queue_dead_letters", "Queued invocations that were given up")?,
            bytes: IntGauge::new(
                "bramble_queue_bytes",
                "Bytes of the queued invocations, dead letters included",
            )?,
        })
    }
}

impl Collector for Gauges {
    fn desc(&self) -> Vec<&Desc> {
        let mut all = self.depth.desc();
        all.extend(self.oldest.desc());
        all.extend(self.running.desc());
        all.extend(self.dead.desc());
        all.extend(self.bytes.desc());
        all
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(book) = self.book.upgrade() else { return Vec::new() };
        let (depths, totals, dead) = {
            let book = book.lock();
            (book.depths(SystemTime::now()), book.totals(), book.dead_letters())
        };
        for gauge in [&self.depth, &self.oldest, &self.running] {
            gauge.reset();
        }
        for depth in depths {
            let name = [depth.function.as_str()];
            self.depth.with_label_values(&name).set(f64::from(depth.waiting));
            let oldest = depth.oldest.map_or(0.0, |oldest| oldest.as_secs_f64());
            self.oldest.with_label_values(&name).set(oldest);
            self.running.with_label_values(&name).set(f64::from(depth.running));
        }
        self.dead.set(i64::try_from(dead).unwrap_or(i64::MAX));
        self.bytes.set(i64::try_from(totals.bytes).unwrap_or(i64::MAX));
        let mut families = self.depth.collect();
        families.extend(self.oldest.collect());
        families.extend(self.running.collect());
        families.extend(self.dead.collect());
        families.extend(self.bytes.collect());
        families
    }
}
