//! What a bench leaves behind: tables on stdout, JSON in a file.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
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

/// Says on stderr what is being measured: a bench is silent for a long time otherwise.
pub(crate) fn progress(what: impl std::fmt::Display) {
    // Nobody reading it is no reason to stop.
    let _ = writeln!(io::stderr().lock(), "... {what}");
}
