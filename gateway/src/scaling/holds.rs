//! Functions that an alert holds up: the loop does not take down what an alert has just brought up.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bramble_provider::FunctionName;
use parking_lot::Mutex;

/// How long an alert holds a function up that is not told again: four times the interval at which the
/// shipped Alertmanager repeats itself.
const HOLD: Duration = Duration::from_secs(120);

/// Most functions that are held up at once; beyond that an alert holds nothing.
const MAX_HELD: usize = 100_000;

/// The functions with a firing alert.
#[derive(Debug, Default)]
pub struct Holds(Mutex<HashMap<FunctionName, Instant>>);

impl Holds {
    /// An alert fires.
    pub fn hold(&self, name: &FunctionName, now: Instant) {
        let mut held = self.0.lock();
        if held.len() >= MAX_HELD {
            held.retain(|_, until| now < *until);
        }
        if held.len() < MAX_HELD {
            held.insert(name.clone(), now + HOLD);
        }
    }

    /// An alert is resolved.
    pub fn release(&self, name: &FunctionName) {
        self.0.lock().remove(name);
    }

    /// Whether an alert holds it up now.
    pub fn is_held(&self, name: &FunctionName, now: Instant) -> bool {
        let held = self.0.lock();
        // Nearly always there is none.
        !held.is_empty() && held.get(name).is_some_and(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_ends_by_itself_or_when_it_is_released() {
        let (holds, now) = (Holds::default(), Instant::now());
        let name = FunctionName::parse("echo").unwrap();
        assert!(!holds.is_held(&name, now));
        holds.hold(&name, now);
        assert!(holds.is_held(&name, now) && !holds.is_held(&name, now + HOLD));
        holds.release(&name);
        assert!(!holds.is_held(&name, now));
    }
}
