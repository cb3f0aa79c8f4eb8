//! What a function's labels ask of the scaler.
//!
//! The labels are the original's, with its meaning. Where the original answers a bad value with a line
//! in a log and a default, [`Policy::from_labels`] refuses it: nothing is clamped.
//!
//! | label | means | default |
//! | --- | --- | --- |
//! | `com.openfaas.scale.min` | fewest replicas under load; 1 or more: never 0 | 1; of a wasm function the default slots |
//! | `com.openfaas.scale.max` | most replicas; 0: never more than the fewest | 20, or `min` if that is more |
//! | `com.openfaas.scale.factor` | an alert's step, percent of `max`; 0: no scaling but to zero | 20 |
//! | `com.openfaas.scale.type` | the load: `rps`, `capacity`, `cpu`, `queue` | `rps` |
//! | `com.openfaas.scale.target` | that load for one replica; `cpu` in thousandths of a CPU | 50; `capacity` of a wasm function 1 |
//! | `com.openfaas.scale.target-proportion` | the share of the target to aim at | 0.9 |
//! | `com.openfaas.scale.zero` | `true` or `1`: to 0 when idle | `false` |
//! | `com.openfaas.scale.zero-duration` | how long idle before 0 | 15m |
//! | `bramble.scale.freeze-after` | how long idle before containers are paused | never |
//! | `bramble.scale.weight` | share of the host's slots when they are short | 1 |
//!
//! A wasm function without a `com.openfaas.scale.*` label keeps the slots it has.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use bramble_provider::Runtime;
use bramble_provider::quantity::parse_duration;
use bramble_provider::spec::{SCALE_MIN_LABEL, SCALE_TYPE_LABEL};

/// The label of [`Policy::max`].
pub const MAX_LABEL: &str = "com.openfaas.scale.max";
/// The label of [`Policy::factor`].
pub const FACTOR_LABEL: &str = "com.openfaas.scale.factor";
/// The label of [`Policy::target`].
pub const TARGET_LABEL: &str = "com.openfaas.scale.target";
/// The label of [`Policy::proportion`].
pub const PROPORTION_LABEL: &str = "com.openfaas.scale.target-proportion";
/// The label that allows 0 replicas.
pub const ZERO_LABEL: &str = "com.openfaas.scale.zero";
/// The label of [`Policy::zero_after`].
pub const ZERO_DURATION_LABEL: &str = "com.openfaas.scale.zero-duration";
/// The label of [`Policy::freeze_after`].
pub const FREEZE_AFTER_LABEL: &str = "bramble.scale.freeze-after";
/// The label of [`Policy::weight`].
pub const WEIGHT_LABEL: &str = "bramble.scale.weight";

/// Labels that begin so ask the scaler for something.
const SCALE_PREFIX: &str = "com.openfaas.scale.";

/// Most replicas that a label may ask for.
pub const MAX_REPLICAS: u32 = 10_000;

const TARGETS: RangeInclusive<f64> = 0.001..=1_000_000.0;
const PROPORTIONS: RangeInclusive<f64> = 0.01..=1.0;
const WEIGHTS: RangeInclusive<f64> = 0.01..=1_000.0;

/// The load that a function is scaled by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Invocations that begin, per second.
    Rps,
    /// Invocations that run or wait.
    Capacity,
    /// Thousandths of a CPU in use.
    Cpu,
    /// Invocations that wait.
    Queue,
}

/// What one function asks of the scaler. Valid by construction: see [`Policy::from_labels`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// Fewest replicas, but for 0 of an idle function with [`Self::zero_after`]; at most [`Self::max`].
    pub min: u32,
    /// Most replicas, at least 1.
    pub max: u32,
    /// Whether [`Self::max`] was set by a label.
    pub capped: bool,
    /// What an alert adds, in percent of [`Self::max`], 0 to 100. 0: replicas follow no load at all.
    pub factor: u32,
    /// The load to follow.
    pub signal: Signal,
    /// How much of it one replica is to bear, in the signal's unit.
    pub target: f64,
    /// Which part of the target to aim at, above 0 and up to 1.
    pub proportion: f64,
    /// Idle for so long, containers are paused. Asked for by name, so `min` does not forbid it: what is
    /// paused is still available.
    pub freeze_after: Option<Duration>,
    /// Idle for so long, all replicas go; `None` when no label asked for it.
    pub zero_after: Option<Duration>,
    /// Whether `min` was set to 1 or more: then [`Self::zero_after`] has no effect.
    pub kept_by_min: bool,
    /// Share of the host's wasm slots when they are short, against 1 of others.
    pub weight: f64,
}

