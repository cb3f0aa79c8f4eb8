//! `bramble logs`

use std::time::{Duration, SystemTime};

use anyhow::Result;
use bramble_provider::FunctionName;
use bytes::{Buf, BytesMut};
use clap::{ArgAction, Args, ValueEnum};
use http::Method;
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use serde::Deserialize;

use super::{Connection, Context, InNamespace, duration, function_name, short_time};
use crate::api::failure;
use crate::client::{ANSWER_LIMIT, RequestBody};
use crate::error::CliError;
use crate::output::{Output, Style};
use bramble_provider::url::query;

/// Longest line that is kept together; the gateway's are far shorter.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Largest answer that tells why there is no log.
const MAX_FAILURE_BYTES: usize = 64 << 10;

/// Print what a function wrote to stderr
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bramble logs hello --follow
  bramble logs hello --since 10m --lines 100
  bramble logs hello --since-time 2026-11-20T09:00:00Z
  bramble logs hello --json | jq -r .text")]
pub(crate) struct Logs {
    /// The function
    #[arg(value_parser = function_name)]
    name: FunctionName,
    #[command(flatten)]
    place: InNamespace,
    /// Go on with lines as they are written
    #[arg(short, long, visible_alias = "tail", visible_short_alias = 't', value_name = "true|false",
          num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false,
          hide_default_value = true, action = ArgAction::Set)]
    follow: bool,
    /// Only lines that are not older than this
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    since: Option<Duration>,
    /// Only lines from this time on (RFC 3339)
    #[arg(long, value_name = "TIME", conflicts_with = "since")]
    since_time: Option<Timestamp>,
    /// Only the last N of the lines there are; all of them when N is not above 0
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    lines: Option<i64>,
    /// Only lines of this instance: an invocation's id, or a container's
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
    /// Print each line as JSON, as the gateway sends it
    #[arg(short, long, conflicts_with = "output")]
    json: bool,
    /// How a line is printed
    #[arg(short, long, value_enum, default_value_t = Form::Plain)]
    output: Form,
    #[command(flatten)]
    connection: Connection,
}

/// How a line is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Its time, its instance and its text
    Plain,
    /// `key=value` for each thing that is known of it
    #[value(name = "keyvalue")]
    KeyValue,
    /// As the gateway sends it, the same as --json
    Json,
}

#[derive(Debug, Deserialize)]
struct Line {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    instance: String,
    #[serde(default)]
    timestamp: String,
    text: String,
}

impl Logs {
    /// Prints lines as they come, until there are no more.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        let api = self.connection.api(context)?;
        let name = self.place.name(&self.name)?;
        let path = format!("/system/logs{}", self.query(&name)?);
        let request = api.client().request(Method::GET, &path).body(RequestBody::empty())?;
        let response = api.client().send(request, Some(ANSWER_LIMIT)).await?;
        let (head, mut body) = response.into_parts();
        if !head.status.is_success() {
            let body = Limited::new(body, MAX_FAILURE_BYTES).collect().await;
            let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let what = format!("the log of function {name}");
            return Err(failure(head.status, &body, api.client().shown(), &what).into());
        }
        let mut pending = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| CliError::failed(format!("the log was cut off: {error}")))?;
            if let Ok(data) = frame.into_data() {
                pending.extend_from_slice(&data);
                self.print_lines(&mut pending, context.output)?;
            }
        }
        if pending.is_empty() { Ok(()) } else { self.print(&pending, context.output) }
    }

    fn query(&self, name: &FunctionName) -> Result<String> {
        let since = match (self.since_time, self.since) {
            (Some(time), _) => Some(time.to_string()),
            (None, None) => None,
            (None, Some(since)) => {
                let start = SystemTime::now().checked_sub(since).unwrap_or(SystemTime::UNIX_EPOCH);
                Some(Timestamp::try_from(start)?.to_string())
            }
        };
        let lines = self.lines.filter(|lines| *lines > 0).map(|lines| lines.to_string());
        let default = bramble_provider::DEFAULT_NAMESPACE;
        let namespace = Some(name.namespace()).filter(|namespace| *namespace != default);
        let pairs = [
            ("name", Some(name.name())),
            ("namespace", namespace),
            ("follow", Some(if self.follow { "true" } else { "false" })),
            ("since", since.as_deref()),
            ("tail", lines.as_deref()),
            ("instance", self.instance.as_deref()),
        ];
        Ok(query(pairs.into_iter().filter_map(|(key, value)| Some((key, value?)))))
    }

    /// Prints the whole lines and leaves the rest.
    fn print_lines(&self, pending: &mut BytesMut, output: Output) -> Result<()> {
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line = pending.split_to(end);
            pending.advance(1);
            self.print(&line, output)?;
        }
        if pending.len() > MAX_LINE_BYTES {
            let line = pending.split();
            self.print(&line, output)?;
        }
        Ok(())
    }

    fn print(&self, line: &[u8], output: Output) -> Result<()> {
        let raw = String::from_utf8_lossy(line);
        let form = if self.json { Form::Json } else { self.output };
        match (serde_json::from_slice::<Line>(line), form) {
            (Ok(line), Form::Plain) => output.line(format_line(&line, output)),
            (Ok(line), Form::KeyValue) => output.line(key_values(&line)),
            // What is no line of ours is shown as it came.
            (_, Form::Json) | (Err(_), _) => output.line(raw),
        }
    }
}

fn format_line(line: &Line, output: Output) -> String {
    let time = short_time(&line.timestamp, 3);
    let about = match line.instance.as_str() {
        "" => time,
        instance => format!("{time} ({instance})"),
    };
    format!("{} {}", output.paint(Style::Dim, &about), line.text)
}

fn key_values(line: &Line) -> String {
    let Line { name, namespace, instance, timestamp, text } = line;
    let pairs = [
        ("timestamp", timestamp),
        ("name", name),
        ("namespace", namespace),
        ("instance", instance),
        ("text", text),
    ];
    pairs.map(|(key, value)| format!("{key}={value:?}")).join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_line_is_told_key_by_key() {
        let line = Line {
            name: "a".to_owned(),
            namespace: "team".to_owned(),
            instance: "7".to_owned(),
            timestamp: "2026-11-20T09:56:00Z".to_owned(),
            text: "say \"hi\"".to_owned(),
        };
        assert_eq!(
            key_values(&line),
            r#"timestamp="2026-11-20T09:56:00Z" name="a" namespace="team" instance="7" text="say \"hi\"""#
        );
    }
}
