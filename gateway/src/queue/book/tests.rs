//! The state machine: every way a call can go, and the sums after it.

use super::super::call::tests::call;
use super::*;
use proptest::prelude::*;

const GRACE: Duration = Duration::from_secs(60);

const LIMITS: Limits = Limits {
    calls: 100,
    bytes: 10_000,
    workers: 2,
    callbacks_each: 2,
    callbacks: 3,
    dead_each: 2,
    ended: 3,
    grace: GRACE,
};

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
    let sequence = book.reserve(&call.function, call.size()).ok()?;
    book.add(sequence, &call, Instant::now());
    Some(sequence)
}

/// Adds a call whose answer goes to a host.
fn add_for(book: &mut Book, host: &str, id: &str) -> Option<u64> {
    let call = Call { callback: Some(format!("http://{host}/{id}")), ..call("f", id) };
    let sequence = book.reserve(&call.function, call.size()).ok()?;
    book.add(sequence, &call, Instant::now());
    Some(sequence)
}

/// The ids of calls.
fn ids(book: &Book, turns: &[Turn]) -> Vec<String> {
    turns.iter().map(|turn| book.calls[&turn.sequence].id.to_string()).collect()
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
    let turns = book.take(Instant::now(), free);
    // Two workers, and one more for each function of which none runs.
    assert_eq!(functions(&book, &turns), ["flood", "a", "b"]);
    for turn in &turns[..2] {
        book.end(turn.sequence, Some(200), Ended::Done, now());
    }
    let turns = book.take(Instant::now(), free);
    assert_eq!(functions(&book, &turns), ["flood"]);
    assert_eq!(book.totals().running, 2);
}

#[test]
fn a_flood_does_not_take_more_than_the_workers_there_are() {
    let mut book = book(&[("flood", 10)]);
    assert_eq!(book.take(Instant::now(), free).len(), LIMITS.workers);
    assert_eq!(book.take(Instant::now(), free).len(), 0);
}

#[test]
fn a_functions_own_limit_is_kept() {
    let mut book = book(&[("one", 5)]);
    let one = |_: &FunctionName| Room::Most(1);
    let turns = book.take(Instant::now(), one);
    assert_eq!(turns.len(), 1);
    assert!(book.take(Instant::now(), one).is_empty());
}

#[test]
fn what_is_turned_back_waits_and_was_not_started() {
    let mut book = book(&[("full", 2)]);
    let began = Instant::now();
    let turn = book.take(began, |_| Room::Most(1)).remove(0);
    assert_eq!(turn.starts, 1);
    assert_eq!(book.turn_back(turn.sequence, began), Some(0));
    assert!(book.take(began, free).is_empty(), "its function is asked again at once");
    let woken = book.next_wake().unwrap();
    assert!(woken > began);
    let again = book.take(woken, |_| Room::Most(1)).remove(0);
    assert_eq!(again, turn, "the first one is still the first, and its start is the first");
    book.turn_back(again.sequence, woken);
    let pauses = (woken - began, book.next_wake().unwrap() - woken);
    assert_eq!(pauses.1, 2 * pauses.0);
}

#[test]
fn a_retry_waits_for_its_time_and_says_how_often() {
    let mut book = book(&[("f", 1)]);
    let began = Instant::now();
    let turn = book.take(began, free).remove(0);
    assert!(book.retry(turn.sequence, began + Duration::from_secs(5)));
    assert!(book.take(began + Duration::from_secs(4), free).is_empty());
    assert_eq!(book.call("f-0", began).unwrap().state, "retrying");
    let depth = &book.depths(SystemTime::now())[0];
    assert_eq!((depth.waiting, depth.ready), (1, 0));
    let again = book.take(began + Duration::from_secs(5), free).remove(0);
    assert_eq!(again, Turn { sequence: turn.sequence, starts: 2 });
}

#[test]
fn a_call_that_was_started_before_a_crash_counts_that() {
    let mut book = Book::new(LIMITS);
    book.restore(7, &call("f", "x"), 2, None, (None, Instant::now()));
    let turn = book.take(Instant::now(), free).remove(0);
    assert_eq!(turn, Turn { sequence: 7, starts: 3 });
    assert_eq!(book.reserve(&name("f"), 0).unwrap(), 8, "new calls come after the old ones");
}

