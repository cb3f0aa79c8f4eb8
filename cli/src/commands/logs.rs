//! `bramble logs`

use std::time::{Duration, SystemTime};

use anyhow::Result;
use bramble_provider::FunctionName;
use bytes::{Buf, BytesMut};
use clap::Args;
use http::Method;
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use serde::Deserialize;

use super::{Connection, Context, duration, function_name, in_namespace, short_time};
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
  bramble logs hello --json | jq -r .text")]
pub(crate) struct Logs {
    /// The function
    #[arg(value_parser = function_name)]
    name: FunctionName,
    /// The function's namespace, unless its name ends with it
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Go on with lines as they are written
    #[arg(short, long)]
    follow: bool,
    /// Only lines that are not older than this
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    since: Option<Duration>,
    /// Only the last N of the lines there are
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<u32>,
    /// Only lines of this instance: an invocation's id, or a container's
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
    /// Print each line as JSON, as the gateway sends it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Deserialize)]
struct Line {
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
        let name = in_namespace(&self.name, self.namespace.as_deref())?;
        let path = format!("/system/logs{}", self.query(&name)?);
        let request = api.client().request(Method::GET, &path).body(RequestBody::empty())?;
        let response = api.client().send(request, Some(ANSWER_LIMIT)).await?;
        let (head, mut body) = response.into_parts();
        if !head.status.is_success() {
            let body = Limited::new(body, MAX_FAILURE_BYTES).collect().await;
            let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            return Err(failure(head.status, &body, &format!("the log of function {name}")).into());
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
        let since = match self.since {
            None => None,
            Some(since) => {
                let start = SystemTime::now().checked_sub(since).unwrap_or(SystemTime::UNIX_EPOCH);
                Some(Timestamp::try_from(start)?.to_string())
            }
        };
        let lines = self.lines.map(|lines| lines.to_string());
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
        match serde_json::from_slice::<Line>(line) {
            Ok(line) if !self.json => output.line(format_line(&line, output)),
            // What is no line of ours is shown as it came.
            _ => output.line(raw),
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
