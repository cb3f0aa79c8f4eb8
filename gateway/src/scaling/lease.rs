//! Who may write: one scaler at a time, for as long as it keeps saying that it is there.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Longest that a lease may be asked for: after a scaler that died, nobody writes for so long at most.
const MAX_TERM: Duration = Duration::from_secs(300);

/// Another scaler holds the lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{leader} scales the functions of this gateway; stop it first, or wait until it is gone")]
pub struct LeaseHeld {
    /// Who that is, as it calls itself.
    pub leader: String,
}

/// The right to write. Kept in memory: after a restart of the gateway whoever asks first has it, and
/// the one that had it before asks at each of its ticks.
#[derive(Debug, Default)]
pub struct Lease(Mutex<Option<Holder>>);

#[derive(Debug)]
struct Holder {
    name: String,
    until: Instant,
}

impl Lease {
    /// Takes the lease, or keeps it, for `term` from `now`.
    ///
    /// # Errors
    /// [`LeaseHeld`] while another one has it.
    pub fn take(&self, holder: &str, term: Duration, now: Instant) -> Result<(), LeaseHeld> {
        let mut held = self.0.lock();
        check(held.as_ref(), holder, now)?;
        *held = Some(Holder { name: holder.to_owned(), until: now + term.min(MAX_TERM) });
        Ok(())
    }

    /// Whether `holder` has it now.
    ///
    /// # Errors
    /// [`LeaseHeld`] while another one has it.
    pub fn check(&self, holder: &str, now: Instant) -> Result<(), LeaseHeld> {
        check(self.0.lock().as_ref(), holder, now)
    }

    /// Gives it back, if `holder` has it.
    pub fn give_back(&self, holder: &str) {
        let mut held = self.0.lock();
        if held.as_ref().is_some_and(|held| held.name == holder) {
            *held = None;
        }
    }

    /// Who has it now.
    pub fn leader(&self, now: Instant) -> Option<String> {
        self.0.lock().as_ref().filter(|held| now < held.until).map(|held| held.name.clone())
    }
}

fn check(held: Option<&Holder>, holder: &str, now: Instant) -> Result<(), LeaseHeld> {
    match held.filter(|held| now < held.until && held.name != holder) {
        Some(other) => Err(LeaseHeld { leader: other.name.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Duration = Duration::from_secs(3);

    #[test]
    fn one_holder_at_a_time_until_its_term_ends() {
        let (lease, now) = (Lease::default(), Instant::now());
        lease.take("a", TERM, now).unwrap();
        assert_eq!(lease.take("b", TERM, now).unwrap_err().leader, "a");
        assert!(lease.check("b", now).is_err() && lease.check("a", now).is_ok());
        lease.take("a", TERM, now + TERM / 2).unwrap();
        assert!(lease.take("b", TERM, now + TERM).is_err(), "it was kept");
        lease.take("b", TERM, now + 2 * TERM).unwrap();
        assert_eq!(lease.leader(now + 2 * TERM).as_deref(), Some("b"));
        assert!(lease.take("a", TERM, now + 2 * TERM).is_err());
    }

    #[test]
    fn what_is_given_back_is_free_and_only_its_holder_gives_it_back() {
        let (lease, now) = (Lease::default(), Instant::now());
        lease.take("a", TERM, now).unwrap();
        lease.give_back("b");
        assert!(lease.take("b", TERM, now).is_err());
        lease.give_back("a");
        lease.take("b", TERM, now).unwrap();
    }

    #[test]
    fn a_term_has_a_bound() {
        let (lease, now) = (Lease::default(), Instant::now());
        lease.take("a", Duration::MAX, now).unwrap();
        assert_eq!(lease.leader(now + MAX_TERM), None);
    }
}