#[test]
fn a_queue_that_is_full_takes_no_more() {
    let (mut book, f) = (book(&[("f", 100)]), name("f"));
    assert_eq!(book.reserve(&f, 0), Err(Full::Calls { dead: 0 }));
    let turn = book.take(Instant::now(), free).remove(0);
    assert_eq!(book.has_room(&f, 0), Err(Full::Calls { dead: 0 }));
    book.end(turn.sequence, Some(200), Ended::Done, now());
    let left = LIMITS.bytes - book.totals().bytes;
    let full = Err(Full::Bytes { dead: 0 });
    assert_eq!((book.reserve(&f, left + 1).map(drop), book.has_room(&f, left + 1)), (full, full));
    assert_eq!(book.totals().calls, 99, "a place without bytes is none");
    let _place = book.reserve(&f, left).unwrap();
    assert_eq!(book.reserve(&f, 0), Err(Full::Calls { dead: 0 }));
    book.give_up(left);
    assert!(book.reserve(&f, 0).is_ok());
}

#[test]
fn dead_letters_stay_and_new_calls_wait_for_their_place() {
    let mut book = Book::new(Limits { calls: 4, ..LIMITS });
    for id in ["0", "1"] {
        add(&mut book, "f", id).unwrap();
        let turn = book.take(Instant::now(), free).remove(0);
        book.bury(turn.sequence, death());
    }
    assert_eq!(book.has_room(&name("f"), 0), Err(Full::Dead(2)), "as many as one function may have");
    let left = LIMITS.bytes - book.totals().bytes;
    assert_eq!(book.has_room(&name("g"), left + 1), Err(Full::Bytes { dead: 2 }));
    for id in ["2", "3"] {
        add(&mut book, "g", id).unwrap();
    }
    assert_eq!(book.has_room(&name("g"), 0), Err(Full::Calls { dead: 2 }));
    // What was accepted may die all the same.
    for turn in book.take(Instant::now(), free) {
        book.bury(turn.sequence, death());
    }
    assert_eq!(book.dead_letters(), 4);
    let (sequence, _) = book.dead_letter("0").unwrap();
    assert!(book.revive(sequence, Instant::now()), "it has its place");
    assert_eq!(book.has_room(&name("f"), 0), Err(Full::Calls { dead: 3 }));
    assert!(matches!(book.cancel("1", DeadLetters::Go, now()), Cancelled::Out { .. }));
    assert_eq!(book.has_room(&name("f"), 0), Ok(()));
}

#[test]
fn what_may_start_for_too_long_is_taken_out_and_nothing_else() {
    let mut book = Book::new(LIMITS);
    let began = Instant::now();
    let later = began + Duration::from_secs(60);
    for (id, at) in [("old", began), ("turned-back", began), ("new", later)] {
        let call = call("f", id);
        let sequence = book.reserve(&call.function, call.size()).unwrap();
        book.add(sequence, &call, at);
    }
    // It was accepted long ago, and waits since now.
    book.restore(9, &call("f", "from-before"), 1, None, (None, later));
    let turns = book.take(later, |_| Room::Most(1));
    assert_eq!(turns.len(), 1);
    book.turn_back(turns[0].sequence, later);
    assert!(book.take_lapsed(began + LONGEST_WAIT, 9).is_empty());
    let lapsed = |sequence| vec![Lapsed { sequence, starts: 0, why: Why::Overdue, calls_back: false }];
    let over = began + LONGEST_WAIT + Duration::from_secs(1);
    assert_eq!(book.take_lapsed(over, 1), lapsed(1));
    assert_eq!(book.take_lapsed(over, 9), lapsed(2));
    assert_eq!(book.totals().running, 2);
    for sequence in [1, 2] {
        book.bury(sequence, death());
    }
    assert_eq!(book.depths(SystemTime::now())[0].ready, 2);
}

#[test]
fn calls_of_a_function_that_is_gone_wait_for_it_for_a_while() {
    let mut book = book(&[("gone", 2), ("f", 1)]);
    let began = Instant::now();
    let room = |found: &FunctionName| if *found == name("gone") { Room::Gone } else { Room::Most(9) };
    assert_eq!(book.take(began, room).len(), 1);
    let over = |at: Instant| at + GRACE + Duration::from_secs(1);
    assert!(book.take_lapsed(began + GRACE, 9).is_empty());
    // It is there again, and gone again: its time begins anew.
    assert_eq!(book.take(began + GRACE, |_| Room::Most(0)).len(), 0);
    assert!(book.take_lapsed(over(began), 9).is_empty());
    assert!(book.take(over(began), room).is_empty());
    let lapsed = book.take_lapsed(over(over(began)), 9);
    assert_eq!(lapsed.iter().map(|lapsed| lapsed.why).collect::<Vec<_>>(), [Why::Gone; 2]);
    assert!(book.take_lapsed(over(over(began)), 9).is_empty(), "each is found once");
    lapsed.iter().for_each(|lapsed| book.bury(lapsed.sequence, death()));
    let totals = book.totals();
    assert_eq!((totals.calls, totals.running, book.dead_letters()), (1, 1, 2));
}

