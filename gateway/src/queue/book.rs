//! Which call comes next: what is known of every call, in memory, without its body.
//!
//! Pure: time comes in as an argument, and nothing is written here. The properties that must hold: no
//! call is in two states; functions take turns, so that many calls of one do not keep others waiting;
//! every collection is bounded by [`Limits`].

mod ends;
mod line;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bramble_provider::FunctionName;

use super::call::{Call, Death};
use line::Line;
pub(crate) use view::{CallView, Depth, Totals};

/// Longest that an ended call is remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(60 * 60);

/// What the queue holds at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Calls that wait or run.
    pub(super) calls: usize,
    /// Bytes of their bodies, and of the dead letters'.
    pub(super) bytes: u64,
    /// Calls that run at once; a function of which none runs may have one beyond that, up to twice as many.
    pub(super) workers: usize,
    /// Callbacks on their way at once, for one function.
    pub(super) callbacks_each: u32,
    /// Callbacks on their way at once, for all.
    pub(super) callbacks: usize,
    /// Dead letters; the oldest goes when there is one more.
    pub(super) dead: usize,
    /// Ended calls that are remembered.
    pub(super) ended: usize,
}

/// One call.
#[derive(Debug, Clone)]
struct Entry {
    id: Arc<str>,
    function: FunctionName,
    state: State,
    /// How often it was started.
    starts: u32,
    bytes: u64,
    file: Option<String>,
    accepted_at: SystemTime,
}

/// Where a call is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Waiting { not_before: Option<Instant> },
    Running { cancelled: bool },
    CallingBack,
    Ended { status: Option<u16>, how: Ended, since: Instant, at: SystemTime },
    Dead { death: Death },
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

/// Why a call is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    Calls,
    Bytes,
}

