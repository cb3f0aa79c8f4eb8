//! Counters of requests, under the original watchdogs' names.

use std::time::Duration;

use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder, core::Collector,
};

/// Bounds of the histogram, in seconds: the Prometheus client's own.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The metrics of one watchdog.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    /// Requests being served.
    pub(crate) in_flight: IntGauge,
}

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    /// None in practice: the names are constants.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let labels = &["code", "method"];
        let requests = Opts::new("http_requests_total", "Requests that were answered.");
        let requests = IntCounterVec::new(requests, labels)?;
        let durations = HistogramOpts::new(
            "http_request_duration_seconds",
            "Time from a request's head to the end of its answer.",
        );
        let durations = HistogramVec::new(durations.buckets(BUCKETS.to_vec()), labels)?;
        let in_flight = IntGauge::new("http_requests_in_flight", "Requests that are being served.")?;
        let all: [Box<dyn Collector>; 3] =
            [Box::new(requests.clone()), Box::new(durations.clone()), Box::new(in_flight.clone())];
        for collector in all {
            registry.register(collector)?;
        }
        Ok(Self { registry, requests, durations, in_flight })
    }

    /// Counts one answered request. `method` comes from [`method_label`].
    pub(crate) fn observe(&self, code: u16, method: &'static str, duration: Duration) {
        let mut digits = [0; 3];
        let labels = &[three_digits(code, &mut digits), method];
        self.requests.with_label_values(labels).inc();
        self.durations.with_label_values(labels).observe(duration.as_secs_f64());
    }

    /// The text that Prometheus reads.
    pub(crate) fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

/// A status without an allocation.
fn three_digits(code: u16, digits: &mut [u8; 3]) -> &str {
    for (digit, scale) in digits.iter_mut().zip([100, 10, 1]) {
        *digit = b'0' + u8::try_from(code / scale % 10).unwrap_or(0);
    }
    std::str::from_utf8(digits).unwrap_or("000")
}

/// A method as a label: one of a few, however creative the client is.
pub(crate) fn method_label(method: &hyper::Method) -> &'static str {
    match method.as_str() {
        "GET" => "get",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" => "delete",
        "HEAD" => "head",
        "OPTIONS" => "options",
        "CONNECT" => "connect",
        "TRACE" => "trace",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_code_and_method() {
        let metrics = Metrics::new().unwrap();
        metrics.observe(200, "get", Duration::from_millis(7));
        let text = metrics.render();
        assert!(text.contains(r#"http_requests_total{code="200",method="get"} 1"#), "{text}");
        assert!(
            text.contains(r#"http_request_duration_seconds_bucket{code="200",method="get",le="0.005"} 0"#)
        );
        assert!(text.contains("http_requests_in_flight 0"));
    }
}
