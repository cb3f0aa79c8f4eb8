//! The trace: sessions of bursts, made from a seed. Between two sessions the function is idle until its
//! containers are gone, however long that takes.

use std::time::Duration;

/// Mean length of a burst and of the pause behind it, in seconds. Containers outlive a pause.
const BURST: f64 = 2.0;
const PAUSE: f64 = 0.5;
/// Every so many sessions there is one of a few requests: most functions at the edge see no more.
const LONE: usize = 3;

/// Requests of one session, each as the time since its first; in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Session(pub(crate) Vec<Duration>);

/// So many sessions of `seconds` each, with `rate` requests per second of a burst in the mean.
pub(super) fn sessions(count: usize, seconds: f64, rate: f64, seed: u64) -> Vec<Session> {
    let mut random = fastrand::Rng::with_seed(seed);
    let session = |at: usize| match at % LONE {
        2 => lone(&mut random),
        _ => bursts(seconds, rate, &mut random),
    };
    (0..count).map(session).collect()
}

/// One to three requests, a second or so apart.
fn lone(random: &mut fastrand::Rng) -> Session {
    let mut at = 0.0;
    let mut requests = vec![Duration::ZERO];
    for _ in 0..random.usize(0..3) {
        at += exponential(random, 1.0).min(2.0);
        requests.push(Duration::from_secs_f64(at));
    }
    Session(requests)
}

/// Bursts of different rates, each a Poisson process, and pauses.
fn bursts(seconds: f64, rate: f64, random: &mut fastrand::Rng) -> Session {
    let mut requests = vec![Duration::ZERO];
    let mut at = 0.0;
    while at < seconds {
        let end = (at + exponential(random, BURST).clamp(0.5, 4.0)).min(seconds);
        let burst = rate * (0.5 + random.f64());
        loop {
            at += exponential(random, 1.0 / burst);
            if at >= end {
                break;
            }
            requests.push(Duration::from_secs_f64(at));
        }
        at = end + exponential(random, PAUSE).min(1.0);
    }
    Session(requests)
}

fn exponential(random: &mut fastrand::Rng, mean: f64) -> f64 {
    -mean * (1.0 - random.f64()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_sessions() {
        let of = |seed| sessions(6, 5.0, 40.0, seed);
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn sessions_begin_at_once_are_in_order_and_end_in_time() {
        for (at, Session(requests)) in sessions(30, 5.0, 40.0, fastrand::u64(..)).iter().enumerate() {
            assert_eq!(requests[0], Duration::ZERO);
            assert!(requests.is_sorted());
            assert!(*requests.last().unwrap() < Duration::from_secs(5));
            assert_eq!(requests.len() <= 3, at % LONE == 2, "session {at}: {}", requests.len());
        }
    }

    #[test]
    fn bursts_have_the_rate_that_was_asked_for() {
        let requests: usize = sessions(300, 10.0, 40.0, 1).iter().map(|session| session.0.len()).sum();
        // 200 sessions, of which four fifths are bursts.
        let rate = requests as f64 / (200.0 * 10.0 * 0.8);
        assert!((30.0..50.0).contains(&rate), "{rate}");
    }
}