/// What holds where a label is silent. [`Defaults::default`] has the original's values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Defaults {
    /// Fewest containers.
    pub min: u32,
    /// Slots of a wasm function that asks for no number.
    pub wasm_slots: u32,
    /// Most replicas.
    pub max: u32,
    /// What an alert adds, in percent.
    pub factor: u32,
    /// The load to follow.
    pub signal: Signal,
    /// How much of it one replica is to bear.
    pub target: f64,
    /// Which part of the target to aim at.
    pub proportion: f64,
    /// Idle time before 0, where 0 is asked for.
    pub zero_after: Duration,
}

impl Defaults {
    /// The original's values, with the slots that a host gives to a wasm function that asks for no number.
    pub fn with_slots(wasm_slots: u32) -> Self {
        Self { wasm_slots, ..Self::default() }
    }
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            min: 1,
            wasm_slots: 16,
            max: 20,
            factor: 20,
            signal: Signal::Rps,
            target: 50.0,
            proportion: 0.9,
            zero_after: Duration::from_secs(15 * 60),
        }
    }
}

/// A label that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("label {label}={value:?}: {reason}")]
pub struct PolicyError {
    /// The label's name.
    pub label: &'static str,
    /// Its value, shortened.
    pub value: String,
    /// What is wrong with it, and what would be right.
    pub reason: String,
}

impl Policy {
    /// Reads a function's labels. Other labels than those of the [module](self) are not looked at.
    ///
    /// # Errors
    /// [`PolicyError`] for the first label with a value that its kind does not have: a sign, an exponent,
    /// a word, a number out of range; and for a `min` above an explicit `max`.
    pub fn from_labels(
        labels: &BTreeMap<String, String>,
        runtime: Runtime,
        defaults: &Defaults,
    ) -> Result<Self, PolicyError> {
        let labels = Labels(labels);
        let wasm = runtime == Runtime::Wasm;
        let (min, max) = bounds(labels, wasm, defaults)?;
        let signal = labels.read(SCALE_TYPE_LABEL, signal)?.unwrap_or(defaults.signal);
        let target = if wasm && signal == Signal::Capacity { 1.0 } else { defaults.target };
        let idle = labels.read(ZERO_DURATION_LABEL, idle_time)?.unwrap_or(defaults.zero_after);
        Ok(Self {
            min,
            max,
            // With a maximum of 0 replicas stay as they are.
            capped: labels.read(MAX_LABEL, |text| whole(text, MAX_REPLICAS))?.is_some_and(|max| max > 0),
            factor: labels.read(FACTOR_LABEL, |text| whole(text, 100))?.unwrap_or(defaults.factor),
            signal,
            target: labels.read(TARGET_LABEL, |text| number(text, TARGETS))?.unwrap_or(target),
            proportion: labels
                .read(PROPORTION_LABEL, |text| number(text, PROPORTIONS))?
                .unwrap_or(defaults.proportion),
            freeze_after: labels.read(FREEZE_AFTER_LABEL, idle_time)?,
            zero_after: labels.read(ZERO_LABEL, flag)?.unwrap_or(false).then_some(idle),
            kept_by_min: labels.get(SCALE_MIN_LABEL).is_some() && min > 0,
            weight: labels.read(WEIGHT_LABEL, |text| number(text, WEIGHTS))?.unwrap_or(1.0),
        })
    }

    /// Fewest replicas while there is load: 0 is only for the idle.
    pub fn floor(&self) -> u32 {
        self.min.max(1)
    }

