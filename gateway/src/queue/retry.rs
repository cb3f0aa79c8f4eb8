//! What a function's annotations say about running a failed invocation again.

use std::collections::BTreeMap;
use std::time::Duration;

use bramble_provider::ProviderError;
use bramble_provider::quantity::parse_duration;

use crate::error::excerpt;

const ATTEMPTS: &str = "com.openfaas.retry.attempts";
const CODES: &str = "com.openfaas.retry.codes";
const MIN_WAIT: &str = "com.openfaas.retry.min_wait";
const MAX_WAIT: &str = "com.openfaas.retry.max_wait";

/// The statuses that mean a failure of now, where the function names none.
const DEFAULT_CODES: [u16; 6] = [408, 429, 500, 502, 503, 504];

/// Most retries of one invocation.
const MAX_ATTEMPTS: u32 = 100;
/// Longest wait between two of them.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// When an invocation is run again after it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Retry {
    /// How often it is run again at most; 0 when the function does not say: it may have had effects.
    pub(crate) attempts: u32,
    /// The statuses that are a failure.
    pub(crate) codes: Vec<u16>,
    /// The wait before the first retry; it doubles with each.
    pub(crate) min_wait: Duration,
    /// The longest wait.
    pub(crate) max_wait: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 0,
            codes: DEFAULT_CODES.to_vec(),
            min_wait: Duration::from_secs(10),
            max_wait: Duration::from_secs(120),
        }
    }
}

impl Retry {
    /// Reads the annotations `com.openfaas.retry.*`.
    ///
    /// # Errors
    /// [`ProviderError::InvalidSpec`] naming the annotation and its value.
    pub(crate) fn read(annotations: &BTreeMap<String, String>) -> Result<Self, ProviderError> {
        let mut retry = Self::default();
        if let Some(text) = annotations.get(ATTEMPTS) {
            let attempts = text.trim().parse().ok().filter(|attempts| *attempts <= MAX_ATTEMPTS);
            retry.attempts = attempts
                .ok_or_else(|| refused(ATTEMPTS, text, "is no whole number from 0 to 100, such as 3"))?;
        }
        if let Some(text) = annotations.get(CODES) {
            retry.codes = codes(text).ok_or_else(|| {
                refused(CODES, text, "is no list of statuses from 400 to 599, such as 429,503")
            })?;
        }
        for (key, place) in [(MIN_WAIT, &mut retry.min_wait), (MAX_WAIT, &mut retry.max_wait)] {
            if let Some(text) = annotations.get(key) {
                let wait = parse_duration(text.trim()).ok().filter(|wait| *wait <= LONGEST_WAIT);
                *place =
                    wait.ok_or_else(|| refused(key, text, "is no duration of at most 24h, such as 10s"))?;
            }
        }
        if annotations.contains_key(MIN_WAIT) && annotations.contains_key(MAX_WAIT) {
            if retry.min_wait > retry.max_wait {
                return Err(refused(MAX_WAIT, &annotations[MAX_WAIT], "is shorter than the shortest wait"));
            }
        } else if annotations.contains_key(MIN_WAIT) {
            retry.max_wait = retry.max_wait.max(retry.min_wait);
        } else {
            retry.min_wait = retry.min_wait.min(retry.max_wait);
        }
        Ok(retry)
    }

    /// Whether an answer with this status is a failure of now.
    pub(crate) fn is_failure(&self, status: u16) -> bool {
        self.codes.contains(&status)
    }

    /// The wait before the retry of this number, from 1. `dice` is between 0 and 1: those that failed
    /// together do not come back together.
    pub(crate) fn wait(&self, number: u32, dice: f64) -> Duration {
        let doubled = self.min_wait.saturating_mul(1 << number.saturating_sub(1).min(20));
        doubled.min(self.max_wait).mul_f64(1.0 - 0.2 * dice.clamp(0.0, 1.0))
    }
}

fn codes(text: &str) -> Option<Vec<u16>> {
    let code = |text: &str| text.trim().parse().ok().filter(|code| (400..=599).contains(code));
    text.split(',').map(code).collect()
}

fn refused(key: &str, value: &str, reason: &str) -> ProviderError {
    let reason = format!("{:?} {reason}", excerpt(value));
    ProviderError::InvalidSpec { field: format!("annotations.{key}"), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Retry, ProviderError> {
        Retry::read(&pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn reads_what_the_original_documents() {
        let retry =
            read(&[(ATTEMPTS, "3"), (CODES, "429, 503"), (MIN_WAIT, "5s"), (MAX_WAIT, "1m")]).unwrap();
        assert_eq!((retry.attempts, retry.codes.as_slice()), (3, &[429, 503][..]));
        assert_eq!((retry.min_wait, retry.max_wait), (Duration::from_secs(5), Duration::from_secs(60)));
        assert_eq!(read(&[]).unwrap(), Retry::default());
        assert_eq!(read(&[(MAX_WAIT, "1s")]).unwrap().min_wait, Duration::from_secs(1));
        assert_eq!(read(&[(MIN_WAIT, "10m")]).unwrap().max_wait, Duration::from_secs(600));
    }

    #[test]
    fn refuses_a_bad_value_by_name_and_value() {
        for (key, value) in [
            (ATTEMPTS, "-1"),
            (ATTEMPTS, "101"),
            (ATTEMPTS, "many"),
            (CODES, ""),
            (CODES, "200"),
            (CODES, "500,,502"),
            (MIN_WAIT, "soon"),
            (MAX_WAIT, "25h"),
        ] {
            match read(&[(key, value)]) {
                Err(ProviderError::InvalidSpec { field, reason }) => {
                    assert_eq!(field, format!("annotations.{key}"));
                    assert!(reason.starts_with(&format!("{value:?}")), "{reason}");
                }
                other => panic!("{key}={value}: {other:?}"),
            }
        }
        assert!(read(&[(MIN_WAIT, "2m"), (MAX_WAIT, "1m")]).is_err());
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let retry = read(&[(MIN_WAIT, "1s"), (MAX_WAIT, "5s")]).unwrap();
        let waits: Vec<_> = (1..=5).map(|number| retry.wait(number, 0.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 5, 5]);
        assert_eq!(retry.wait(u32::MAX, 1.0), Duration::from_secs(4));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(a in ".{0,12}", c in ".{0,20}", w in ".{0,12}") {
            if let Ok(retry) = read(&[(ATTEMPTS, &a), (CODES, &c), (MIN_WAIT, &w)]) {
                prop_assert!(retry.attempts <= MAX_ATTEMPTS && !retry.codes.is_empty());
                prop_assert!(retry.wait(7, 0.5) <= LONGEST_WAIT);
            }
        }
    }
}
