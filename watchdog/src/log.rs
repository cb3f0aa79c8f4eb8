//! The log: one line per event on stderr, in the classic watchdog's shape.
//!
//! A line is `YYYY/MM/DD HH:MM:SS text`, in UTC, and goes out in one write, so lines of several
//! processes that share the stream do not mix.

use std::fmt::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

/// Logs one line, formatted like `println!`.
macro_rules! log {
    ($($part:tt)*) => { $crate::log::line(format_args!($($part)*)) };
}
pub(crate) use log;

/// Logs one line; prefer the `log!` macro.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    let mut line = stamp(SystemTime::now());
    let _ = writeln!(line, "{text}");
    raw(line.as_bytes());
}

/// Writes bytes to the log as they are. A log that nobody can take is no reason to fail a request.
///
/// Not by way of the standard library, whose lock the threads would wait for while one of them writes.
pub(crate) fn raw(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::retry_on_intr(|| rustix::io::write(rustix::stdio::stderr(), bytes)) {
            Ok(count @ 1..) => bytes = &bytes[count..],
            Ok(0) | Err(_) => return,
        }
    }
}

/// Cuts a program's output into log lines, with bounded memory.
#[derive(Debug)]
pub(crate) struct LineLog {
    prefix: &'static str,
    style: LineStyle,
    partial: Vec<u8>,
}

/// How the lines of a program appear in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineStyle {
    /// Put the time and the stream's name before each line (`prefix_logs`).
    pub(crate) prefixed: bool,
    /// Longer lines are cut into several (`log_buffer_size`).
    pub(crate) limit_bytes: usize,
}

impl LineLog {
    /// A log for one stream; `prefix` is what its lines begin with: `stderr: `.
    pub(crate) fn new(prefix: &'static str, style: LineStyle) -> Self {
        Self { prefix, style, partial: Vec::new() }
    }

    /// Logs the lines that `bytes` complete and keeps the rest.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.keep(&rest[..end]);
            self.flush();
            rest = &rest[end + 1..];
        }
        self.keep(rest);
    }

    /// Logs what is left of an unfinished line.
    pub(crate) fn finish(&mut self) {
        if !self.partial.is_empty() {
            self.flush();
        }
    }

    fn keep(&mut self, mut bytes: &[u8]) {
        while self.partial.len() + bytes.len() > self.style.limit_bytes {
            let (head, tail) = bytes.split_at(self.style.limit_bytes - self.partial.len());
            self.partial.extend_from_slice(head);
            self.flush();
            bytes = tail;
        }
        self.partial.extend_from_slice(bytes);
    }

    fn flush(&mut self) {
        let mut line = Vec::with_capacity(self.partial.len() + 32);
        if self.style.prefixed {
            line.extend_from_slice(stamp(SystemTime::now()).as_bytes());
            line.extend_from_slice(self.prefix.as_bytes());
        }
        line.append(&mut self.partial);
        line.push(b'\n');
        raw(&line);
    }
}

/// `YYYY/MM/DD HH:MM:SS ` in UTC.
fn stamp(now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    let of_day = seconds % 86_400;
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    let mut text = String::with_capacity(128);
    let _ = write!(text, "{year:04}/{month:02}/{day:02} {hour:02}:{minute:02}:{second:02} ");
    text
}

/// Year, month and day of a day since 1970-01-01, by counting eras of 400 years from a first of March.
fn civil(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn stamps_like_the_classic_watchdog() {
        for (seconds, text) in [
            (0, "1970/01/01 00:00:00 "),
            (951_827_696, "2000/02/29 12:34:56 "),
            (1_709_164_799, "2024/02/28 23:59:59 "),
            (1_735_689_600, "2025/01/01 00:00:00 "),
            (4_107_542_400, "2100/03/01 00:00:00 "),
        ] {
            assert_eq!(stamp(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_long_line_is_cut_and_never_kept_whole() {
        let mut log = LineLog::new("", LineStyle { prefixed: false, limit_bytes: 4 });
        log.push(b"123456789");
        assert_eq!(log.partial, b"9");
        log.push(b"\nab");
        assert_eq!(log.partial, b"ab");
        log.finish();
        assert!(log.partial.is_empty());
    }
}
