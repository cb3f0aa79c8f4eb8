//! What the gateway counts, under the names that OpenFaaS' dashboards and alert rules know.
//!
//! In: the registry, the families, handles that are resolved once ([`FunctionMetrics`]), the text form.
//! Out: the wasm host's own metrics, which it registers itself, and the gauges that are read from
//! the registry of functions at scrape time (`functions::collector`).
//! The property that must hold: a function that was never invoked has no histogram.

mod function;
mod process;

use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder};

pub(crate) use function::Families;
pub use function::FunctionMetrics;

/// Upper bounds of the latency histograms, in seconds: the default ones, and finer ones below them
/// for what runs inside the process.
const BUCKETS_SECONDS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The gateway's registry and the families that are fed from requests.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    families: Families,
    requests_total: IntCounterVec,
    request_seconds: HistogramVec,
}

impl Metrics {
    /// Registers every family of the gateway, and the process' own figures.
    ///
    /// # Errors
    /// Never in practice: only when two families have one name.
    pub fn new(started_at: SystemTime) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let families = Families::register(&registry)?;
        let labels = ["method", "path", "status"];
        let requests_total =
            IntCounterVec::new(Opts::new("http_requests_total", "Requests to the API"), &labels)?;
        let request_seconds = HistogramVec::new(
            histogram("http_request_duration_seconds", "Time to answer an API request"),
            &labels,
        )?;
        registry.register(Box::new(requests_total.clone()))?;
        registry.register(Box::new(request_seconds.clone()))?;
        registry.register(Box::new(process::ProcessCollector::new(started_at)?))?;
        Ok(Self { registry, families, requests_total, request_seconds })
    }

    /// Where other parts register what they count.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The families with a `function_name`.
    pub(crate) fn families(&self) -> &Families {
        &self.families
    }

    /// Counts one API request. `path` must be a route, not what the client wrote.
    pub fn count_request(&self, method: &Method, path: &str, status: StatusCode, elapsed: Duration) {
        let labels = [method_label(method), path, status.as_str()];
        self.requests_total.with_label_values(&labels).inc();
        self.request_seconds.with_label_values(&labels).observe(elapsed.as_secs_f64());
    }

    /// Everything in Prometheus' text form 0.0.4. Takes time in proportion to the number of series,
    /// so it does not belong on a thread that serves requests.
    ///
    /// # Errors
    /// When a family is malformed, which is a bug.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

pub(crate) fn histogram(name: &str, help: &str) -> HistogramOpts {
    HistogramOpts::new(name, help).buckets(BUCKETS_SECONDS.to_vec())
}

/// The method, when it is one that HTTP defines: a client must not be able to invent labels.
fn method_label(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::POST
        | Method::PUT
        | Method::DELETE
        | Method::HEAD
        | Method::OPTIONS
        | Method::PATCH
        | Method::TRACE
        | Method::CONNECT => method.as_str(),
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_requests_and_the_process() {
        let metrics = Metrics::new(SystemTime::now()).unwrap();
        let odd = Method::from_bytes(b"BREW").unwrap();
        metrics.count_request(&Method::GET, "/system/info", StatusCode::OK, Duration::from_millis(1));
        metrics.count_request(&odd, "/system/info", StatusCode::METHOD_NOT_ALLOWED, Duration::ZERO);
        let text = metrics.render().unwrap();
        for line in [
            "http_requests_total{method=\"GET\",path=\"/system/info\",status=\"200\"} 1",
            "http_requests_total{method=\"other\",path=\"/system/info\",status=\"405\"} 1",
            "http_request_duration_seconds_bucket{method=\"GET\",path=\"/system/info\",status=\"200\",le=\"0.001\"} 1",
            "process_resident_memory_bytes ",
            "process_cpu_seconds_total ",
            "process_open_fds ",
            "process_start_time_seconds ",
        ] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
    }
}
