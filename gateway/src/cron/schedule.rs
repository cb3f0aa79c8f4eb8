//! When a function is to run by itself, as its annotations say. Pure: the time comes in.

use std::collections::BTreeMap;
use std::time::Duration;

use bramble_provider::ProviderError;
use bramble_provider::quantity::parse_duration;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::error::excerpt;

const TOPIC: &str = "topic";
/// The topic of functions that run by a schedule, as the original's connector has it.
pub(super) const CRON_TOPIC: &str = "cron-function";
const SCHEDULE: &str = "schedule";
const TIMEZONE: &str = "timezone";
const CATCH_UP: &str = "bramble.catch_up";

/// Longest text of a schedule.
const MAX_SCHEDULE_CHARS: usize = 256;

/// Longest pause of `@every`.
const LONGEST_PAUSE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How late a missed run is made up for, where the function does not say.
const DEFAULT_CATCH_UP: Duration = Duration::from_secs(5 * 60);
const LONGEST_CATCH_UP: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How late a run may always be: the gateway looks once a second and may be busy.
const SLACK: Duration = Duration::from_secs(10);

/// What was seen to may lie so far in the future, when a clock went back. More is a clock that was wrong.
const LONGEST_SETBACK: Duration = Duration::from_secs(2 * 60 * 60);

/// When a function runs by itself.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    text: String,
    instants: Instants,
    zone: TimeZone,
    catch_up: Duration,
}

/// Which instants a schedule means.
#[derive(Debug, Clone)]
enum Instants {
    /// Those of five fields, in a time zone.
    Cron(Box<Cron>),
    /// One each so many seconds since the Unix epoch: the same ones after a restart.
    Every(i64),
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// The instant whose run it is time for.
    pub(super) run: Option<Timestamp>,
    /// Up to here nothing is left to be done, once that run is queued.
    pub(super) seen: Timestamp,
}

impl Schedule {
    /// Reads the annotations `topic`, `schedule`, `timezone` and `bramble.catch_up`; `None` without the
    /// topic `cron-function`.
    ///
    /// # Errors
    /// [`ProviderError::InvalidSpec`] naming the annotation and its value.
    pub(crate) fn read(annotations: &BTreeMap<String, String>) -> Result<Option<Self>, ProviderError> {
        let topics = annotations.get(TOPIC).map_or("", String::as_str);
        if !topics.split(',').any(|topic| topic.trim() == CRON_TOPIC) {
            return Ok(None);
        }
        let text = annotations.get(SCHEDULE).map_or("", |text| text.trim());
        let no_schedule = |reason: &str| {
            refused(SCHEDULE, text, format!("{reason}, such as \"*/5 * * * *\" or \"@hourly\""))
        };
        if text.is_empty() || text.len() > MAX_SCHEDULE_CHARS {
            return Err(no_schedule("is no schedule of five fields"));
        }
        let instants = match text.strip_prefix("@every") {
            Some(pause) => every(pause).ok_or_else(|| {
                refused(SCHEDULE, text, "is no pause from 1s to 8760h, such as \"@every 5m\"".to_owned())
            })?,
            None => {
                let parser =
                    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
                let cron = parser
                    .parse(text)
                    .map_err(|error| no_schedule(&format!("is no schedule of five fields ({error})")))?;
                Instants::Cron(Box::new(cron))
            }
        };
        let zone = match annotations.get(TIMEZONE).map(|zone| zone.trim()) {
            None | Some("") => TimeZone::UTC,
            Some(name) => TimeZone::get(name)
                .map_err(|_| refused(TIMEZONE, name, "is no time zone, such as Europe/Berlin"))?,
        };
        let catch_up = match annotations.get(CATCH_UP) {
            None => DEFAULT_CATCH_UP,
            Some(text) => parse_duration(text.trim())
                .ok()
                .filter(|window| *window <= LONGEST_CATCH_UP)
                .ok_or_else(|| refused(CATCH_UP, text, "is no duration of at most 168h, such as 1h"))?,
        };
        let schedule = Self { text: text.to_owned(), instants, zone, catch_up };
        match schedule.next(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(Some(schedule)),
            None => Err(no_schedule("names a day that never comes")),
        }
    }

