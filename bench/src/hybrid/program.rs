//! The programs: each as a module and as an image, of the same source.

use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use crate::config;

/// What a function runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Program {
    /// Counts the words of 1 KiB: no work to speak of
    Wordcount,
    /// 30 KiB of Markdown to HTML
    Markdown,
    /// A key from a password: all work, for which the processor has instructions that wasm has not
    Pbkdf2,
}

impl Program {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Wordcount => "wordcount",
            Self::Markdown => "markdown",
            Self::Pbkdf2 => "pbkdf2",
        }
    }

    /// Whether it does next to nothing, so that what is measured is the way to it.
    pub(super) fn is_light(self) -> bool {
        self == Self::Wordcount
    }

    /// Requests in a second of a burst, in the mean. Either half alone bears it.
    pub(super) fn rate(self) -> f64 {
        match self {
            Self::Wordcount => 60.0,
            Self::Markdown => 25.0,
            // A third of a core at most: what starts meanwhile has room.
            Self::Pbkdf2 => 12.0,
        }
    }

    pub(super) fn image(self) -> String {
        format!("bramble/{}:latest", self.text())
    }

    /// The module, as `examples/build.sh` made it.
    ///
    /// # Errors
    /// When it did not.
    pub(super) fn module(self) -> Result<Vec<u8>> {
        let dir = config::examples_dir().context("there is no home directory to look for examples in")?;
        let path = dir.join(Path::new(self.text()).with_extension("wasm"));
        std::fs::read(&path).with_context(|| format!("no {}: examples/build.sh makes it", path.display()))
    }

    pub(super) fn env(self, iterations: u32) -> Value {
        match self {
            Self::Pbkdf2 => json!({ "iterations": iterations.to_string(), "salt": "salt" }),
            Self::Wordcount | Self::Markdown => json!({}),
        }
    }

    /// What each request sends.
    pub(super) fn body(self) -> Vec<u8> {
        match self {
            Self::Wordcount => b"some words ".repeat(93),
            Self::Markdown => {
                b"# A *title*\n\nText with `code` and [links](http://a.b/).\n\n- one\n- two\n\n".repeat(450)
            }
            Self::Pbkdf2 => b"a password".into(),
        }
    }
}
