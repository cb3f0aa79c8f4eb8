//! What was asked for while Docker was away, or failed half-way, is made so later.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bramble_provider::ProviderError;

use super::MAX_TRIES;
use crate::core::Core;
use crate::function::Function;

/// How long Docker may be away for the rest of a failed deployment to be removed, and between two tries.
const CLEAR_UP_AT_MOST: Duration = Duration::from_secs(600);
const CLEAR_UP_LOOK: Duration = Duration::from_secs(1);

impl Core {
    /// Makes every wanted service be there, after Docker was away or somebody removed one.
    pub(crate) async fn reconcile(self: &Arc<Self>) {
        let functions: Vec<_> = self.functions.iter().map(|entry| Arc::clone(entry.value())).collect();
        for function in functions {
            let anew = function.is_anew();
            self.heal(&function).await;
            if anew && !function.is_anew() {
                self.judge_update_later(&function);
            }
        }
    }

    /// Makes the service be what was asked for while Docker did not answer, or others changed it.
    pub(crate) async fn make_wanted(self: Arc<Self>, function: Arc<Function>) {
        for _ in 0..MAX_TRIES {
            match self.restore(&function).await {
                Ok(()) => {
                    self.judge_update_later(&function);
                    self.look_now();
                    return;
                }
                Err(error) => {
                    let fatal = self.unavailable().is_none();
                    function.note(SystemTime::now(), &error.to_string(), fatal);
                    // A new connection does it, and what is refused stays so.
                    if !fatal || !matches!(error, ProviderError::Unavailable { .. }) {
                        return;
                    }
                }
            }
            tokio::time::sleep(CLEAR_UP_LOOK).await;
        }
    }

    /// Makes one wanted service be there.
    pub(crate) async fn heal(&self, function: &Function) {
        if let Err(error) = self.restore(function).await {
            let fatal = self.unavailable().is_none();
            function.note(SystemTime::now(), &error.to_string(), fatal);
        }
    }

    /// Removes what a failed deployment may have left, once Docker answers, unless it was deployed anew.
    pub(crate) fn clear_up_later(self: &Arc<Self>, function: Arc<Function>) {
        let core = Arc::clone(self);
        tokio::spawn(async move {
            let until = Instant::now() + CLEAR_UP_AT_MOST;
            while Instant::now() < until {
                tokio::time::sleep(CLEAR_UP_LOOK).await;
                if core.functions.contains_key(&function.name) {
                    return;
                }
                if core.unavailable().is_none() && core.delete(&function.name, &function).await.is_ok() {
                    return;
                }
            }
        });
    }
}
