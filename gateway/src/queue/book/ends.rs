//! How calls end: done, cancelled, or as dead letters; and how long they are remembered.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::super::call::Death;
use super::{Book, Cancelled, DeadLetters, Ended, Entry, REMEMBERED_FOR, State};

impl Book {
    /// A call has ended. Answers the file of its body.
    pub(in crate::queue) fn end(
        &mut self,
        sequence: u64,
        status: Option<u16>,
        how: Ended,
        now: (Instant, SystemTime),
    ) -> Option<String> {
        let file = self.leave(sequence, true)?;
        let entry = self.calls.get_mut(&sequence)?;
        entry.state = State::Ended { status, how, since: now.0, at: now.1 };
        self.ended.push_back(sequence);
        self.forget(now.0);
        file
    }

    /// A call is a dead letter.
    pub(in crate::queue) fn bury(&mut self, sequence: u64, death: Death) {
        if self.leave(sequence, false).is_none() {
            return;
        }
        if let Some(entry) = self.calls.get_mut(&sequence) {
            entry.state = State::Dead { death };
            self.dead.insert(sequence);
            self.line_of(sequence).dead += 1;
        }
    }

    /// Takes a dead letter out for good. Answers the file of its body.
    fn remove_dead(&mut self, sequence: u64) -> Option<Option<String>> {
        if !self.dead.remove(&sequence) {
            return None;
        }
        self.line_of(sequence).dead -= 1;
        let entry = self.calls.remove(&sequence)?;
        self.tidy(&entry.function);
        self.totals.bytes -= entry.size;
        self.forget_id(&entry.id, sequence);
        Some(entry.file)
    }

    /// The dead letter of this id, the newest.
    pub(in crate::queue) fn dead_letter(&self, id: &str) -> Option<(u64, u32)> {
        self.dead.iter().rev().find_map(|sequence| {
            let entry = self.calls.get(sequence)?;
            (*entry.id == *id).then_some((*sequence, entry.starts))
        })
    }

    /// A dead letter is on the disk as a call again, in the place that it had; false when it is none any more.
    pub(in crate::queue) fn revive(&mut self, sequence: u64, now: Instant) -> bool {
        if !self.dead.remove(&sequence) {
            return false;
        }
        let entry = self.calls.get_mut(&sequence).expect("a dead letter is in the book");
        entry.state = State::Waiting { not_before: None };
        self.totals.calls += 1;
        self.ids.insert(entry.id.clone(), sequence);
        self.line_of(sequence).dead -= 1;
        self.wait_in_line(sequence, now);
        true
    }

    /// Takes the newest call of an id out, if it has not begun.
    pub(in crate::queue) fn cancel(
        &mut self,
        id: &str,
        dead: DeadLetters,
        now: (Instant, SystemTime),
    ) -> Cancelled {
        let Some(sequence) = self.ids.get(id).copied() else { return Cancelled::Unknown };
        let Some(entry) = self.calls.get_mut(&sequence) else { return Cancelled::Unknown };
        match &mut entry.state {
            State::Waiting { .. } => {
                let file = self.end(sequence, None, Ended::Cancelled, now);
                Cancelled::Out { sequence, file }
            }
            State::Running { stop } => {
                stop.cancel();
                Cancelled::Running
            }
            State::CallingBack | State::Ended { .. } => Cancelled::TooLate,
            State::Dead { .. } if dead == DeadLetters::Stay => Cancelled::TooLate,
            State::Dead { .. } => match self.remove_dead(sequence) {
                Some(file) => Cancelled::Out { sequence, file },
                None => Cancelled::Unknown,
            },
        }
    }

    fn forget(&mut self, now: Instant) {
        while let Some(sequence) = self.ended.front().copied() {
            let old = |entry: &Entry| match entry.state {
                State::Ended { since, .. } => now.saturating_duration_since(since) > REMEMBERED_FOR,
                _ => true,
            };
            let is_old = self.calls.get(&sequence).is_none_or(old);
            if !is_old && self.ended.len() <= self.limits.ended {
                return;
            }
            self.ended.pop_front();
            if let Some(entry) = self.calls.remove(&sequence) {
                self.forget_id(&entry.id, sequence);
            }
        }
    }

    fn forget_id(&mut self, id: &Arc<str>, sequence: u64) {
        if self.ids.get(id) == Some(&sequence) {
            self.ids.remove(id);
        }
    }
}
