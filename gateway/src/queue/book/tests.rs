//! The state machine: every way a call can go, and the sums after it.

use super::super::call::tests::call;
use super::*;
use proptest::prelude::*;

const LIMITS: Limits =
    Limits { calls: 100, bytes: 10_000, workers: 2, callbacks_each: 2, callbacks: 3, dead: 2, ended: 3 };

fn name(text: &str) -> FunctionName {
    FunctionName::parse(text).unwrap()
}

fn free(_: &FunctionName) -> Room {
    Room::Most(u32::MAX)
}

fn now() -> (Instant, SystemTime) {
    (Instant::now(), SystemTime::now())
}

fn death() -> Death {
    Death { reason: "x".into(), status: Some(500), at_unix_nanos: 1 }
}

/// Adds a call of a function; `None` when the book is full.
fn add(book: &mut Book, function: &str, id: &str) -> Option<u64> {
    let call = call(function, id);
    let (sequence, _gone) = book.reserve(call.size()).ok()?;
    book.add(sequence, &call, Instant::now());
    Some(sequence)
}

/// A book with so many calls of each function, ids `name-0`, `name-1`, …
fn book(functions: &[(&str, usize)]) -> Book {
    let mut book = Book::new(LIMITS);
    for (function, count) in functions {
        for number in 0..*count {
            add(&mut book, function, &format!("{function}-{number}")).unwrap();
        }
    }
    book
}

fn functions(book: &Book, turns: &[Turn]) -> Vec<String> {
    turns.iter().map(|turn| book.calls[&turn.sequence].function.to_string()).collect()
}

#[test]
fn functions_take_turns() {
    let mut book = book(&[("flood", 10), ("a", 1), ("b", 1)]);
    let (turns, orphans) = book.take(Instant::now(), free);
    // Two workers, and one more for each function of which none runs.
    assert_eq!(functions(&book, &turns), ["flood", "a", "b"]);
    assert!(orphans.is_empty());
    for turn in &turns[..2] {
        book.end(turn.sequence, Some(200), Ended::Done, now());
    }
    let (turns, _) = book.take(Instant::now(), free);
    assert_eq!(functions(&book, &turns), ["flood"]);
    assert_eq!(book.totals().running, 2);
}

#[test]
fn a_flood_does_not_take_more_than_the_workers_there_are() {
    let mut book = book(&[("flood", 10)]);
    assert_eq!(book.take(Instant::now(), free).0.len(), LIMITS.workers);
    assert_eq!(book.take(Instant::now(), free).0.len(), 0);
}

#[test]
fn a_functions_own_limit_is_kept() {
    let mut book = book(&[("one", 5)]);
    let one = |_: &FunctionName| Room::Most(1);
    let (turns, _) = book.take(Instant::now(), one);
    assert_eq!(turns.len(), 1);
    assert!(book.take(Instant::now(), one).0.is_empty());
}

#[test]
fn what_is_turned_back_waits_and_was_not_started() {
    let mut book = book(&[("full", 2)]);
    let began = Instant::now();
    let turn = book.take(began, |_| Room::Most(1)).0.remove(0);
    assert_eq!(turn.starts, 1);
    assert_eq!(book.turn_back(turn.sequence, began), Some(0));
    assert!(book.take(began, free).0.is_empty(), "its function is asked again at once");
    let woken = book.next_wake().unwrap();
    assert!(woken > began);
    let again = book.take(woken, |_| Room::Most(1)).0.remove(0);
    assert_eq!(again, turn, "the first one is still the first, and its start is the first");
    book.turn_back(again.sequence, woken);
    let pauses = (woken - began, book.next_wake().unwrap() - woken);
    assert_eq!(pauses.1, 2 * pauses.0);
}

#[test]
fn a_retry_waits_for_its_time_and_says_how_often() {
    let mut book = book(&[("f", 1)]);
    let began = Instant::now();
    let turn = book.take(began, free).0.remove(0);
    assert!(book.retry(turn.sequence, began + Duration::from_secs(5)));
    assert!(book.take(began + Duration::from_secs(4), free).0.is_empty());
    assert_eq!(book.call("f-0", began).unwrap().state, "retrying");
    let depth = &book.depths(SystemTime::now())[0];
    assert_eq!((depth.waiting, depth.ready), (1, 0));
    let again = book.take(began + Duration::from_secs(5), free).0.remove(0);
    assert_eq!(again, Turn { sequence: turn.sequence, starts: 2 });
}

