//! Which call comes next: what is known of every call, in memory, without its body.
//!
//! Pure: time comes in as an argument, and nothing is written here. The properties that must hold: no
//! call is in two states; functions take turns, so that many calls of one do not keep others waiting;
//! every collection is bounded by [`Limits`].

mod ends;
mod lanes;
mod line;
mod turns;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bramble_provider::FunctionName;
use tokio_util::sync::CancellationToken;

use super::call::{Call, Death};
use lanes::{Host, OnTheirWay};
use line::Line;
pub(crate) use view::{CallView, Depth, Totals};

/// Longest that an ended call is remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(60 * 60);

/// Longest that a call waits for its function to take it, from when it may start, while the gateway runs.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// What the queue holds at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Calls that wait or run, and dead letters.
    pub(super) calls: usize,
    /// Bytes of their heads and bodies, and of the dead letters'.
    pub(super) bytes: u64,
    /// Calls that run at once; a function of which none runs may have one beyond that, up to twice as many.
    pub(super) workers: usize,
    /// Callbacks on their way to one host when no more calls start that have one to it.
    pub(super) callbacks_each: u32,
    /// Callbacks on their way; a host to which none is may have one beyond that, up to twice as many.
    pub(super) callbacks: usize,
    /// Dead letters of a function when no more of its calls are taken.
    pub(super) dead_each: u32,
    /// Ended calls that are remembered.
    pub(super) ended: usize,
    /// How long calls wait for a function that is gone.
    pub(super) grace: Duration,
}

/// One call.
#[derive(Debug, Clone)]
struct Entry {
    id: Arc<str>,
    function: FunctionName,
    state: State,
    /// How often it was started.
    starts: u32,
    /// Of its body.
    bytes: u64,
    /// What it counts for, the body included.
    size: u64,
    file: Option<String>,
    /// Where its callback goes.
    host: Host,
    accepted_at: SystemTime,
    /// Since when it may start at any time, in this process.
    ready_since: Instant,
}

/// Where a call is.
#[derive(Debug, Clone)]
enum State {
    Waiting {
        not_before: Option<Instant>,
    },
    /// Whoever runs it listens to `stop`.
    Running {
        stop: CancellationToken,
    },
    CallingBack,
    Ended {
        status: Option<u16>,
        how: Ended,
        since: Instant,
        at: SystemTime,
    },
    Dead {
        death: Death,
    },
}

impl State {
    fn running() -> Self {
        Self::Running { stop: CancellationToken::new() }
    }

    /// Whether it runs, and nobody cancelled it.
    fn goes_on(&self) -> bool {
        matches!(self, Self::Running { stop } if !stop.is_cancelled())
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ended {
    /// The function answered, whatever it said.
    Done,
    /// Somebody took it out.
    Cancelled,
}

/// What is free for one more call of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// So many calls of the queue may run at once.
    Most(u32),
    /// There is no such function.
    Gone,
}

/// A call whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) sequence: u64,
    /// Starts, this one included.
    pub(super) starts: u32,
}

/// A call that waited in vain, and did not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lapsed {
    pub(super) sequence: u64,
    pub(super) starts: u32,
    pub(super) why: Why,
    /// Its callback may go on its way.
    pub(super) calls_back: bool,
}

/// Why a call is no longer waited with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Its function is gone.
    Gone,
    /// Its function did not take it.
    Overdue,
}

/// Why a call is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// There are too many, so many dead letters among them.
    Calls { dead: usize },
    /// They are too large.
    Bytes { dead: usize },
    /// There are so many dead letters of its function.
    Dead(u32),
}

/// Whether a cancelling may take a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeadLetters {
    /// It may.
    Go,
    /// They are an operator's.
    Stay,
}

/// What a cancelling met.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cancelled {
    /// It is out, with the file of its body.
    Out { sequence: u64, file: Option<String> },
    /// It runs, and is stopped; it is not run again, and nobody is told.
    Running,
    /// It has ended.
    TooLate,
    /// There is no such call.
    Unknown,
}

/// Every call there is.
#[derive(Debug)]
pub(super) struct Book {
    limits: Limits,
    calls: BTreeMap<u64, Entry>,
    /// The newest call of an id: a caller may bring the same id twice.
    ids: HashMap<Arc<str>, u64>,
    lines: HashMap<FunctionName, Line>,
    /// Functions that may have calls that wait, in turn.
    turns: VecDeque<FunctionName>,
    later: BTreeSet<(Instant, u64)>,
    callbacks: OnTheirWay,
    ended: VecDeque<u64>,
    dead: BTreeSet<u64>,
    totals: Totals,
    next_sequence: u64,
}

