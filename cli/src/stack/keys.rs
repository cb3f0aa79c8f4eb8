//! The keys of a stack file that mean something; every other is told, with what may have been meant.

use serde_norway::{Mapping, Value};

use super::shortened;
use crate::error::CliError;

const DOCUMENT: &[&str] = &["version", "provider", "functions", "configuration"];
const PROVIDER: &[&str] = &["name", "gateway", "network"];
const CONFIGURATION: &[&str] = &["templates", "copy"];
const TEMPLATE: &[&str] = &["name", "source"];
const RESOURCES: &[&str] = &["memory", "cpu"];
const FUNCTION: &[&str] = &[
    "lang",
    "handler",
    "image",
    "fprocess",
    "namespace",
    "environment",
    "environment_file",
    "secrets",
    "labels",
    "annotations",
    "constraints",
    "limits",
    "requests",
    "readonly_root_filesystem",
    "skip_build",
    "build_args",
    "build_options",
    "build_secrets",
    "platforms",
];

/// How alike two keys are that are taken for each other (Jaro-Winkler).
const ALIKE: f64 = 0.8;

/// Adds a warning for each key that is not known.
///
/// # Errors
/// For a key that is written twice, which the first reading does not see.
pub(super) fn check(source: &str, text: &str, warnings: &mut Vec<String>) -> Result<(), CliError> {
    let document = serde_norway::from_str(text).map_err(|error: serde_norway::Error| {
        CliError::usage(format!("{source} cannot be understood: {}", shortened(&error.to_string())))
    })?;
    let Value::Mapping(document) = document else { return Ok(()) };
    let mut found = Unknown { source, text, warnings };
    found.keys("", &document, DOCUMENT);
    found.below("provider", &document, "provider", PROVIDER);
    found.below("configuration", &document, "configuration", CONFIGURATION);
    let templates = document.get("configuration").and_then(|value| value.get("templates"));
    for template in templates.and_then(Value::as_sequence).into_iter().flatten() {
        if let Some(template) = template.as_mapping() {
            found.keys("configuration.templates", template, TEMPLATE);
        }
    }
    let functions = document.get("functions").and_then(Value::as_mapping);
    for (name, function) in functions.into_iter().flatten() {
        let (Some(name), Some(function)) = (name.as_str(), function.as_mapping()) else { continue };
        let path = format!("functions.{name}");
        found.keys(&path, function, FUNCTION);
        for key in ["limits", "requests"] {
            found.below(&format!("{path}.{key}"), function, key, RESOURCES);
        }
    }
    Ok(())
}

struct Unknown<'a> {
    source: &'a str,
    text: &'a str,
    warnings: &'a mut Vec<String>,
}

impl Unknown<'_> {
    fn below(&mut self, path: &str, mapping: &Mapping, key: &str, known: &[&str]) {
        if let Some(inner) = mapping.get(key).and_then(Value::as_mapping) {
            self.keys(path, inner, known);
        }
    }

    fn keys(&mut self, path: &str, mapping: &Mapping, known: &[&str]) {
        for key in mapping.keys() {
            let Some(key) = key.as_str() else { continue };
            // `x-…` is where YAML files keep what they refer to.
            if known.contains(&key) || key.starts_with("x-") {
                continue;
            }
            let full = if path.is_empty() { shortened(key) } else { shortened(&format!("{path}.{key}")) };
            let line = self.line(key).map(|line| format!(", line {line}")).unwrap_or_default();
            let meant = meant(key, known).map(|meant| format!("; did you mean {meant}?"));
            let warning =
                format!("{}{line}: {full} means nothing here{}", self.source, meant.unwrap_or_default());
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
    }

    /// Where the key is written first.
    fn line(&self, key: &str) -> Option<usize> {
        let written = |line: &str| {
            let line = line.trim_start_matches([' ', '-']).trim_start_matches(['"', '\'']);
            line.strip_prefix(key)
                .is_some_and(|rest| rest.trim_start_matches(['"', '\'', ' ']).starts_with(':'))
        };
        self.text.lines().position(written).map(|at| at + 1)
    }
}

/// The known key that is most like one, when one is alike.
fn meant<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    let likeness = |known: &&str| strsim::jaro_winkler(&key.to_lowercase(), known);
    let best = known.iter().copied().map(|known| (likeness(&known), known));
    best.filter(|(likeness, _)| *likeness >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}