#[test]
fn a_call_that_was_started_before_a_crash_counts_that() {
    let mut book = Book::new(LIMITS);
    book.restore(7, &call("f", "x"), 2, None, (None, Instant::now()));
    let turn = book.take(Instant::now(), free).0.remove(0);
    assert_eq!(turn, Turn { sequence: 7, starts: 3 });
    assert_eq!(book.reserve(0).unwrap().0, 8, "new calls come after the old ones");
}

#[test]
fn a_queue_that_is_full_takes_no_more() {
    let mut book = book(&[("f", 100)]);
    assert_eq!(book.reserve(0), Err(Full::Calls));
    let turn = book.take(Instant::now(), free).0.remove(0);
    assert_eq!(book.has_room(0), Err(Full::Calls));
    book.end(turn.sequence, Some(200), Ended::Done, now());
    let left = LIMITS.bytes - book.totals().bytes;
    assert_eq!((book.reserve(left + 1), book.has_room(left + 1)), (Err(Full::Bytes), Err(Full::Bytes)));
    assert_eq!(book.totals().calls, 99, "a place without bytes is none");
    let _place = book.reserve(left).unwrap();
    assert_eq!(book.reserve(0), Err(Full::Calls));
    book.give_up(left);
    assert!(book.reserve(0).is_ok());
}