    /// Whether both mean the same instants.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        self.text == other.text && self.zone == other.zone
    }

    /// The first instant after `after`.
    pub(super) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.instants {
            Instants::Cron(cron) => {
                let after = after.to_zoned(self.zone.clone());
                cron.find_next_occurrence(&after, false).ok().map(|next| next.timestamp())
            }
            Instants::Every(seconds) => {
                let whole = after.as_second().div_euclid(*seconds).saturating_add(1);
                Timestamp::from_second(whole.saturating_mul(*seconds)).ok()
            }
        }
    }

    /// The last instant up to `now`.
    fn last(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.instants {
            Instants::Cron(cron) => {
                let zoned = now.to_zoned(self.zone.clone());
                cron.find_previous_occurrence(&zoned, true).ok().map(|last| last.timestamp())
            }
            Instants::Every(seconds) => {
                Timestamp::from_second(now.as_second().div_euclid(*seconds) * seconds).ok()
            }
        }
    }

    /// What is to be done at `now`, having seen to all instants up to `seen`.
    ///
    /// Of several that were missed the last one is made up for, unless it is too long ago.
    pub(super) fn due(&self, seen: Timestamp, now: Timestamp) -> Due {
        if seen > now {
            let setback = seen.duration_since(now);
            let seen = if setback > signed(LONGEST_SETBACK) { now } else { seen };
            return Due { run: None, seen };
        }
        let Some(last) = self.last(now).filter(|last| *last > seen && *last <= now) else {
            return Due { run: None, seen };
        };
        let late = now.duration_since(last);
        Due { run: (late <= signed(self.catch_up.max(SLACK))).then_some(last), seen: last }
    }
}

