//! Which stack file, and which of its functions.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use regex_lite::Regex;

use super::Stack;
use super::tag::Tag;
use crate::error::CliError;

/// The flags of every verb that takes a stack file.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Stack file")]
pub(crate) struct StackFlags {
    /// The stack file, or an http URL of one
    #[arg(short = 'f', long = "yaml", value_name = "FILE|URL")]
    yaml: Option<String>,
    /// Only functions whose names match, such as `api-*`
    #[arg(long, value_name = "GLOB", conflicts_with = "regex")]
    filter: Option<String>,
    /// Only functions whose names match this regular expression
    #[arg(long, value_name = "REGEX")]
    regex: Option<String>,
    /// Whether variables such as ${TAG:-latest} are replaced
    #[arg(long, value_name = "true|false", default_value_t = true, hide_default_value = true, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    envsubst: bool,
    /// Add what git says of the folder to the tags of the images that are built
    #[arg(long, value_enum, value_name = "WHAT")]
    tag: Option<Tag>,
}

impl StackFlags {
    /// Whether a stack file was named, or functions of the one that is here were chosen.
    pub(crate) fn is_given(&self) -> bool {
        self.yaml.is_some() || self.filter.is_some() || self.regex.is_some()
    }

    /// Whether variables in it are replaced.
    pub(super) fn has_variables(&self) -> bool {
        self.envsubst
    }

    /// What is added to the tags of its images.
    pub(super) fn tag(&self) -> Option<Tag> {
        self.tag
    }

    /// The file or URL that was named.
    pub(super) fn yaml(&self) -> Option<&str> {
        self.yaml.as_deref()
    }

    /// The file, when it is one: what `--watch` looks at.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        self.yaml.as_ref().filter(|yaml| !yaml.contains("://")).map(PathBuf::from)
    }

    /// The stack with the chosen functions only.
    pub(super) fn select(&self, mut stack: Stack) -> Result<Stack, CliError> {
        if let Some(glob) = &self.filter {
            stack.functions.retain(|name, _| glob_matches(glob, name.name()));
        }
        if let Some(text) = &self.regex {
            let regex =
                Regex::new(text).map_err(|error| CliError::usage(format!("--regex {text}: {error}")))?;
            stack.functions.retain(|name, _| regex.is_match(name.name()));
        }
        if stack.functions.is_empty() {
            let chosen = self.filter.as_ref().or(self.regex.as_ref()).map_or("", String::as_str);
            return Err(CliError::usage(format!("no function of {} matches {chosen:?}", stack.source)));
        }
        Ok(stack)
    }
}

/// Whether a name matches a pattern with `*` (any characters) and `?` (one).
fn glob_matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut seen) = (0, 0);
    // Where the last star was, and how much it has swallowed: going back there is enough.
    let mut star = None;
    while seen < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[seen] => (at, seen) = (at + 1, seen + 1),
            _ => match star {
                Some((position, swallowed)) => {
                    star = Some((position, swallowed + 1));
                    (at, seen) = (position + 1, swallowed + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, name, matches) in [
            ("*", "hello", true),
            ("he*o", "hello", true),
            ("h?llo", "hello", true),
            ("*l*l*", "hello", true),
            ("hello", "hello", true),
            ("hello*", "hello", true),
            ("", "hello", false),
            ("hell", "hello", false),
            ("?", "hello", false),
            ("*x", "hello", false),
        ] {
            assert_eq!(glob_matches(pattern, name), matches, "{pattern} {name}");
        }
    }
}
