//! A limit on the whole of an invocation, whose timer is only made when something has to wait.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// When an invocation must have ended.
#[derive(Debug)]
pub(super) struct Deadline {
    at: Instant,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    pub(super) fn after(since: Instant, timeout: Duration) -> Self {
        Self { at: since + timeout, alarm: None }
    }

    /// The same, or sooner: when from now on `timeout` is over.
    pub(super) fn or_after(self, timeout: Option<Duration>) -> Self {
        match timeout {
            Some(timeout) => Self { at: self.at.min(Instant::now() + timeout), ..self },
            None => self,
        }
    }

    /// When that is.
    pub(super) fn at(&self) -> Instant {
        self.at
    }

    /// Whether it is past.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.at
    }

    /// Ready once it is over.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at.into();
        self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at))).as_mut().poll(cx)
    }

    /// Runs `work`; `None` when the deadline came first.
    pub(super) fn limit<T>(&self, work: impl Future<Output = T>) -> impl Future<Output = Option<T>> {
        let mut deadline = Self { at: self.at, alarm: None };
        async move {
            let mut work = pin!(work);
            std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
                Poll::Ready(done) => Poll::Ready(Some(done)),
                Poll::Pending => deadline.poll_over(cx).map(|()| None),
            })
            .await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ends_work_that_takes_too_long() {
        let deadline = Deadline::after(Instant::now(), Duration::from_millis(5));
        assert_eq!(deadline.limit(async { 7 }).await, Some(7));
        assert_eq!(deadline.limit(std::future::pending::<()>()).await, None);
    }
}