/// `@every` and a pause, in whole seconds as the original's connector has it.
fn every(pause: &str) -> Option<Instants> {
    let pause = parse_duration(pause.trim()).ok().filter(|pause| *pause <= LONGEST_PAUSE)?;
    let seconds = i64::try_from(pause.as_secs()).ok().filter(|seconds| *seconds > 0)?;
    Some(Instants::Every(seconds))
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

fn refused(key: &str, value: &str, reason: impl std::fmt::Display) -> ProviderError {
    let reason = format!("{:?} {reason}", excerpt(value));
    ProviderError::InvalidSpec { field: format!("annotations.{key}"), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(more: &[(&str, &str)]) -> Result<Option<Schedule>, ProviderError> {
        let pairs = [(TOPIC, CRON_TOPIC)].iter().chain(more);
        Schedule::read(&pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    fn schedule(text: &str) -> Schedule {
        read(&[(SCHEDULE, text)]).unwrap().unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[track_caller]
    fn follows(schedule: &Schedule, times: &[&str]) {
        for pair in times.windows(2) {
            assert_eq!(schedule.next(at(pair[0])), Some(at(pair[1])), "after {}", pair[0]);
        }
    }

    #[test]
    fn only_functions_of_the_topic_have_one() {
        assert!(Schedule::read(&BTreeMap::new()).unwrap().is_none());
        let other = BTreeMap::from([(TOPIC.to_owned(), "orders".to_owned())]);
        assert!(Schedule::read(&other).unwrap().is_none());
        assert!(read(&[(TOPIC, "orders, cron-function"), (SCHEDULE, "@daily")]).unwrap().is_some());
    }

    #[test]
    fn knows_what_comes_next() {
        follows(&schedule("*/5 * * * *"), &["2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z"]);
        follows(&schedule("@hourly"), &["2026-01-01T00:00:01Z", "2026-01-01T01:00:00Z"]);
        follows(&schedule("0 9 * * MON-FRI"), &["2026-11-20T09:00:00Z", "2026-11-23T09:00:00Z"]);
        follows(
            &schedule("@every 90s"),
            &["2026-01-01T00:00:00Z", "2026-01-01T00:01:30Z", "2026-01-01T00:03:00Z"],
        );
        follows(&schedule("@every 1h30m"), &["2026-01-01T00:00:01Z", "2026-01-01T01:30:00Z"]);
        follows(&schedule("0 0 29 2 *"), &["2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"]);
    }

    #[test]
    fn follows_a_time_zone_over_its_changes() {
        let berlin = read(&[(SCHEDULE, "0 9 * * *"), (TIMEZONE, "Europe/Berlin")]).unwrap().unwrap();
        // Summer time ends on 25 October 2026.
        follows(&berlin, &["2026-10-24T00:00:00Z", "2026-10-24T07:00:00Z", "2026-10-25T08:00:00Z"]);
        // The hour that comes twice has one run, and the one that is left out has one too.
        let night = read(&[(SCHEDULE, "30 2 * * *"), (TIMEZONE, "Europe/Berlin")]).unwrap().unwrap();
        for (time, end) in [
            ("2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z"),
            ("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"),
        ] {
            let (mut time, mut runs) = (at(time), 0);
            while let Some(next) = night.next(time).filter(|next| *next < at(end)) {
                (time, runs) = (next, runs + 1);
            }
            assert_eq!(runs, 1, "before {end}");
        }
    }

    #[test]
    fn refuses_what_is_no_schedule_by_name_and_value() {
        for (key, value) in [
            (SCHEDULE, ""),
            (SCHEDULE, "soon"),
            (SCHEDULE, "* * * *"),
            (SCHEDULE, "* * * * * *"),
            (SCHEDULE, "61 * * * *"),
            (SCHEDULE, "@every"),
            (SCHEDULE, "@every now"),
            (SCHEDULE, "@every 900ms"),
            (SCHEDULE, "@every 9999h"),
            (SCHEDULE, "0 0 30 2 *"),
            (TIMEZONE, "Middle/Earth"),
            (CATCH_UP, "sometimes"),
            (CATCH_UP, "200h"),
        ] {
            let mut pairs = vec![(SCHEDULE, "@daily")];
            pairs.push((key, value));
            match read(&pairs) {
                Err(ProviderError::InvalidSpec { field, reason }) => {
                    assert_eq!(field, format!("annotations.{key}"));
                    assert!(reason.starts_with(&format!("{value:?}")), "{reason}");
                }
                other => panic!("{key}={value}: {other:?}"),
            }
        }
    }

    #[test]
    fn each_instant_is_run_once() {
        let schedule = schedule("* * * * *");
        let noon = at("2026-01-01T12:00:00Z");
        let before = at("2026-01-01T11:59:59Z");
        let due = schedule.due(before, noon);
        assert_eq!(due, Due { run: Some(noon), seen: noon });
        assert_eq!(schedule.due(due.seen, noon), Due { run: None, seen: noon });
        assert_eq!(schedule.due(due.seen, at("2026-01-01T12:00:59Z")), Due { run: None, seen: noon });
    }

    #[test]
    fn of_those_that_were_missed_the_last_one_is_made_up_for() {
        let hourly = schedule("@hourly");
        let seen = at("2026-01-01T08:00:00Z");
        let nine = at("2026-01-01T12:00:00Z");
        assert_eq!(hourly.due(seen, at("2026-01-01T12:04:00Z")), Due { run: Some(nine), seen: nine });
        assert_eq!(hourly.due(seen, at("2026-01-01T12:06:00Z")), Due { run: None, seen: nine });
        let none = read(&[(SCHEDULE, "@hourly"), (CATCH_UP, "0")]).unwrap().unwrap();
        assert_eq!(none.due(seen, at("2026-01-01T12:01:00Z")), Due { run: None, seen: nine });
        assert_eq!(none.due(seen, at("2026-01-01T12:00:05Z")).run, Some(nine), "the gateway was busy");
    }

    #[test]
    fn a_pause_has_each_of_its_instants_once() {
        let every = schedule("@every 5m");
        let five = at("2026-01-01T12:05:00Z");
        let seen = at("2026-01-01T12:03:00Z");
        assert_eq!(every.due(seen, at("2026-01-01T12:04:59Z")), Due { run: None, seen });
        let due = every.due(seen, at("2026-01-01T12:05:01Z"));
        assert_eq!(due, Due { run: Some(five), seen: five });
        assert_eq!(every.due(five, at("2026-01-01T12:09:59Z")).run, None);
    }

    #[test]
    fn a_clock_that_goes_back_repeats_nothing_and_does_not_hold_it_up_for_ever() {
        let hourly = schedule("@hourly");
        let seen = at("2026-01-01T12:00:00Z");
        assert_eq!(hourly.due(seen, at("2026-01-01T11:00:00Z")), Due { run: None, seen });
        let wrong = at("2099-01-01T00:00:00Z");
        let now = at("2026-01-01T11:00:00Z");
        assert_eq!(hourly.due(wrong, now), Due { run: None, seen: now });
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[@*/,0-9A-Z a-z#L?-]{0,30}", seconds in 0_i64..4_000_000_000) {
            if let Ok(Some(schedule)) = read(&[(SCHEDULE, &text)]) {
                let now = Timestamp::from_second(seconds).unwrap();
                let due = schedule.due(Timestamp::UNIX_EPOCH, now);
                prop_assert!(due.seen <= now && due.run.is_none_or(|run| run == due.seen));
                prop_assert!(schedule.next(now).is_none_or(|next| next > now));
            }
        }
    }
}
