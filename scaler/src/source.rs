//! Where the load of every function is read from.
//!
//! In: the trait, and its two implementations. Out: what follows from a load. The property that must
//! hold: what is missing, stale or nonsense is `None` in the load, never a number.

mod own;
mod prometheus;
pub mod promql;

use std::future::Future;
use std::time::Duration;

use crate::load::Load;
use crate::target::Observed;

pub use own::OwnCounters;
pub use prometheus::{Prometheus, PrometheusConfig};

/// Reads the load of all functions at once.
pub trait Source: Send {
    /// What it is called in records: `gateway`, `prometheus`.
    fn name(&self) -> &'static str;

    /// The load of each of `functions`, in their order. `now` is the time since some start.
    ///
    /// Called once in every tick; the cost does not depend on the number of functions but for
    /// the size of an answer. It ends within a deadline of its own.
    ///
    /// # Errors
    /// [`SourceError`] when nothing is known of any function. Of a single one it is `None` in its load.
    fn loads(
        &mut self,
        functions: &[Observed],
        now: Duration,
    ) -> impl Future<Output = Result<Vec<Load>, SourceError>> + Send;
}

/// Why no load could be read. The tick changes nothing then.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nobody answers.
    #[error("cannot reach Prometheus at {url}: {reason}")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// What the socket said.
        reason: String,
    },
    /// It took too long.
    #[error("Prometheus at {url} did not answer within {limit:?}")]
    TimedOut {
        /// Where it is.
        url: String,
        /// The limit that was reached.
        limit: Duration,
    },
    /// It refused the query.
    #[error("Prometheus at {url} answered {status}: {message}")]
    Refused {
        /// Where it is.
        url: String,
        /// The status of its answer.
        status: u16,
        /// What it said, shortened.
        message: String,
    },
    /// It answered something else than the result of a query.
    #[error("Prometheus at {url} gave no answer to a query: {reason}; is it a Prometheus?")]
    Garbage {
        /// Where it is.
        url: String,
        /// What was wrong with it.
        reason: String,
    },
}

/// Any of the two, chosen by a setting.
#[derive(Debug)]
pub enum AnySource {
    /// The registry's own counters.
    Own(OwnCounters),
    /// A Prometheus.
    Prometheus(Box<Prometheus>),
}

impl AnySource {
    /// The Prometheus that is configured, else the registry's own counters.
    pub fn of(prometheus: Option<PrometheusConfig>) -> Self {
        match prometheus {
            None => Self::Own(OwnCounters::default()),
            Some(config) => Self::Prometheus(Box::new(Prometheus::new(config))),
        }
    }
}

impl Source for AnySource {
    fn name(&self) -> &'static str {
        match self {
            Self::Own(source) => source.name(),
            Self::Prometheus(source) => source.name(),
        }
    }

    async fn loads(&mut self, functions: &[Observed], now: Duration) -> Result<Vec<Load>, SourceError> {
        match self {
            Self::Own(source) => source.loads(functions, now).await,
            Self::Prometheus(source) => source.loads(functions, now).await,
        }
    }
}