#[test]
fn dead_letters_make_room_the_oldest_first() {
    let mut book = Book::new(LIMITS);
    let (large, small) = ("l".repeat(4_000), "s".repeat(3_000));
    for id in [&large, &small] {
        add(&mut book, "f", id).unwrap();
        let turn = book.take(Instant::now(), free).0.remove(0);
        assert!(book.bury(turn.sequence, death()).is_empty());
    }
    assert_eq!(book.keep_bytes(3_000), Ok(vec![]));
    let gone = book.keep_bytes(5_000).unwrap();
    assert_eq!(gone.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(book.keep_bytes(2_001), Err(Full::Bytes), "what waits makes none");
    book.give_back(8_000);
    assert_eq!(book.totals(), Totals::default());
}

#[test]
fn what_may_start_for_too_long_is_taken_out_and_nothing_else() {
    let mut book = Book::new(LIMITS);
    let began = Instant::now();
    let later = began + Duration::from_secs(60);
    for (id, at) in [("old", began), ("turned-back", began), ("new", later)] {
        let call = call("f", id);
        let (sequence, _) = book.reserve(call.size()).unwrap();
        book.add(sequence, &call, at);
    }
    // It was accepted long ago, and waits since now.
    book.restore(9, &call("f", "from-before"), 1, None, (None, later));
    let turns = book.take(later, |_| Room::Most(1)).0;
    assert_eq!(turns.len(), 1);
    book.turn_back(turns[0].sequence, later);
    assert!(book.take_overdue(began, 9).is_empty());
    assert_eq!(book.take_overdue(later, 1), [1]);
    assert_eq!(book.take_overdue(later, 9), [2]);
    assert_eq!(book.totals().running, 2);
    for sequence in [1, 2] {
        book.bury(sequence, death());
    }
    assert_eq!(book.depths(SystemTime::now())[0].ready, 2);
}

#[test]
fn calls_of_a_function_that_is_gone_are_found_once() {
    let mut book = book(&[("gone", 3), ("f", 1)]);
    let room = |found: &FunctionName| if *found == name("gone") { Room::Gone } else { Room::Most(9) };
    let (turns, orphans) = book.take(Instant::now(), room);
    assert_eq!((turns.len(), orphans.len()), (1, 3));
    assert!(book.take(Instant::now(), room).1.is_empty());
    let evicted: Vec<_> = orphans.iter().flat_map(|orphan| book.bury(*orphan, death())).collect();
    assert_eq!(evicted, [(orphans[0], None)], "the oldest goes where there is no room");
    assert_eq!(book.dead_letters(), 2);
    let totals = book.totals();
    assert_eq!((totals.calls, totals.running), (1, 1));
}

#[test]
fn a_dead_letter_is_read_replayed_and_removed() {
    let mut book = book(&[("f", 2)]);
    for turn in book.take(Instant::now(), free).0 {
        book.bury(turn.sequence, death());
    }
    let listed = book.list(true, Some(&name("f")), 10, Instant::now());
    assert_eq!(listed.iter().map(|call| call.id.as_str()).collect::<Vec<_>>(), ["f-0", "f-1"]);
    assert_eq!(
        (listed[0].state, listed[0].status, listed[0].reason.as_deref()),
        ("dead", Some(500), Some("x"))
    );
    let (sequence, starts) = book.dead_letter("f-0").unwrap();
    assert_eq!(starts, 1);
    book.keep_place().unwrap();
    assert!(book.revive(sequence, Instant::now()) && !book.revive(sequence, Instant::now()));
    assert_eq!(book.take(Instant::now(), free).0, [Turn { sequence, starts: 2 }]);
    assert_eq!(book.cancel("f-1", DeadLetters::Stay, now()), Cancelled::TooLate);
    assert!(matches!(book.cancel("f-1", DeadLetters::Go, now()), Cancelled::Out { .. }));
    assert_eq!(book.cancel("f-1", DeadLetters::Go, now()), Cancelled::Unknown);
}

#[test]
fn cancelling_meets_a_call_wherever_it_is() {
    let mut book = book(&[("f", 4)]);
    let turns = book.take(Instant::now(), free).0;
    let stop = book.stop_of(turns[0].sequence);
    assert_eq!(book.cancel("f-0", DeadLetters::Go, now()), Cancelled::Running);
    assert!(stop.is_cancelled() && !book.stop_of(turns[1].sequence).is_cancelled());
    assert!(book.call_back(turns[1].sequence));
    assert_eq!(book.cancel("f-1", DeadLetters::Go, now()), Cancelled::TooLate);
    assert!(matches!(book.cancel("f-2", DeadLetters::Go, now()), Cancelled::Out { .. }));
    assert_eq!(book.cancel("f-2", DeadLetters::Go, now()), Cancelled::TooLate);
    assert_eq!(book.cancel("never", DeadLetters::Go, now()), Cancelled::Unknown);
    assert_eq!(book.call("f-2", Instant::now()).unwrap().state, "cancelled");
    // What was cancelled while it ran does not run again, whatever became of the run.
    let cancelled = turns[0].sequence;
    assert_eq!(book.turn_back(cancelled, Instant::now()), None);
    assert!(!book.retry(cancelled, Instant::now()) && !book.call_back(cancelled));
    book.end(cancelled, None, Ended::Cancelled, now());
    let turn = book.take(Instant::now(), free).0.remove(0);
    assert!(book.retry(turn.sequence, Instant::now() + Duration::from_secs(9)));
    assert!(matches!(book.cancel("f-3", DeadLetters::Stay, now()), Cancelled::Out { .. }));
    assert_eq!(book.next_wake(), None);
}

#[test]
fn callbacks_on_their_way_hold_up_their_own_function_only() {
    let mut book = book(&[("slow", 5), ("f", 1)]);
    for _ in 0..2 {
        let (turns, _) = book.take(Instant::now(), |found| Room::Most(u32::from(*found == name("slow"))));
        assert!(book.call_back(turns[0].sequence));
    }
    let (turns, _) = book.take(Instant::now(), free);
    assert_eq!(functions(&book, &turns), ["f"]);
}

#[test]
fn ended_calls_are_remembered_up_to_a_number_and_an_age() {
    let mut book = book(&[("f", 5)]);
    let ended = now();
    for number in 0..5 {
        let sequence = book.take(ended.0, |_| Room::Most(1)).0[0].sequence;
        book.end(sequence, Some(200), Ended::Done, ended);
        assert_eq!(book.call(&format!("f-{number}"), ended.0).unwrap().status, Some(200));
    }
    assert_eq!(book.call("f-1", ended.0), None);
    assert_eq!(book.call("f-2", ended.0).unwrap().state, "done");
    add(&mut book, "f", "last").unwrap();
    let sequence = book.take(ended.0, free).0[0].sequence;
    let later = (ended.0 + REMEMBERED_FOR + Duration::from_secs(1), ended.1);
    book.end(sequence, Some(200), Ended::Done, later);
    assert_eq!(book.call("f-4", later.0), None);
    assert_eq!(book.call("last", later.0).unwrap().status, Some(200));
}

#[test]
fn an_id_that_comes_twice_names_the_newest() {
    let mut book = Book::new(LIMITS);
    for function in ["first", "second"] {
        add(&mut book, function, "same").unwrap();
    }
    assert_eq!(book.call("same", Instant::now()).unwrap().function, name("second"));
    assert_eq!(book.totals().calls, 2);
}

#[derive(Debug, Clone)]
enum Step {
    Add(u8),
    Take,
    Back,
    Retry,
    CallBack,
    End,
    Bury,
    Cancel(u8),
    Revive,
    Later,
    Overdue,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0_u8..4).prop_map(Step::Add),
        3 => Just(Step::Take),
        1 => Just(Step::Back),
        1 => Just(Step::Retry),
        1 => Just(Step::CallBack),
        2 => Just(Step::End),
        1 => Just(Step::Bury),
        1 => any::<u8>().prop_map(Step::Cancel),
        1 => Just(Step::Revive),
        1 => Just(Step::Later),
        1 => Just(Step::Overdue),
    ];
    proptest::collection::vec(step, 0..120)
}