/// What a cancelling met.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cancelled {
    /// It is out, with the file of its body.
    Out { sequence: u64, file: Option<String> },
    /// It runs; what it answers is told to nobody, and it is not run again.
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
            ended: VecDeque::new(),
            dead: BTreeSet::new(),
            totals: Totals::default(),
            next_sequence: 1,
        }
    }

    /// Keeps a place for a call that is being written. Give it up with [`Self::give_up`], or take it
    /// with [`Self::add`].
    pub(super) fn reserve(&mut self, bytes: u64) -> Result<u64, Full> {
        if self.totals.calls >= self.limits.calls {
            return Err(Full::Calls);
        }
        if self.totals.bytes.saturating_add(bytes) > self.limits.bytes {
            return Err(Full::Bytes);
        }
        self.totals.calls += 1;
        self.totals.bytes += bytes;
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        Ok(sequence)
    }

    /// Gives a place back.
    pub(super) fn give_up(&mut self, bytes: u64) {
        self.totals.calls -= 1;
        self.totals.bytes -= bytes;
    }

    /// A call for which a place is kept is on the disk.
    pub(super) fn add(&mut self, sequence: u64, call: &Call) {
        self.enter(sequence, call, State::Waiting { not_before: None }, 0);
        self.wait_in_line(sequence);
    }

    /// A call that was found at the start.
    pub(super) fn restore(
        &mut self,
        sequence: u64,
        call: &Call,
        starts: u32,
        death: Option<Death>,
        not_before: Option<Instant>,
    ) {
        self.next_sequence = self.next_sequence.max(sequence + 1);
        self.totals.bytes += call.body.bytes();
        match death {
            Some(death) => {
                self.enter(sequence, call, State::Dead { death }, starts);
                self.dead.insert(sequence);
            }
            None => {
                self.totals.calls += 1;
                self.enter(sequence, call, State::Waiting { not_before }, starts);
                match not_before {
                    Some(at) => drop(self.later.insert((at, sequence))),
                    None => self.wait_in_line(sequence),
                }
                if not_before.is_some() {
                    self.line_of(sequence).later += 1;
                }
            }
        }
    }

    /// The next calls, one of each function in turn, and those whose function is gone.
    pub(super) fn take(
        &mut self,
        now: Instant,
        room: impl Fn(&FunctionName) -> Room,
    ) -> (Vec<Turn>, Vec<u64>) {
        self.wake(now);
        let (mut taken, mut orphans) = (Vec::new(), Vec::new());
        let mut passed_by = 0;
        while passed_by < self.turns.len() && self.totals.running < 2 * self.limits.workers {
            let Some(name) = self.turns.pop_front() else { break };
            let line = self.lines.get_mut(&name).expect("a function in turn has a line");
            if line.ready.is_empty() {
                line.in_turn = false;
                self.tidy(&name);
                continue;
            }
            let most = match room(&name) {
                Room::Gone => {
                    line.in_turn = false;
                    orphans.extend(line.ready.drain(..));
                    continue;
                }
                Room::Most(most) => most,
            };
            let is_free = self.totals.running < self.limits.workers || line.running == 0;
            let may = line.may_start(now, most, self.limits.callbacks_each)
                && self.totals.calling_back < self.limits.callbacks;
            if !is_free || !may {
                self.turns.push_back(name);
                passed_by += 1;
                continue;
            }
            let sequence = line.ready.pop_front().expect("it is not empty");
            line.running += 1;
            self.turns.push_back(name);
            passed_by = 0;
            self.totals.running += 1;
            let entry = self.calls.get_mut(&sequence).expect("a call in line is in the book");
            entry.state = State::Running { cancelled: false };
            entry.starts += 1;
            taken.push(Turn { sequence, starts: entry.starts });
        }
        for sequence in &orphans {
            // As if they ran, so that nobody else takes them before they are buried.
            let entry = self.calls.get_mut(sequence).expect("a call in line is in the book");
            entry.state = State::Running { cancelled: false };
            self.totals.running += 1;
            self.line_of(*sequence).running += 1;
        }
        (taken, orphans)
    }

    /// When [`Self::take`] may find more without anything else happening.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        let later = self.later.first().map(|(at, _)| *at);
        // Where all workers are busy, one that ends wakes it.
        let is_free = self.totals.running < 2 * self.limits.workers;
        let paused = self.turns.iter().filter_map(|name| self.lines.get(name)?.paused_until);
        let paused = paused.filter(|_| is_free).min();
        [later, paused].into_iter().flatten().min()
    }

    /// A call that was taken did not run: its function had no room for it. Answers its starts, and
    /// when its function is asked again.
    pub(super) fn turn_back(&mut self, sequence: u64, now: Instant) -> Option<u32> {
        let entry = self.calls.get_mut(&sequence)?;
        if !matches!(entry.state, State::Running { .. }) {
            return None;
        }
        entry.starts -= 1;
        entry.state = State::Waiting { not_before: None };
        let (starts, name) = (entry.starts, entry.function.clone());
        let line = self.lines.entry(name.clone()).or_default();
        line.pause(now);
        line.ready.push_front(sequence);
        self.leave_run(&name);
        self.join_turn(&name);
        Some(starts)
    }

    /// The function has room: its pauses begin anew.
    pub(super) fn ran(&mut self, sequence: u64) {
        self.line_of(sequence).resume();
    }

    /// A call that ran is to run again at `at`.
    pub(super) fn retry(&mut self, sequence: u64, at: Instant) {
        let Some(entry) = self.calls.get_mut(&sequence) else { return };
        entry.state = State::Waiting { not_before: Some(at) };
        let name = entry.function.clone();
        self.leave_run(&name);
        self.later.insert((at, sequence));
        self.line_of(sequence).later += 1;
    }

    /// A call ran, and its callback is on its way.
    pub(super) fn call_back(&mut self, sequence: u64) {
        let Some(entry) = self.calls.get_mut(&sequence) else { return };
        entry.state = State::CallingBack;
        let name = entry.function.clone();
        self.leave_run(&name);
        self.totals.calling_back += 1;
        self.line_of(sequence).calling_back += 1;
    }

    /// Whether a call was cancelled while it ran.
    pub(super) fn was_cancelled(&self, sequence: u64) -> bool {
        self.calls.get(&sequence).is_some_and(|entry| entry.state == State::Running { cancelled: true })
    }

    /// The first calls of each function that were accepted before `since` and may start at any time.
    pub(super) fn overdue(&self, since: SystemTime) -> Vec<u64> {
        let is_overdue =
            |sequence: &&u64| self.calls.get(sequence).is_some_and(|entry| entry.accepted_at < since);
        self.lines.values().flat_map(|line| line.ready.iter().take_while(is_overdue)).copied().collect()
    }

    /// Takes a call that waits out of its line, as if it ran, to bury it.
    pub(super) fn take_out(&mut self, sequence: u64) {
        let Some(entry) = self.calls.get_mut(&sequence) else { return };
        let State::Waiting { not_before } = entry.state else { return };
        entry.state = State::Running { cancelled: false };
        let name = entry.function.clone();
        self.leave_wait(&name, sequence, not_before);
        self.line_of(sequence).running += 1;
        self.totals.running += 1;
    }

    fn enter(&mut self, sequence: u64, call: &Call, state: State, starts: u32) {
        let id: Arc<str> = call.id.as_str().into();
        self.ids.insert(id.clone(), sequence);
        let entry = Entry {
            id,
            function: call.function.clone(),
            state,
            starts,
            bytes: call.body.bytes(),
            file: call.body.file().map(str::to_owned),
            accepted_at: call.accepted_at(),
        };
        self.calls.insert(sequence, entry);
    }

    fn line_of(&mut self, sequence: u64) -> &mut Line {
        let name = self.calls[&sequence].function.clone();
        self.lines.entry(name).or_default()
    }

    fn wait_in_line(&mut self, sequence: u64) {
        let name = self.calls[&sequence].function.clone();
        self.lines.entry(name.clone()).or_default().ready.push_back(sequence);
        self.join_turn(&name);
    }

    fn join_turn(&mut self, name: &FunctionName) {
        let line = self.lines.entry(name.clone()).or_default();
        if !std::mem::replace(&mut line.in_turn, true) {
            self.turns.push_back(name.clone());
        }
    }

    fn wake(&mut self, now: Instant) {
        while let Some(&(at, sequence)) = self.later.first() {
            if at > now {
                return;
            }
            self.later.pop_first();
            if let Some(entry) = self.calls.get_mut(&sequence) {
                entry.state = State::Waiting { not_before: None };
                self.line_of(sequence).later -= 1;
                self.wait_in_line(sequence);
            }
        }
    }

    fn leave_run(&mut self, name: &FunctionName) {
        self.totals.running -= 1;
        if let Some(line) = self.lines.get_mut(name) {
            line.running -= 1;
        }
        self.tidy(name);
    }

    fn leave_wait(&mut self, name: &FunctionName, sequence: u64, not_before: Option<Instant>) {
        if let Some(line) = self.lines.get_mut(name) {
            match not_before {
                Some(at) => {
                    self.later.remove(&(at, sequence));
                    line.later -= 1;
                }
                None => line.ready.retain(|waiting| *waiting != sequence),
            }
        }
    }

    /// Takes a call out of where it is; `None` when it is over already. Answers the file of its body.
    fn leave(&mut self, sequence: u64, with_body: bool) -> Option<Option<String>> {
        let entry = self.calls.get_mut(&sequence)?;
        let (name, state) = (entry.function.clone(), entry.state.clone());
        let file = if with_body { entry.file.take() } else { None };
        let bytes = entry.bytes;
        match state {
            State::Waiting { not_before } => self.leave_wait(&name, sequence, not_before),
            State::Running { .. } => self.leave_run(&name),
            State::CallingBack => {
                self.totals.calling_back -= 1;
                if let Some(line) = self.lines.get_mut(&name) {
                    line.calling_back -= 1;
                }
            }
            State::Ended { .. } | State::Dead { .. } => return None,
        }
        self.tidy(&name);
        self.totals.calls -= 1;
        if with_body {
            self.totals.bytes -= bytes;
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