impl Book {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            calls: BTreeMap::new(),
            ids: HashMap::new(),
            lines: HashMap::new(),
            turns: VecDeque::new(),
            later: BTreeSet::new(),
            callbacks: OnTheirWay::default(),
            ended: VecDeque::new(),
            dead: BTreeSet::new(),
            totals: Totals::default(),
            next_sequence: 1,
        }
    }

    /// Keeps a place for a call that is being written, and `bytes` for it. Give it up with [`Self::give_up`],
    /// or take it with [`Self::add`]. Answers its sequence number.
    pub(super) fn reserve(&mut self, name: &FunctionName, bytes: u64) -> Result<u64, Full> {
        self.has_room(name, bytes)?;
        self.totals.calls += 1;
        self.totals.bytes += bytes;
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        Ok(sequence)
    }

    /// Keeps room for so many bytes.
    pub(super) fn keep_bytes(&mut self, bytes: u64) -> Result<(), Full> {
        if self.totals.bytes.saturating_add(bytes) > self.limits.bytes {
            return Err(Full::Bytes { dead: self.dead.len() });
        }
        self.totals.bytes += bytes;
        Ok(())
    }

    /// Gives a place and its bytes back.
    pub(super) fn give_up(&mut self, bytes: u64) {
        self.totals.calls -= 1;
        self.give_back(bytes);
    }

    /// Gives bytes back.
    pub(super) fn give_back(&mut self, bytes: u64) {
        self.totals.bytes -= bytes;
    }

    /// Whether a call of this function with so many bytes would be taken now.
    pub(super) fn has_room(&self, name: &FunctionName, bytes: u64) -> Result<(), Full> {
        let dead = self.dead.len();
        if self.totals.calls + dead >= self.limits.calls {
            return Err(Full::Calls { dead });
        }
        if self.totals.bytes.saturating_add(bytes) > self.limits.bytes {
            return Err(Full::Bytes { dead });
        }
        let own = self.lines.get(name).map_or(0, |line| line.dead);
        if own >= self.limits.dead_each { Err(Full::Dead(own)) } else { Ok(()) }
    }

    /// A call for which a place is kept is on the disk.
    pub(super) fn add(&mut self, sequence: u64, call: &Call, now: Instant) {
        self.enter(sequence, call, State::Waiting { not_before: None }, 0, now);
        self.wait_in_line(sequence, now);
    }

    /// A call that was found at the start.
    pub(super) fn restore(
        &mut self,
        sequence: u64,
        call: &Call,
        starts: u32,
        death: Option<Death>,
        (not_before, now): (Option<Instant>, Instant),
    ) {
        self.next_sequence = self.next_sequence.max(sequence + 1);
        self.totals.bytes += call.size();
        match death {
            Some(death) => {
                self.enter(sequence, call, State::Dead { death }, starts, now);
                self.dead.insert(sequence);
                self.line_of(sequence).dead += 1;
            }
            None => {
                self.totals.calls += 1;
                self.enter(sequence, call, State::Waiting { not_before }, starts, now);
                match not_before {
                    Some(at) => drop(self.later.insert((at, sequence))),
                    None => self.wait_in_line(sequence, now),
                }
                if not_before.is_some() {
                    self.line_of(sequence).later += 1;
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn set_grace(&mut self, grace: Duration) {
        self.limits.grace = grace;
    }

    fn enter(&mut self, sequence: u64, call: &Call, state: State, starts: u32, now: Instant) {
        let id: Arc<str> = call.id.as_str().into();
        self.ids.insert(id.clone(), sequence);
        let entry = Entry {
            id,
            function: call.function.clone(),
            state,
            starts,
            bytes: call.body.bytes(),
            size: call.size(),
            file: call.body.file().map(str::to_owned),
            host: self.callbacks.host_of(call.callback.as_deref()),
            accepted_at: call.accepted_at(),
            ready_since: now,
        };
        self.calls.insert(sequence, entry);
    }

    fn line_of(&mut self, sequence: u64) -> &mut Line {
        let name = self.calls[&sequence].function.clone();
        self.lines.entry(name).or_default()
    }

    /// Lets a call start at any time from now on.
    fn wait_in_line(&mut self, sequence: u64, now: Instant) {
        let entry = self.calls.get_mut(&sequence).expect("a call in line is in the book");
        entry.ready_since = now;
        let (name, host) = (entry.function.clone(), entry.host);
        self.lines.entry(name.clone()).or_default().ready.push_back(host, sequence);
        self.join_turn(&name);
    }

    fn join_turn(&mut self, name: &FunctionName) {
        let line = self.lines.entry(name.clone()).or_default();
        if !std::mem::replace(&mut line.in_turn, true) {
            self.turns.push_back(name.clone());
        }
    }

    fn leave_run(&mut self, name: &FunctionName) {
        self.totals.running -= 1;
        if let Some(line) = self.lines.get_mut(name) {
            line.running -= 1;
        }
        self.tidy(name);
    }

    fn leave_wait(
        &mut self,
        name: &FunctionName,
        (host, sequence): (Host, u64),
        not_before: Option<Instant>,
    ) {
        if let Some(line) = self.lines.get_mut(name) {
            match not_before {
                Some(at) => {
                    self.later.remove(&(at, sequence));
                    line.later -= 1;
                }
                None => line.ready.remove(host, sequence),
            }
        }
    }

    /// Takes a call out of where it is; `None` when it is over already. Answers the file of its body.
    fn leave(&mut self, sequence: u64, with_body: bool) -> Option<Option<String>> {
        let entry = self.calls.get_mut(&sequence)?;
        let (name, state) = (entry.function.clone(), entry.state.clone());
        let file = if with_body { entry.file.take() } else { None };
        let (size, host) = (entry.size, entry.host);
        match state {
            State::Waiting { not_before } => self.leave_wait(&name, (host, sequence), not_before),
            State::Running { .. } => self.leave_run(&name),
            State::CallingBack => {
                self.callbacks.remove(host);
                if let Some(line) = self.lines.get_mut(&name) {
                    line.calling_back -= 1;
                }
            }
            State::Ended { .. } | State::Dead { .. } => return None,
        }
        self.tidy(&name);
        self.totals.calls -= 1;
        if with_body {
            self.totals.bytes -= size;
        }
        Some(file)
    }

    /// Forgets a line that holds nothing.
    fn tidy(&mut self, name: &FunctionName) {
        if self.lines.get(name).is_some_and(Line::is_empty) {
            self.lines.remove(name);
        }
    }
}

#[cfg(test)]
mod tests;
