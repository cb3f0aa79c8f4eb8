//! The queries, built out of parts that cannot be put together wrongly.
//!
//! In: selectors with escaped matchers, the few functions and aggregations that are needed, the query
//! of each signal. Out: sending them. The property that must hold: one query per signal answers for
//! all functions; no name of a function is ever part of one.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The label that tells functions apart in everything the gateway exports.
pub const FUNCTION_LABEL: &str = "function_name";

/// Most matchers that may be asked for.
const MAX_MATCHERS: usize = 16;

/// A label and what its value must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matcher {
    label: String,
    operator: &'static str,
    value: String,
}

/// Which series count: all of them, or those of one cluster. Written as `job="gateway",cluster="home"`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector(Vec<Matcher>);

/// A text that is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}: write matchers as Prometheus does, as in `job=\"gateway\",cluster=\"home\"`")]
pub struct InvalidSelector(String);

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}\"", self.label, self.operator)?;
        for character in self.value.chars() {
            match character {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                other => write!(f, "{other}")?,
            }
        }
        f.write_str("\"")
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, matcher) in self.0.iter().enumerate() {
            write!(f, "{}{matcher}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl FromStr for Selector {
    type Err = InvalidSelector;

    fn from_str(text: &str) -> Result<Self, InvalidSelector> {
        let text = text.trim();
        let mut rest = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text).trim();
        let mut matchers = Vec::new();
        while !rest.is_empty() {
            let (matcher, after) = matcher(rest)?;
            matchers.push(matcher);
            if matchers.len() > MAX_MATCHERS {
                return Err(InvalidSelector(format!("more than {MAX_MATCHERS} matchers")));
            }
            rest = match after.strip_prefix(',') {
                Some(after) => after.trim_start(),
                None if after.is_empty() => after,
                None => return Err(InvalidSelector(format!("{after:?} follows a matcher without a comma"))),
            };
        }
        Ok(Self(matchers))
    }
}

/// Reads one matcher off the front of a text; answers what follows it.
fn matcher(text: &str) -> Result<(Matcher, &str), InvalidSelector> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let (label, rest) = text.split_at(end);
    if label.is_empty() || label.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(InvalidSelector(format!("{text:?} begins with no name of a label")));
    }
    let rest = rest.trim_start();
    let operator = ["=~", "!~", "!=", "="].into_iter().find(|operator| rest.starts_with(operator));
    let operator =
        operator.ok_or_else(|| InvalidSelector(format!("{label:?} is followed by no operator")))?;
    let quoted = rest[operator.len()..].trim_start();
    let unquoted = || InvalidSelector(format!("the value of {label:?} is not in double quotes"));
    let mut characters = quoted.strip_prefix('"').ok_or_else(unquoted)?.char_indices();
    let mut value = String::new();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                let matcher = Matcher { label: label.to_owned(), operator, value };
                return Ok((matcher, quoted[at + 2..].trim_start()));
            }
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                // As in a regular expression, whose backslashes the value keeps.
                Some((_, other)) => value.extend(['\\', other]),
                None => return Err(unquoted()),
            },
            other => value.push(other),
        }
    }
    Err(unquoted())
}

/// An expression that has one value for each function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query(String);

impl Query {
    /// As Prometheus reads it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A series, with the matchers of a selector.
struct Series<'a> {
    metric: &'static str,
    selector: &'a Selector,
}

impl fmt::Display for Series<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.metric)?;
        if self.selector.0.is_empty() { Ok(()) } else { write!(f, "{{{}}}", self.selector) }
    }
}

/// The queries of all signals, over the series that a selector leaves.
#[derive(Debug, Clone)]
pub struct Queries {
    /// When the oldest contribution to a function's series was scraped, in seconds since 1970.
    pub scraped_at: Query,
    /// Invocations that began, in all: what moves when a function is not idle.
    pub started: Query,
    /// Invocations that began, per second.
    pub rps: Query,
    /// Invocations admitted and unfinished.
    pub inflight: Query,
    /// Invocations that wait for a replica.
    pub queued: Query,
    /// Asynchronous invocations that wait in the queue.
    pub queue_depth: Query,
    /// CPUs in use.
    pub cpu: Query,
    /// Invocations of hybrid functions that containers took, in all.
    pub begun_on_containers: Query,
    /// The same per second.
    pub on_containers: Query,
}

