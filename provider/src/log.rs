//! Lines that functions write.

use std::time::SystemTime;

use crate::name::FunctionName;

/// One line of a function's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The function.
    pub name: FunctionName,
    /// Which replica or invocation wrote it: the call id for wasm, the task id for containers.
    pub instance: String,
    /// When it was written.
    pub timestamp: SystemTime,
    /// The text, without its line end.
    pub text: String,
}

/// Which lines are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogQuery {
    /// Only lines written at or after this time.
    pub since: Option<SystemTime>,
    /// Only the last so many of the lines there are; `None` for all.
    pub tail: Option<usize>,
    /// Only lines of this instance.
    pub instance: Option<String>,
    /// Go on with lines as they are written, until the stream is dropped.
    pub follow: bool,
}
