//! What the command prints: results on stdout, everything else on stderr.
//!
//! The property that must hold: a script sees plain text. Colours and progress are for terminals,
//! and a reader that goes away (`bramble list | head`) ends the command without a complaint.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::config::Environment;

/// Stdout was closed by whoever was reading it.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
pub(crate) struct ReaderGone;

/// How to print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    stdout_color: bool,
    stderr_color: bool,
    progress: bool,
}

/// How a piece of text looks on a terminal.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Style {
    /// A heading, a name.
    Bold,
    /// Beside the point.
    Dim,
    /// Good.
    Green,
    /// Look here.
    Yellow,
    /// Bad.
    Red,
}

impl Output {
    /// Looks at what stdout and stderr are.
    pub(crate) fn new(environment: &Environment) -> Self {
        let (stdout, stderr) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let color = !environment.no_color();
        Self { stdout_color: stdout && color, stderr_color: stderr && color, progress: stderr }
    }

    /// Whether stderr takes colours.
    pub(crate) fn stderr_color(self) -> bool {
        self.stderr_color
    }

    /// The same without spinners, for a process that logs while it works.
    pub(crate) fn without_progress(self) -> Self {
        Self { progress: false, ..self }
    }

    /// Writes a line to stdout.
    ///
    /// # Errors
    /// [`ReaderGone`], or the error of the write.
    pub(crate) fn line(self, text: impl Display) -> anyhow::Result<()> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Writes bytes to stdout, at once.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub(crate) fn bytes(self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => ReaderGone.into(),
            _ => anyhow::Error::new(error).context("writing to stdout"),
        })
    }

    /// Writes a value to stdout as indented JSON.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub(crate) fn json(self, value: &impl Serialize) -> anyhow::Result<()> {
        self.line(serde_json::to_string_pretty(value)?)
    }

    /// Writes rows below headings to stdout, each column as wide as it must be.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub(crate) fn table<const N: usize>(
        self,
        headings: [&str; N],
        rows: &[[String; N]],
    ) -> anyhow::Result<()> {
        let text = table(headings, rows);
        let (heading, rows) = text.split_once('\n').unwrap_or((&text, ""));
        let heading = self.paint(Style::Bold, heading);
        self.bytes(format!("{heading}\n{rows}").as_bytes())
    }

    /// Writes a line to stderr. That it cannot be written is no reason to fail.
    pub(crate) fn note(self, text: impl Display) {
        self.note_bytes(format!("{text}\n").as_bytes());
    }

    /// Writes bytes to stderr.
    pub(crate) fn note_bytes(self, bytes: &[u8]) {
        // Nothing is left to tell it to when stderr is gone.
        let _ = io::stderr().lock().write_all(bytes);
    }

    /// Writes something odd to stderr that is no reason to stop.
    pub(crate) fn warn(self, message: impl Display) {
        self.note(format!("{} {message}", self.paint_stderr(Style::Yellow, "warning:")));
    }

    /// Writes what went wrong to stderr, and what to do about it.
    pub(crate) fn complain(self, message: impl Display, hint: Option<&str>) {
        self.note(format!("{} {message}", self.paint_stderr(Style::Red, "error:")));
        if let Some(hint) = hint {
            self.hint(hint);
        }
    }

    /// Writes what to do about it to stderr.
    pub(crate) fn hint(self, hint: &str) {
        self.note(format!("{} {hint}", self.paint_stderr(Style::Yellow, "hint:")));
    }

    /// The text as it looks on stdout.
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        paint(self.stdout_color, style, text)
    }

    /// The text as it looks on stderr.
    pub(crate) fn paint_stderr(self, style: Style, text: &str) -> String {
        paint(self.stderr_color, style, text)
    }

    /// Shows that something is going on, on a terminal only.
    pub(crate) fn spinner(self, message: impl Into<String>) -> Spinner {
        if !self.progress {
            return Spinner(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner().with_message(message.into());
        let template = if self.stderr_color {
            "{spinner:.green} {msg} {elapsed:.dim}"
        } else {
            "{spinner} {msg} {elapsed}"
        };
        let style = ProgressStyle::with_template(template).expect("the template is valid");
        bar.set_style(style);
        bar.enable_steady_tick(Duration::from_millis(100));
        Spinner(bar)
    }
}

/// Something going on. It disappears when dropped.
#[derive(Debug)]
pub(crate) struct Spinner(ProgressBar);

/// What a spinner says, for others to change.
#[derive(Debug, Clone)]
pub(crate) struct SpinnerText(ProgressBar);

impl Spinner {
    /// The text, which may outlive the spinner.
    pub(crate) fn text(&self) -> SpinnerText {
        SpinnerText(self.0.clone())
    }
}

impl SpinnerText {
    /// Shows something else.
    pub(crate) fn say(&self, message: impl Into<String>) {
        self.0.set_message(message.into());
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn paint(color: bool, style: Style, text: &str) -> String {
    let code = match style {
        Style::Bold => 1,
        Style::Dim => 2,
        Style::Green => 32,
        Style::Yellow => 33,
        Style::Red => 31,
    };
    if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    let mut push = |cells: [&str; N]| {
        let line = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect::<Vec<_>>();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    };
    push(headings);
    for row in rows {
        push(row.each_ref().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_columns_and_leaves_no_trailing_space() {
        let rows = [["a".to_owned(), "1".to_owned()], ["long-name".to_owned(), String::new()]];
        assert_eq!(table(["NAME", "N"], &rows), "NAME       N\na          1\nlong-name\n");
    }

    #[test]
    fn paints_only_where_colours_are_wanted() {
        assert_eq!(paint(false, Style::Red, "x"), "x");
        assert_eq!(paint(true, Style::Red, "x"), "\x1b[31mx\x1b[0m");
    }
}