impl Queries {
    /// Rates go over the last two scrapes within `window`, so it must be longer than two scrape
    /// intervals; a longer one does not make them slower.
    pub fn new(selector: &Selector, window: Duration) -> Self {
        let series = |metric| Series { metric, selector };
        let range = range(window);
        let of_all = |aggregation: &str, expression: String| {
            Query(format!("{aggregation} by ({FUNCTION_LABEL}) ({expression})"))
        };
        let rate = |series: &Series<'_>| format!("irate({series}[{range}])");
        let count = series("gateway_function_invocation_started");
        let mut by_containers = selector.clone();
        by_containers.0.push(Matcher {
            label: "runtime".to_owned(),
            operator: "=",
            value: "container".to_owned(),
        });
        let hybrid = Series { metric: "bramble_hybrid_invocations_total", selector: &by_containers };
        Self {
            scraped_at: of_all("min", format!("timestamp({})", series("bramble_function_inflight"))),
            started: of_all("sum", count.to_string()),
            rps: of_all("sum", rate(&count)),
            inflight: of_all("sum", series("bramble_function_inflight").to_string()),
            queued: of_all("sum", series("bramble_function_queued").to_string()),
            queue_depth: of_all("sum", series("bramble_queue_depth").to_string()),
            cpu: of_all("sum", rate(&series("bramble_function_cpu_seconds_total"))),
            begun_on_containers: of_all("sum", hybrid.to_string()),
            on_containers: of_all("sum", rate(&hybrid)),
        }
    }
}

/// A duration as PromQL writes it; at least a millisecond.
fn range(window: Duration) -> String {
    format!("{}ms", window.as_millis().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn one_query_answers_for_all_functions() {
        let queries = Queries::new(&Selector::default(), MINUTE);
        assert_eq!(
            queries.rps.as_str(),
            "sum by (function_name) (irate(gateway_function_invocation_started[60000ms]))"
        );
        assert_eq!(
            queries.cpu.as_str(),
            "sum by (function_name) (irate(bramble_function_cpu_seconds_total[60000ms]))"
        );
        assert_eq!(
            queries.on_containers.as_str(),
            "sum by (function_name) (irate(bramble_hybrid_invocations_total{runtime=\"container\"}[60000ms]))"
        );
        assert_eq!(
            queries.scraped_at.as_str(),
            "min by (function_name) (timestamp(bramble_function_inflight))"
        );
    }

    #[test]
    fn a_selector_is_in_every_query_of_ours() {
        let selector: Selector = r#"job="gateway", cluster=~"h\"o\\me" "#.parse().unwrap();
        let queries = Queries::new(&selector, MINUTE);
        let Queries {
            scraped_at,
            started,
            rps,
            inflight,
            queued,
            queue_depth,
            cpu,
            begun_on_containers,
            on_containers,
        } = &queries;
        for query in [scraped_at, started, rps, inflight, queued, queue_depth, cpu] {
            let written = r#"{job="gateway",cluster=~"h\"o\\me"}"#;
            assert!(query.as_str().contains(written), "{query:?}");
        }
        let narrowed = r#"{job="gateway",cluster=~"h\"o\\me",runtime="container"}"#;
        for query in [begun_on_containers, on_containers] {
            assert!(query.as_str().contains(narrowed), "{query:?}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in ["job", "job=gateway", "job=\"a", "=\"a\"", "1a=\"b\"", "a=\"b\" c=\"d\"", "a>\"b\""] {
            assert!(text.parse::<Selector>().is_err(), "{text}");
        }
        assert_eq!("{}".parse::<Selector>().unwrap(), Selector::default());
    }

    proptest! {
        #[test]
        fn a_selector_is_read_as_it_is_written(label in "[a-z_][a-z0-9_]{0,8}", value in "\\PC{0,20}|[\"\\\\\n]{0,6}") {
            let written = Matcher { label, operator: "=", value: value.clone() }.to_string();
            let read: Selector = written.parse().unwrap();
            prop_assert_eq!(read.to_string(), written);
            prop_assert_eq!(&read.0[0].value, &value);
        }
    }
}
