//! What an agent tells: lines of JSON, each one event.

use std::collections::HashMap;
use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// The stream of events.
pub(super) const EVENTS_PATH: &str = "/v1/events";
/// Below this, `{id}/pause` and `{id}/unpause`.
pub(super) const CONTAINERS_PATH: &str = "/v1/containers/";
/// The CPU time of the containers of functions that are scaled by it: [`CpuTimes`].
pub(super) const CPU_PATH: &str = "/v1/cpu";
/// Longest answer with CPU times, each in up to 88 bytes.
pub(super) const MAX_CPU_BYTES: usize = 1 << 20;
/// Longest line. A hello names every paused container of its node, each in 67 bytes.
const MAX_LINE_BYTES: usize = 1 << 20;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Event {
    /// The first line: who tells, and which of its containers are paused.
    Hello { node: String, version: String, paused: Vec<String> },
    /// A container of a function started.
    Start {
        function: String,
        task: String,
        container: String,
        /// On the functions' network.
        #[serde(default)]
        address: Option<IpAddr>,
    },
    /// It ended.
    Die { function: String, task: String, container: String },
    /// Its processes stand still.
    Pause { function: String, task: String, container: String },
    /// They go on.
    Unpause { function: String, task: String, container: String },
    /// Nothing happened, and the agent is there.
    Beat,
    /// What an agent of another version tells.
    #[serde(other)]
    Other,
}

/// What the running containers of a node took since each started.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct CpuTimes {
    /// By the container's id.
    pub(super) nanos: HashMap<String, u64>,
}

impl Event {
    /// The line, with its end.
    pub(super) fn line(&self) -> Bytes {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line.into()
    }
}

/// Cuts what arrives into lines.
#[derive(Debug, Default)]
pub(super) struct Lines(BytesMut);

/// What an agent does not send.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoEvent {
    #[error("a line of more than {MAX_LINE_BYTES} bytes")]
    TooLong,
    #[error("a line that is no event: {0}")]
    Malformed(#[from] serde_json::Error),
}

impl Lines {
    /// Takes in what arrived.
    ///
    /// # Errors
    /// [`NoEvent::TooLong`]
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), NoEvent> {
        if self.0.len() + bytes.len() > MAX_LINE_BYTES {
            return Err(NoEvent::TooLong);
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    /// The next whole line, if it is there.
    ///
    /// # Errors
    /// [`NoEvent::Malformed`]
    pub(super) fn next(&mut self) -> Result<Option<Event>, NoEvent> {
        let Some(end) = self.0.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let line = self.0.split_to(end + 1);
        Ok(Some(serde_json::from_slice(&line)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&str]) -> Result<Vec<Event>, NoEvent> {
        let mut lines = Lines::default();
        let mut events = Vec::new();
        for piece in pieces {
            lines.push(piece.as_bytes())?;
            while let Some(event) = lines.next()? {
                events.push(event);
            }
        }
        Ok(events)
    }

    #[test]
    fn reads_what_it_writes_wherever_it_is_cut() {
        let of = || ("echo".to_owned(), "t1".to_owned(), "c1".to_owned());
        let (function, task, container) = of();
        let start = Event::Start { function, task, container, address: Some([10, 62, 0, 7].into()) };
        let (function, task, container) = of();
        let die = Event::Die { function, task, container };
        let hello =
            Event::Hello { node: "n".to_owned(), version: "1".to_owned(), paused: vec!["c".to_owned()] };
        let all = [hello, start, Event::Beat, die];
        let text: String = all.iter().map(|e| String::from_utf8(e.line().to_vec()).unwrap()).collect();
        assert!(text.contains(
            r#"{"type":"start","function":"echo","task":"t1","container":"c1","address":"10.62.0.7"}"#
        ));
        for cut in 0..text.len() {
            assert_eq!(events(&[&text[..cut], &text[cut..]]).unwrap(), all, "cut at {cut}");
        }
    }

    #[test]
    fn an_unknown_event_is_no_error_and_garbage_is() {
        assert_eq!(events(&["{\"type\":\"rename\",\"to\":\"x\"}\n"]).unwrap(), [Event::Other]);
        assert!(matches!(events(&["<html>\n"]), Err(NoEvent::Malformed(_))));
        assert!(matches!(events(&["{\"type\":\"start\"}\n"]), Err(NoEvent::Malformed(_))));
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let piece = "x".repeat(MAX_LINE_BYTES / 2);
        assert!(matches!(events(&[&piece, &piece, "x"]), Err(NoEvent::TooLong)));
    }
}
