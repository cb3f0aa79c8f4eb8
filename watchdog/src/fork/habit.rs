//! Whether a function's answers are small: it decides whether a request's output is watched from the start.

use std::sync::atomic::{AtomicU32, Ordering};

/// Small answers in a row after which output is not watched at first. Watching costs each answer two more
/// wake-ups, about 40 µs; not watching costs a large one 5 ms: even where one in so many is large.
const SMALL_IN_A_ROW: u32 = 128;

/// What a function's last answers were like.
#[derive(Debug)]
pub(super) struct Habit {
    /// Small answers that are still missing.
    missing: AtomicU32,
}

impl Habit {
    /// Of a function that nothing is known of.
    pub(super) fn new() -> Self {
        Self { missing: AtomicU32::new(SMALL_IN_A_ROW) }
    }

    /// Whether the next answer is likely to fit into a pipe.
    pub(super) fn is_small(&self) -> bool {
        self.missing.load(Ordering::Relaxed) == 0
    }

    /// Notes an answer. Threads may overtake each other here: it is a guess either way.
    pub(super) fn note(&self, small: bool) {
        match (small, self.missing.load(Ordering::Relaxed)) {
            (true, 0) => {}
            (true, missing) => self.missing.store(missing - 1, Ordering::Relaxed),
            (false, _) => self.missing.store(SMALL_IN_A_ROW, Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_large_answer_counts_for_many_small_ones() {
        let habit = Habit::new();
        let small = |count: u32| (0..count).for_each(|_| habit.note(true));
        small(SMALL_IN_A_ROW - 1);
        assert!(!habit.is_small());
        small(2);
        assert!(habit.is_small());
        habit.note(false);
        small(SMALL_IN_A_ROW - 1);
        assert!(!habit.is_small());
        small(1);
        assert!(habit.is_small());
    }
}