proptest! {
    #[test]
    fn the_sums_are_those_of_the_calls(steps in steps()) {
        let mut book = Book::new(LIMITS);
        let (mut clock, mut running, mut added) = (Instant::now(), Vec::<u64>::new(), 0_u32);
        for step in steps {
            match step {
                Step::Add(function) => if add(&mut book, &format!("f{function}"), &added.to_string()).is_some() {
                    added += 1;
                },
                Step::Take => running.extend(book.take(clock, free).0.iter().map(|turn| turn.sequence)),
                Step::Back => if let Some(sequence) = running.pop()
                    && book.turn_back(sequence, clock).is_none() {
                    book.end(sequence, None, Ended::Cancelled, (clock, SystemTime::now()));
                },
                Step::Retry => if let Some(sequence) = running.pop()
                    && !book.retry(sequence, clock + Duration::from_secs(1)) {
                    book.end(sequence, None, Ended::Cancelled, (clock, SystemTime::now()));
                },
                Step::CallBack => if let Some(sequence) = running.pop() {
                    let _cancelled = !book.call_back(sequence);
                    book.end(sequence, Some(200), Ended::Done, (clock, SystemTime::now()));
                },
                Step::End => if let Some(sequence) = running.pop() {
                    book.end(sequence, Some(200), Ended::Done, (clock, SystemTime::now()));
                },
                Step::Bury => if let Some(sequence) = running.pop() { book.bury(sequence, death()); },
                Step::Cancel(id) => {
                    book.cancel(&(u32::from(id) % added.max(1)).to_string(), DeadLetters::Go, (clock, SystemTime::now()));
                }
                Step::Revive => if let Some(sequence) = book.dead.last().copied()
                    && book.keep_place().is_ok() {
                    prop_assert!(book.revive(sequence, clock));
                },
                Step::Overdue => for sequence in book.take_overdue(clock, 3) { book.bury(sequence, death()); },
                Step::Later => clock += Duration::from_secs(2),
            }
            let state = |wanted: fn(&State) -> bool| {
                book.calls.values().filter(|entry| wanted(&entry.state)).count()
            };
            let waiting = state(|state| matches!(state, State::Waiting { .. }));
            let ran = state(|state| matches!(state, State::Running { .. }));
            prop_assert_eq!(book.totals.running, ran);
            prop_assert_eq!(ran, running.len());
            prop_assert_eq!(book.totals.calls, waiting + ran);
            let depth: usize = book.lines.values().map(Line::depth).sum();
            prop_assert_eq!(depth, waiting);
            prop_assert!(book.dead.len() <= LIMITS.dead);
            let size = |entry: &Entry| if let State::Ended { .. } = entry.state { 0 } else { entry.size };
            prop_assert_eq!(book.totals.bytes, book.calls.values().map(size).sum::<u64>());
            let is_dead = |entry: &&Entry| matches!(entry.state, State::Dead { .. });
            prop_assert_eq!(book.dead_bytes, book.calls.values().filter(is_dead).map(size).sum::<u64>());
            prop_assert!(book.ended.len() <= LIMITS.ended);
        }
        // Whatever happened, what waits comes to its turn.
        for sequence in running.drain(..) {
            book.end(sequence, None, Ended::Done, (clock, SystemTime::now()));
        }
        for _ in 0..200 {
            clock += Duration::from_secs(2);
            for turn in book.take(clock, free).0 {
                book.end(turn.sequence, None, Ended::Done, (clock, SystemTime::now()));
            }
        }
        prop_assert_eq!(book.totals, Totals { bytes: book.dead_bytes, ..Totals::default() });
        prop_assert!(book.later.is_empty());
    }
}
