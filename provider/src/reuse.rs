//! Whether an instance may serve more than one request, by [`REUSE_ANNOTATION`].

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::error::ProviderError;
use crate::name::shortened;
use crate::quantity::parse_duration;

/// The annotation that lets an instance of a `wasi:http` component serve more than one request.
pub const REUSE_ANNOTATION: &str = "bramble.reuse";

/// Most requests that one instance may be asked to serve.
pub const MAX_REQUESTS: u32 = 1_000_000;

/// Most requests at once that one instance may be asked to serve.
pub const MAX_CONCURRENCY: u32 = 1_000;

/// How long an idle instance is kept when the annotation does not say.
pub const DEFAULT_IDLE: Duration = Duration::from_secs(10);

/// Longest that an idle instance is kept: it holds memory all the while.
pub const MAX_IDLE: Duration = Duration::from_secs(60 * 60);

/// How far an instance is reused, written `requests=128,concurrency=1,idle=10s`.
///
/// Without it every request gets an instance of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reuse {
    /// Requests after which an instance is given up, its first one included. Must be said.
    pub requests: NonZeroU32,
    /// Requests that an instance serves at once; 1 unless said.
    pub concurrency: NonZeroU32,
    /// How long an instance is kept that serves none; [`DEFAULT_IDLE`] unless said.
    pub idle: Duration,
}

impl Reuse {
    /// Reads the annotation; `None` when there is none.
    ///
    /// # Errors
    /// [`ProviderError::InvalidSpec`] naming the annotation, the part of it and its value.
    pub(crate) fn read(annotations: &BTreeMap<String, String>) -> Result<Option<Self>, ProviderError> {
        annotations.get(REUSE_ANNOTATION).map(|text| Self::parse(text).map_err(refused)).transpose()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (mut requests, mut concurrency, mut idle) = (None, None, None);
        for part in text.split(',') {
            let (key, value) = part.trim().split_once('=').ok_or_else(|| malformed(part))?;
            let repeated = match key {
                "requests" => requests.replace(count(key, value, MAX_REQUESTS)?).is_some(),
                "concurrency" => concurrency.replace(count(key, value, MAX_CONCURRENCY)?).is_some(),
                "idle" => idle.replace(idle_time(value)?).is_some(),
                _ => return Err(malformed(part)),
            };
            if repeated {
                return Err(format!("`{key}` is there twice in {:?}", shortened(text)));
            }
        }
        Ok(Self {
            requests: requests.ok_or_else(|| {
                format!("{:?} does not say after how many requests: `requests=128`", shortened(text))
            })?,
            concurrency: concurrency.unwrap_or(NonZeroU32::MIN),
            idle: idle.unwrap_or(DEFAULT_IDLE),
        })
    }
}

fn malformed(part: &str) -> String {
    format!(
        "{:?} is none of `requests=N`, `concurrency=N` and `idle=TIME`, as in `requests=128,idle=10s`",
        shortened(part)
    )
}

fn count(key: &str, value: &str, most: u32) -> Result<NonZeroU32, String> {
    let number = value.parse().ok().filter(|number: &NonZeroU32| number.get() <= most);
    number.ok_or_else(|| format!("{key}: {:?} is no whole number from 1 to {most}", shortened(value)))
}

fn idle_time(value: &str) -> Result<Duration, String> {
    let time = parse_duration(value).map_err(|error| format!("idle: {error}"))?;
    if time.is_zero() || time > MAX_IDLE {
        let most = MAX_IDLE.as_secs();
        return Err(format!("idle: {:?} is not more than 0 and at most {most} s", shortened(value)));
    }
    Ok(time)
}

fn refused(reason: String) -> ProviderError {
    ProviderError::InvalidSpec { field: format!("annotations.{REUSE_ANNOTATION}"), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Reuse>, ProviderError> {
        Reuse::read(&BTreeMap::from([(REUSE_ANNOTATION.to_owned(), text.to_owned())]))
    }

    #[test]
    fn reads_the_policy_and_fills_in_what_is_not_said() {
        let number = |number| NonZeroU32::new(number).unwrap();
        let policy = |requests, concurrency, idle| {
            let idle = Duration::from_millis(idle);
            Some(Reuse { requests: number(requests), concurrency: number(concurrency), idle })
        };
        assert_eq!(read("requests=128,concurrency=2,idle=500ms").unwrap(), policy(128, 2, 500));
        assert_eq!(read("idle=1m, requests=1").unwrap(), policy(1, 1, 60_000));
        assert_eq!(read("requests=7").unwrap(), policy(7, 1, 10_000));
        assert_eq!(Reuse::read(&BTreeMap::new()).unwrap(), None);
    }

    #[test]
    fn refuses_a_policy_by_name_and_value() {
        for (text, says) in [
            ("", "\"\""),
            ("true", "\"true\""),
            ("requests=", "requests: \"\""),
            ("requests=0", "requests: \"0\""),
            ("requests=-1", "requests: \"-1\""),
            ("requests=1000001", "1000000"),
            ("requests=8,concurrency=x", "concurrency: \"x\""),
            ("requests=8,idle=soon", "soon"),
            ("requests=8,idle=0s", "idle: \"0s\""),
            ("requests=8,idle=2h", "3600 s"),
            ("requests=8,requests=9", "twice"),
            ("idle=10s", "requests=128"),
            ("requests=8,size=9", "\"size=9\""),
            ("requests=8,", "\"\""),
        ] {
            match read(text) {
                Err(ProviderError::InvalidSpec { field, reason }) => {
                    assert_eq!(field, "annotations.bramble.reuse");
                    assert!(reason.contains(says), "{text:?}: {reason}");
                }
                other => panic!("{text:?}: {other:?}"),
            }
        }
    }
}
