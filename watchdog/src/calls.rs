//! Requests in flight: limited, counted once each, and waited for at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::StatusCode;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::metrics::{Metrics, method_label};

/// What a request is counted as when its client left before the answer.
const CLIENT_LEFT: u16 = 499;

/// The requests in flight.
#[derive(Debug)]
pub(crate) struct Calls {
    limit: Option<usize>,
    open: AtomicUsize,
    /// Notified when the last one ends.
    idle: Notify,
    metrics: Metrics,
}

/// One request in flight, from its head to the last byte of its answer; counted when it is dropped.
#[derive(Debug)]
pub(crate) struct Call {
    calls: Arc<Calls>,
    started: Instant,
    method: &'static str,
    code: u16,
}

impl Calls {
    /// At most `limit` at once.
    pub(crate) fn new(limit: Option<usize>, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { limit, open: AtomicUsize::new(0), idle: Notify::new(), metrics })
    }

    /// Admits a request, or says how many are allowed.
    ///
    /// # Errors
    /// The limit, when it is reached.
    pub(crate) fn admit(self: &Arc<Self>, method: &hyper::Method) -> Result<Call, usize> {
        let before = self.open.fetch_add(1, Ordering::AcqRel);
        self.metrics.in_flight.inc();
        let call = Call {
            calls: Arc::clone(self),
            started: Instant::now(),
            method: method_label(method),
            code: CLIENT_LEFT,
        };
        match self.limit.filter(|limit| before >= *limit) {
            None => Ok(call),
            Some(limit) => {
                call.answered(StatusCode::TOO_MANY_REQUESTS);
                Err(limit)
            }
        }
    }

    /// The limit, when it is reached.
    pub(crate) fn limit_reached(&self) -> Option<usize> {
        self.limit.filter(|limit| self.open() >= *limit)
    }

    /// How many are in flight.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Waits until none is in flight.
    pub(crate) async fn all_ended(&self) {
        loop {
            let ended = self.idle.notified();
            if self.open() == 0 {
                return;
            }
            ended.await;
        }
    }

    /// The counters.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

impl Call {
    /// When its head was read.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Notes the status; the answer's body may still follow.
    pub(crate) fn set_status(&mut self, status: StatusCode) {
        self.code = status.as_u16();
    }

    /// Ends it.
    fn answered(mut self, status: StatusCode) {
        self.set_status(status);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.calls.metrics.observe(self.code, self.method, self.started.elapsed());
        self.calls.metrics.in_flight.dec();
        if self.calls.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.calls.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Method;

    #[test]
    fn refuses_beyond_the_limit_and_counts_once() {
        let calls = Calls::new(Some(1), Metrics::new().unwrap());
        let mut first = calls.admit(&Method::GET).unwrap();
        assert_eq!(calls.admit(&Method::GET).unwrap_err(), 1);
        assert_eq!(calls.limit_reached(), Some(1));
        first.set_status(StatusCode::OK);
        drop(first);
        assert_eq!((calls.open(), calls.limit_reached()), (0, None));
        let text = calls.metrics().render();
        assert!(
            text.contains(r#"{code="200",method="get"} 1"#)
                && text.contains(r#"{code="429",method="get"} 1"#)
        );
    }
}
