//! The environment as typed values, with errors that name the variable.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::str::FromStr;
use std::time::Duration;

use crate::duration::parse_duration;

/// A variable that is missing or cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    /// It has to be there.
    #[error("{name} is not set or empty: {reason}")]
    Missing {
        /// The variable.
        name: &'static str,
        /// Why it is needed and what to write.
        reason: &'static str,
    },
    /// Its value has no meaning.
    #[error("{name}={value:?} {reason}")]
    Invalid {
        /// The variable.
        name: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ConfigError {
    /// A variable that has to be there.
    pub(crate) fn missing(name: &'static str, reason: &'static str) -> Self {
        Self::Missing { name, reason }
    }
}

/// A snapshot of the environment.
#[derive(Debug, Default)]
pub(crate) struct Env(BTreeMap<OsString, OsString>);

impl Env {
    /// The process's own environment.
    pub(crate) fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// The value as it is, also when it is empty or no UTF-8.
    pub(crate) fn raw(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// The value; an empty one counts as unset, as in the originals.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] when it is no UTF-8.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, ConfigError> {
        let Some(value) = self.raw(name).filter(|value| !value.is_empty()) else { return Ok(None) };
        value.to_str().map(Some).ok_or_else(|| self.refuse(name, "is no UTF-8"))
    }

    /// A number; `default` when it is unset.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] when it is none or out of range.
    pub(crate) fn number<N: FromStr>(&self, name: &str, default: N) -> Result<N, ConfigError> {
        match self.text(name)? {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| self.refuse(name, "is no number in range")),
        }
    }

    /// Seconds or a Go duration.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] when it is neither, or negative.
    pub(crate) fn duration(&self, name: &str) -> Result<Option<Duration>, ConfigError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let reason = "is no duration: write seconds, or a number with ms, s, m or h, as in `30s` or `1m30s`";
        parse_duration(text).map(Some).ok_or_else(|| self.refuse(name, reason))
    }

    /// `true` or `false`; false when it is unset.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for anything else.
    pub(crate) fn switch(&self, name: &str) -> Result<bool, ConfigError> {
        self.switch_or(name, "false")
    }

    /// `true` or `false`, with what it is when unset.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for anything else.
    pub(crate) fn switch_or(&self, name: &str, default: &str) -> Result<bool, ConfigError> {
        match self.text(name)?.unwrap_or(default) {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(self.refuse(name, "is neither `true` nor `false`")),
        }
    }

    /// An error about the value of `name`.
    pub(crate) fn refuse(&self, name: &str, reason: &str) -> ConfigError {
        let value = self.raw(name).unwrap_or_default().to_string_lossy();
        let value = value.chars().take(200).collect();
        ConfigError::Invalid { name: name.to_owned(), value, reason: reason.to_owned() }
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Env {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}
