//! The calls of one function that may start, apart by the host that their callbacks go to.
//!
//! A host that does not answer holds up the calls with a callback to it, and no others. The property that must
//! hold: a lane is in turn once, for as long as it has calls.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use super::super::callback::CallbackUrl;
use super::Limits;

/// The host and port that a call's answer goes to, as a number: a hash. `None` where nobody wants it.
pub(super) type Host = Option<u64>;

/// Calls in order, those with a callback apart by its host.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: HashMap<Host, VecDeque<u64>>,
    turns: VecDeque<Host>,
    calls: usize,
}

impl Lanes {
    /// Adds a call behind the others of its host.
    pub(super) fn push_back(&mut self, host: Host, sequence: u64) {
        let lane = self.lanes.entry(host).or_default();
        if lane.is_empty() {
            self.turns.push_back(host);
        }
        lane.push_back(sequence);
        self.calls += 1;
    }

    /// Puts a call back before all others.
    pub(super) fn push_front(&mut self, host: Host, sequence: u64) {
        let lane = self.lanes.entry(host).or_default();
        if !lane.is_empty() {
            self.turns.retain(|other| *other != host);
        }
        self.turns.push_front(host);
        lane.push_front(sequence);
        self.calls += 1;
    }

    /// The next first call of a lane that may be it, of each lane in turn.
    pub(super) fn pop(&mut self, may: impl Fn(Host, u64) -> bool) -> Option<u64> {
        let may = |host: &Host| may(*host, self.lanes[host][0]);
        let place = self.turns.iter().position(may)?;
        self.turns.rotate_left(place);
        let host = self.turns.pop_front()?;
        let lane = self.lanes.get_mut(&host).expect("a lane in turn has calls");
        let sequence = lane.pop_front().expect("a lane in turn has calls");
        if lane.is_empty() {
            self.lanes.remove(&host);
        } else {
            self.turns.push_back(host);
        }
        self.calls -= 1;
        Some(sequence)
    }

    /// The call that is first in each lane.
    pub(super) fn fronts(&self) -> impl Iterator<Item = u64> {
        self.lanes.values().filter_map(|lane| lane.front().copied())
    }

    /// Whether there are calls without a callback.
    pub(super) fn has_plain(&self) -> bool {
        self.lanes.contains_key(&None)
    }

    /// Takes a call out.
    pub(super) fn remove(&mut self, host: Host, sequence: u64) {
        let Some(lane) = self.lanes.get_mut(&host) else { return };
        let before = lane.len();
        lane.retain(|waiting| *waiting != sequence);
        self.calls -= before - lane.len();
        if lane.is_empty() {
            self.lanes.remove(&host);
            self.turns.retain(|other| *other != host);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.calls
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls == 0
    }
}

/// Callbacks on their way, by their host.
///
/// A host has so many, and all together so many; one of which there are none may have one beyond that, up to twice as
/// many in all. So hosts that do not answer never keep a callback to another one waiting for long.
#[derive(Debug, Default)]
pub(super) struct OnTheirWay {
    hosts: HashMap<u64, u32>,
    all: usize,
    hash: RandomState,
}

impl OnTheirWay {
    /// Where the answer of a call goes. An address that is none is met when it is to be used.
    pub(super) fn host_of(&self, callback: Option<&str>) -> Host {
        let url = CallbackUrl::parse(callback?).ok()?;
        let (host, port) = url.place();
        Some(self.hash.hash_one((host.to_ascii_lowercase(), port)))
    }

    /// Whether a call may start whose answer goes there.
    pub(super) fn may_start(&self, host: Host, limits: &Limits) -> bool {
        let Some(host) = host else { return true };
        let own = self.hosts.get(&host).copied().unwrap_or(0);
        let most = if own == 0 { 2 * limits.callbacks } else { limits.callbacks };
        own < limits.callbacks_each && self.all < most
    }

    /// Whether no call with a callback may start.
    pub(super) fn is_full(&self, limits: &Limits) -> bool {
        self.all >= 2 * limits.callbacks
    }

    /// One more is on its way.
    pub(super) fn add(&mut self, host: Host) {
        self.all += 1;
        if let Some(host) = host {
            *self.hosts.entry(host).or_default() += 1;
        }
    }

    /// One has arrived, or was given up.
    pub(super) fn remove(&mut self, host: Host) {
        self.all -= 1;
        if let Some(host) = host
            && let Some(own) = self.hosts.get_mut(&host)
        {
            *own -= 1;
            if *own == 0 {
                self.hosts.remove(&host);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all
    }
}
