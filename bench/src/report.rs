//! What a bench leaves behind: tables on stdout, JSON in a file.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};

use crate::machine::Machine;
use crate::table::Table;

/// The outcome of one bench.
#[derive(Debug)]
pub(crate) struct Report {
    bench: &'static str,
    /// How it was measured, so that somebody else can.
    method: String,
    results: Value,
    tables: Vec<Table>,
    notes: Vec<String>,
}

impl Report {
    /// # Errors
    /// When the results have no JSON form.
    pub(crate) fn new(
        bench: &'static str,
        method: impl Into<String>,
        results: &impl Serialize,
    ) -> Result<Self> {
        let results = serde_json::to_value(results).context("the results have no JSON form")?;
        Ok(Self { bench, method: method.into(), results, tables: Vec::new(), notes: Vec::new() })
    }

    pub(crate) fn table(mut self, table: Table) -> Self {
        self.tables.push(table);
        self
    }

    pub(crate) fn notes(mut self, notes: impl IntoIterator<Item = String>) -> Self {
        self.notes.extend(notes);
        self
    }

    /// Prints the tables and writes the JSON.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn publish(&self, machine: &Machine, json: Option<&Path>) -> Result<()> {
        // A reader that has seen enough (`| head`) must not cost the JSON file.
        let _ = self.print(machine);
        let Some(path) = json else { return Ok(()) };
        let document = json!({
            "bench": self.bench,
            "machine": machine,
            "method": self.method,
            "notes": self.notes,
            "results": self.results,
        });
        let text = serde_json::to_string_pretty(&document).context("the report has no JSON form")? + "\n";
        std::fs::write(path, text).with_context(|| format!("cannot write the results to {}", path.display()))
    }

    fn print(&self, machine: &Machine) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "bramble-bench {}: {}", self.bench, machine.line())?;
        if let Some(warning) = machine.warning() {
            writeln!(out, "warning: {warning}")?;
        }
        writeln!(out, "method: {}", self.method)?;
        self.tables.iter().try_for_each(|table| write!(out, "{table}"))?;
        self.notes.iter().try_for_each(|note| writeln!(out, "note: {note}"))
    }
}

/// The line that is written over; there is at most one terminal.
static LINE: OnceLock<ProgressBar> = OnceLock::new();

/// From now on progress is one line that is written over, with the time since; where stderr is a terminal.
pub(crate) fn show_one_line() {
    if io::stderr().is_terminal() {
        let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}").expect("the template is valid");
        let line = ProgressBar::new_spinner().with_style(style);
        line.enable_steady_tick(Duration::from_millis(100));
        // A second call changes nothing.
        let _ = LINE.set(line);
    }
}

/// Takes the line away, before results are printed.
pub(crate) fn clear_line() {
    if let Some(line) = LINE.get() {
        line.finish_and_clear();
    }
}

/// Says on stderr what is being measured: a bench is silent for a long time otherwise.
pub(crate) fn progress(what: impl std::fmt::Display) {
    if let Some(line) = LINE.get() {
        line.set_message(what.to_string());
        return;
    }
    // Nobody reading it is no reason to stop.
    let _ = writeln!(io::stderr().lock(), "... {what}");
}
