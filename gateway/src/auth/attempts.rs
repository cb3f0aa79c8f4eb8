//! How often one address may guess.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Wrong credentials that an address may show at once.
const BURST: u32 = 10;
/// Time after which it may show others, one each.
const INTERVAL: Duration = Duration::from_secs(6);
/// Addresses that are remembered.
const MAX_ADDRESSES: usize = 4_096;

/// Failed logins by address. An entry is the instant at which all of them are forgiven (the algorithm is GCRA).
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<HashMap<IpAddr, Instant>>);

impl Attempts {
    /// How long an address has to wait before it may try again; `None` for not at all.
    pub(super) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let forgiven = *self.0.lock().get(&network(address))?;
        let free = forgiven.checked_sub(INTERVAL * (BURST - 1))?;
        free.checked_duration_since(now).filter(|wait| !wait.is_zero())
    }

    /// Counts a failure.
    pub(super) fn failed(&self, address: IpAddr, now: Instant) {
        let mut failures = self.0.lock();
        let address = network(address);
        if failures.len() >= MAX_ADDRESSES && !failures.contains_key(&address) {
            failures.retain(|_, forgiven| *forgiven > now);
            if failures.len() >= MAX_ADDRESSES {
                // Whoever failed least is forgotten: a flood of addresses frees nobody who guesses.
                let least = failures.iter().min_by_key(|(_, forgiven)| **forgiven).map(|(least, _)| *least);
                least.map(|least| failures.remove(&least));
            }
        }
        let forgiven = failures.entry(address).or_insert(now);
        *forgiven = (*forgiven).max(now) + INTERVAL;
    }
}

/// What one client has at its disposal: an address, or an IPv6 network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_may_fail_so_often_and_then_once_in_a_while() {
        let (attempts, own, now) = (Attempts::default(), address("10.0.0.1"), Instant::now());
        for _ in 0..BURST {
            assert_eq!(attempts.wait(own, now), None);
            attempts.failed(own, now);
        }
        assert_eq!(attempts.wait(own, now), Some(INTERVAL));
        assert_eq!(attempts.wait(address("10.0.0.2"), now), None);
        let later = now + INTERVAL;
        assert_eq!(attempts.wait(own, later), None);
        attempts.failed(own, later);
        assert_eq!(attempts.wait(own, later), Some(INTERVAL));
        assert_eq!(attempts.wait(own, later + INTERVAL * (BURST + 1)), None);
    }

    #[test]
    fn neighbours_in_a_network_of_ipv6_are_one() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for host in 1..=BURST {
            attempts.failed(address(&format!("2001:db8::{host}")), now);
        }
        assert!(attempts.wait(address("2001:db8::ffff"), now).is_some());
        assert!(attempts.wait(address("2001:db8:0:1::1"), now).is_none());
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_frees_nobody() {
        let (attempts, own, now) = (Attempts::default(), address("10.0.0.1"), Instant::now());
        for _ in 0..BURST {
            attempts.failed(own, now);
        }
        for low in 0..2 * u32::try_from(MAX_ADDRESSES).unwrap() {
            attempts.failed(IpAddr::V4((0x0b00_0000 + low).into()), now);
        }
        assert_eq!(attempts.0.lock().len(), MAX_ADDRESSES);
        assert!(attempts.wait(own, now).is_some());
    }
}
