//! Whether the gateway takes requests: starting, ready, leaving, draining.

use tokio::sync::watch;

/// Where the gateway is in its life. It only moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The store is being read.
    Starting,
    /// Requests are taken.
    Ready,
    /// About to stop: requests are taken, but load balancers should go elsewhere.
    Leaving,
    /// Stopping: what runs may finish.
    Draining,
}

/// The one owner of [`Phase`]. Endless responses end when it reaches [`Phase::Draining`].
#[derive(Debug)]
pub struct Readiness(watch::Sender<Phase>);

impl Readiness {
    /// Begins at [`Phase::Starting`].
    pub fn starting() -> Self {
        Self(watch::Sender::new(Phase::Starting))
    }

    /// Where it is now.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Moves on to `phase`; going back is ignored, so a late `Ready` cannot undo a drain.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let later = phase > *now;
            if later {
                *now = phase;
            }
            later
        });
    }

    /// Resolves once [`Phase::Draining`] is reached. Dropping the future is free.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut phases = self.0.subscribe();
        async move {
            // An error means that the gateway itself is gone, which is as good as draining.
            let _gone = phases.wait_for(|phase| *phase == Phase::Draining).await.is_err();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn moves_forward_only() {
        let readiness = Readiness::starting();
        assert_eq!(readiness.phase(), Phase::Starting);
        readiness.advance(Phase::Ready);
        readiness.advance(Phase::Leaving);
        readiness.advance(Phase::Draining);
        readiness.advance(Phase::Ready);
        assert_eq!(readiness.phase(), Phase::Draining);
        readiness.draining().await;
    }

    #[tokio::test]
    async fn waits_end_when_the_owner_is_gone() {
        let readiness = Readiness::starting();
        let wait = readiness.draining();
        drop(readiness);
        wait.await;
    }
}
