//! Who may write: one scaler at a time, for as long as it keeps saying that it is there.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Longest that a lease may be asked for: after a scaler that died, nobody writes for so long at most.
const MAX_TERM: Duration = Duration::from_secs(300);

/// Whoever asks does not hold the lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", refusal(.leader.as_deref()))]
pub struct LeaseHeld {
    /// Who does, as it calls itself; `None` when nobody does.
    pub leader: Option<String>,
}

fn refusal(leader: Option<&str>) -> String {
    match leader {
        Some(leader) => {
            format!("{leader} scales the functions of this gateway; stop it first, or wait until it is gone")
        }
        None => "nobody has the lease of this gateway's scaler now; ask for it at /system/scaler-lease first"
            .into(),
    }
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
    /// Takes the lease, or keeps it, for `term` from `now`; answers for how long it was granted.
    ///
    /// # Errors
    /// [`LeaseHeld`] while another one has it.
    pub fn take(&self, holder: &str, term: Duration, now: Instant) -> Result<Duration, LeaseHeld> {
        let mut held = self.0.lock();
        let leader = leader(held.as_ref(), now);
        if leader.is_some_and(|leader| leader != holder) {
            return Err(LeaseHeld { leader: leader.map(str::to_owned) });
        }
        let term = term.min(MAX_TERM);
        *held = Some(Holder { name: holder.to_owned(), until: now + term });
        Ok(term)
    }

    /// Whether `holder` has it now: to be asked before each write.
    ///
    /// # Errors
    /// [`LeaseHeld`] while another one has it, or nobody.
    pub fn check(&self, holder: &str, now: Instant) -> Result<(), LeaseHeld> {
        let held = self.0.lock();
        match leader(held.as_ref(), now) {
            Some(leader) if leader == holder => Ok(()),
            other => Err(LeaseHeld { leader: other.map(str::to_owned) }),
        }
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
        leader(self.0.lock().as_ref(), now).map(str::to_owned)
    }
}

fn leader(held: Option<&Holder>, now: Instant) -> Option<&str> {
    held.filter(|held| now < held.until).map(|held| held.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Duration = Duration::from_secs(3);

    #[test]
    fn one_holder_at_a_time_until_its_term_ends() {
        let (lease, now) = (Lease::default(), Instant::now());
        lease.take("a", TERM, now).unwrap();
        assert_eq!(lease.take("b", TERM, now).unwrap_err().leader.as_deref(), Some("a"));
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
    fn nobody_writes_without_it_nor_after_its_end() {
        let (lease, now) = (Lease::default(), Instant::now());
        assert_eq!(lease.check("a", now), Err(LeaseHeld { leader: None }));
        lease.take("a", TERM, now).unwrap();
        lease.check("a", now).unwrap();
        assert_eq!(lease.check("a", now + TERM), Err(LeaseHeld { leader: None }));
    }

    #[test]
    fn a_term_has_a_bound() {
        let (lease, now) = (Lease::default(), Instant::now());
        assert_eq!(lease.take("a", Duration::MAX, now), Ok(MAX_TERM));
        assert_eq!(lease.leader(now + MAX_TERM), None);
    }
}