#[test]
fn of_what_did_not_run_the_callbacks_are_bounded_too() {
    let mut book = Book::new(LIMITS);
    for id in ["0", "1", "2"] {
        add_for(&mut book, "dead.example", id).unwrap();
    }
    let began = Instant::now();
    assert!(book.take(began, |_| Room::Gone).is_empty());
    let over = began + GRACE + Duration::from_secs(1);
    let lapsed = book.take_lapsed(over, 9);
    assert_eq!((lapsed.len(), book.totals().calling_back), (2, 2));
    assert!(lapsed.iter().all(|lapsed| lapsed.calls_back) && book.take_lapsed(over, 9).is_empty());
    lapsed.iter().for_each(|lapsed| book.bury(lapsed.sequence, death()));
    assert_eq!(book.take_lapsed(over, 9).len(), 1);
}

#[test]
fn a_dead_letter_is_read_replayed_and_removed() {
    let mut book = book(&[("f", 2)]);
    for turn in book.take(Instant::now(), free) {
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
    assert!(book.revive(sequence, Instant::now()) && !book.revive(sequence, Instant::now()));
    assert_eq!(book.take(Instant::now(), free), [Turn { sequence, starts: 2 }]);
    assert_eq!(book.cancel("f-1", DeadLetters::Stay, now()), Cancelled::TooLate);
    assert!(matches!(book.cancel("f-1", DeadLetters::Go, now()), Cancelled::Out { .. }));
    assert_eq!(book.cancel("f-1", DeadLetters::Go, now()), Cancelled::Unknown);
}

#[test]
fn cancelling_meets_a_call_wherever_it_is() {
    let mut book = book(&[("f", 4)]);
    let turns = book.take(Instant::now(), free);
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
    let turn = book.take(Instant::now(), free).remove(0);
    assert!(book.retry(turn.sequence, Instant::now() + Duration::from_secs(9)));
    assert!(matches!(book.cancel("f-3", DeadLetters::Stay, now()), Cancelled::Out { .. }));
    assert_eq!(book.next_wake(), None);
}

/// Has a call run whose callback is then on its way; `None` where none may start.
fn call_back(book: &mut Book) -> Option<(u64, String)> {
    let turns = book.take(Instant::now(), |_| Room::Most(1));
    let told = ids(book, &turns).pop()?;
    assert!(book.call_back(turns[0].sequence));
    Some((turns[0].sequence, told))
}

#[test]
fn callbacks_on_their_way_hold_up_those_to_the_same_host_only() {
    let mut book = Book::new(LIMITS);
    for id in ["0", "1", "2", "3"] {
        add_for(&mut book, "dead.example", id).unwrap();
    }
    let (first, _) = call_back(&mut book).unwrap();
    call_back(&mut book).unwrap();
    assert!(book.take(Instant::now(), free).is_empty());
    add_for(&mut book, "Dead.Example:80", "the-same").unwrap();
    add(&mut book, "f", "without").unwrap();
    add_for(&mut book, "dead.example:81", "another").unwrap();
    let turns = book.take(Instant::now(), free);
    assert_eq!(ids(&book, &turns), ["without", "another"]);
    for turn in turns {
        book.end(turn.sequence, Some(200), Ended::Done, now());
    }
    assert!(book.take(Instant::now(), free).is_empty());
    book.bury(first, death());
    assert_eq!(call_back(&mut book).unwrap().1, "2");
    assert!(book.take(Instant::now(), free).is_empty());
}

#[test]
fn hosts_that_do_not_answer_leave_each_other_one_some_room() {
    let mut book = Book::new(LIMITS);
    for host in ["a", "a", "b", "b", "c", "d", "e", "f"] {
        add_for(&mut book, host, host).unwrap();
    }
    let mut begun = Vec::new();
    while let Some((_, host)) = call_back(&mut book) {
        begun.push(host);
    }
    assert_eq!(begun, ["a", "b", "c", "d", "e", "f"], "one of each, up to twice as many as there may be");
    assert_eq!(book.totals().calling_back, 2 * LIMITS.callbacks);
    add(&mut book, "f", "without").unwrap();
    assert_eq!(book.take(Instant::now(), free).len(), 1);
}

#[test]
fn ended_calls_are_remembered_up_to_a_number_and_an_age() {
    let mut book = book(&[("f", 5)]);
    let ended = now();
    for number in 0..5 {
        let sequence = book.take(ended.0, |_| Room::Most(1))[0].sequence;
        book.end(sequence, Some(200), Ended::Done, ended);
        assert_eq!(book.call(&format!("f-{number}"), ended.0).unwrap().status, Some(200));
    }
    assert_eq!(book.call("f-1", ended.0), None);
    assert_eq!(book.call("f-2", ended.0).unwrap().state, "done");
    add(&mut book, "f", "last").unwrap();
    let sequence = book.take(ended.0, free)[0].sequence;
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
    Add(u8, Option<u8>),
    Take,
    Back,
    Retry,
    CallBack,
    Called,
    End,
    Bury,
    Cancel(u8),
    Revive,
    Later,
    Overdue,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0_u8..4, proptest::option::of(0_u8..4)).prop_map(|(function, host)| Step::Add(function, host)),
        3 => Just(Step::Take),
        1 => Just(Step::Back),
        1 => Just(Step::Retry),
        2 => Just(Step::CallBack),
        1 => Just(Step::Called),
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
        let (mut clock, mut added) = (Instant::now(), 0_u32);
        let (mut running, mut calling) = (Vec::<u64>::new(), Vec::<u64>::new());
        for step in steps {
            match step {
                Step::Add(function, host) => {
                    let id = added.to_string();
                    let is_added = match host {
                        None => add(&mut book, &format!("f{function}"), &id),
                        Some(host) => add_for(&mut book, &format!("h{host}"), &id),
                    };
                    added += u32::from(is_added.is_some());
                }
                Step::Take => running.extend(book.take(clock, free).iter().map(|turn| turn.sequence)),
                Step::Back => if let Some(sequence) = running.pop()
                    && book.turn_back(sequence, clock).is_none() {
                    book.end(sequence, None, Ended::Cancelled, (clock, SystemTime::now()));
                },
                Step::Retry => if let Some(sequence) = running.pop()
                    && !book.retry(sequence, clock + Duration::from_secs(1)) {
                    book.end(sequence, None, Ended::Cancelled, (clock, SystemTime::now()));
                },
                Step::CallBack => if let Some(sequence) = running.pop() {
                    if book.call_back(sequence) {
                        calling.push(sequence);
                    } else {
                        book.end(sequence, Some(200), Ended::Done, (clock, SystemTime::now()));
                    }
                },
                Step::Called => if let Some(sequence) = calling.pop() {
                    book.end(sequence, Some(200), Ended::Done, (clock, SystemTime::now()));
                },
                Step::End => if let Some(sequence) = running.pop() {
                    book.end(sequence, Some(200), Ended::Done, (clock, SystemTime::now()));
                },
                Step::Bury => if let Some(sequence) = running.pop() { book.bury(sequence, death()); },
                Step::Cancel(id) => {
                    book.cancel(&(u32::from(id) % added.max(1)).to_string(), DeadLetters::Go, (clock, SystemTime::now()));
                }
                Step::Revive => if let Some(sequence) = book.dead.last().copied() {
                    prop_assert!(book.revive(sequence, clock));
                },
                Step::Overdue => {
                    for lapsed in book.take_lapsed(clock + 2 * LONGEST_WAIT, 3) {
                        if lapsed.calls_back {
                            calling.push(lapsed.sequence);
                        } else {
                            book.bury(lapsed.sequence, death());
                        }
                    }
                }
                Step::Later => clock += Duration::from_secs(2),
            }
            let state = |wanted: fn(&State) -> bool| {
                book.calls.values().filter(|entry| wanted(&entry.state)).count()
            };
            let waiting = state(|state| matches!(state, State::Waiting { .. }));
            let ran = state(|state| matches!(state, State::Running { .. }));
            prop_assert_eq!(book.totals.running, ran);
            prop_assert_eq!(ran, running.len());
            prop_assert_eq!(book.totals.calls, waiting + ran + calling.len());
            prop_assert_eq!(book.totals().calling_back, calling.len());
            prop_assert!(calling.len() <= 2 * (LIMITS.callbacks + LIMITS.workers));
            let depth: usize = book.lines.values().map(Line::depth).sum();
            prop_assert_eq!(depth, waiting);
            prop_assert!(book.totals.calls + book.dead.len() <= LIMITS.calls);
            prop_assert_eq!(book.lines.values().map(|line| line.dead as usize).sum::<usize>(), book.dead.len());
            let size = |entry: &Entry| if let State::Ended { .. } = entry.state { 0 } else { entry.size };
            prop_assert_eq!(book.totals.bytes, book.calls.values().map(size).sum::<u64>());
            prop_assert!(book.ended.len() <= LIMITS.ended);
        }
        // Whatever happened, what waits comes to its turn.
        for sequence in running.drain(..).chain(calling.drain(..)) {
            book.end(sequence, None, Ended::Done, (clock, SystemTime::now()));
        }
        for _ in 0..200 {
            clock += Duration::from_secs(2);
            for turn in book.take(clock, free) {
                book.end(turn.sequence, None, Ended::Done, (clock, SystemTime::now()));
            }
        }
        let dead = book.calls.values().filter(|entry| matches!(entry.state, State::Dead { .. }));
        let bytes = dead.map(|entry| entry.size).sum();
        prop_assert_eq!(book.totals(), Totals { bytes, ..Totals::default() });
        prop_assert!(book.later.is_empty());
    }
}