    /// Whether replicas follow the load: not with a factor of 0, nor where the bounds leave no choice.
    pub fn follows_load(&self) -> bool {
        self.factor > 0 && self.floor() < self.max
    }

    /// Load of the signal's unit for which one replica is wanted.
    pub fn per_replica(&self) -> f64 {
        self.target * self.proportion
    }

    /// Idle for so long, the function goes to 0; `None` where it never does.
    pub fn to_zero_after(&self) -> Option<Duration> {
        self.zero_after.filter(|_| !self.kept_by_min)
    }
}

impl Signal {
    /// The word of `com.openfaas.scale.type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rps => "rps",
            Self::Capacity => "capacity",
            Self::Cpu => "cpu",
            Self::Queue => "queue",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Fewest and most replicas.
fn bounds(labels: Labels<'_>, wasm: bool, defaults: &Defaults) -> Result<(u32, u32), PolicyError> {
    let min = labels.read(SCALE_MIN_LABEL, |text| whole(text, MAX_REPLICAS))?;
    // The original never climbs with a maximum of 0, for then an alert's step is 0.
    let asked = labels.read(MAX_LABEL, |text| whole(text, MAX_REPLICAS))?;
    let max = asked.filter(|max| *max > 0);
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        let value = labels.get(SCALE_MIN_LABEL).unwrap_or_default();
        let reason = format!("it is above {MAX_LABEL}={max}; lower the one or raise the other");
        return Err(PolicyError { label: SCALE_MIN_LABEL, value: shortened(value), reason });
    }
    let fewest = if wasm { defaults.wasm_slots } else { defaults.min };
    let min = min.unwrap_or_else(|| fewest.min(max.unwrap_or(u32::MAX)));
    let unmoved = asked == Some(0) || (wasm && !labels.ask_for_scaling());
    let most = if unmoved { min } else { defaults.max.max(min) };
    Ok((min, max.unwrap_or(most).max(1)))
}

#[derive(Clone, Copy)]
struct Labels<'a>(&'a BTreeMap<String, String>);

impl<'a> Labels<'a> {
    /// An empty value is none, as in the original.
    fn get(self, label: &str) -> Option<&'a str> {
        self.0.get(label).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn read<T>(
        self,
        label: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, PolicyError> {
        let Some(value) = self.get(label) else { return Ok(None) };
        let refused = |reason| PolicyError { label, value: shortened(value), reason };
        parse(value).map(Some).map_err(refused)
    }

    fn ask_for_scaling(self) -> bool {
        let from =
            self.0.range::<str, _>((std::ops::Bound::Included(SCALE_PREFIX), std::ops::Bound::Unbounded));
        from.take_while(|(label, _)| label.starts_with(SCALE_PREFIX)).any(|(_, value)| !value.is_empty())
    }
}

fn whole(text: &str, most: u32) -> Result<u32, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let value = text.parse().ok().filter(|value| digits && *value <= most);
    value.ok_or_else(|| format!("a whole number from 0 to {most} is needed"))
}

/// A plain decimal number: no sign, no exponent, no `inf`.
fn number(text: &str, range: RangeInclusive<f64>) -> Result<f64, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let value = text.parse().ok().filter(|value| plain && range.contains(value));
    value.ok_or_else(|| format!("a number from {} to {} is needed", range.start(), range.end()))
}

fn signal(text: &str) -> Result<Signal, String> {
    let signals = [Signal::Rps, Signal::Capacity, Signal::Cpu, Signal::Queue];
    let found = signals.into_iter().find(|signal| signal.as_str() == text);
    found.ok_or_else(|| "`rps`, `capacity`, `cpu` or `queue` is needed".to_owned())
}

fn flag(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("`true` or `false` is needed".to_owned()),
    }
}

fn idle_time(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).ok().filter(|time| !time.is_zero());
    time.ok_or_else(|| "a time above 0 is needed, as `30s` or `15m`".to_owned())
}

fn shortened(text: &str) -> String {
    const MAX_CHARS: usize = 80;
    match text.char_indices().nth(MAX_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests;
