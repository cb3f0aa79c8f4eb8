//! Requests and their answers as a table has them, asked with the real curl.
//!
//! A request is `METHOD path body`, with `> header: value` below it; `@FILE` is a file's content. An answer is a status
//! and a body: `text`, `json`, `ndjson` (each of the lines, one at least), `lines` (these are among them; one that ends with a star goes on), `error` with
//! a code of ours, or none; with `< header: value` below it. JSON is as it is written, no field more and none less,
//! but that a key with a question mark need not be there, and one with `...` has others beside. `<any>` is any
//! value, `<text>` one that is not empty, `<count>` a number of at least 1; `<number>`, `<time>`, `<nanoseconds>`, `<seconds>` and `<id>` are what they
//! say. `ready` waits for a replica of the function, `until LINE` for an answer of it with that line.

use std::process::{Command, Stdio};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::pattern;
use crate::support::answer::Answer;
use crate::support::{Gateway, wait};

/// Does all of a table, and tells everything that is not as it should be.
#[track_caller]
pub(crate) fn check(gateway: &Gateway, function: &str, table: &str) {
    let mut wrong = Vec::new();
    for exchange in read(table) {
        match exchange {
            Exchange::Ready => wait::until("a replica is there", || {
                gateway.get(&format!("/system/function/{function}")).json()["availableReplicas"].is_number()
            }),
            Exchange::Until(line) => {
                wait::until(line, || gateway.invoke(function, "").text().lines().any(|said| said == line))
            }
            Exchange::Asks(asked) => {
                if let Err(why) = asked.check(gateway) {
                    wrong.push(format!("{}\n    {why}", asked.line));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} answers are other ones\n{}", wrong.len(), wrong.join("\n"));
}

/// A step of the table.
enum Exchange<'a> {
    /// Waits for a replica.
    Ready,
    /// Invokes the function until its answer has this line.
    Until(&'a str),
    /// Asks, and looks at the answer.
    Asks(Asked<'a>),
}

/// A request, and what its answer must be.
#[derive(Default)]
struct Asked<'a> {
    /// The request's line.
    line: &'a str,
    sends: Vec<(&'a str, &'a str)>,
    answer: &'a str,
    headers: Vec<(&'a str, &'a str)>,
}

/// Reads the table.
fn read(table: &str) -> Vec<Exchange<'_>> {
    let mut all = Vec::new();
    let header = |text| str::split_once(text, ": ").unwrap_or_else(|| panic!("{text:?} is no header"));
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(line) = line.strip_prefix("until ") {
            all.push(Exchange::Until(line));
            continue;
        }
        match (line.trim_start(), all.last_mut()) {
            ("ready", _) => all.push(Exchange::Ready),
            (text, Some(Exchange::Asks(asked))) if text != line => match text.split_at(2) {
                ("> ", sent) => asked.sends.push(header(sent)),
                ("< ", expected) => asked.headers.push(header(expected)),
                _ => asked.answer = text,
            },
            _ => all.push(Exchange::Asks(Asked { line, ..Asked::default() })),
        }
    }
    all
}

impl Asked<'_> {
    /// Asks, and says what is wrong with the answer.
    fn check(&self, gateway: &Gateway) -> Result<(), String> {
        let mut words = self.line.splitn(3, ' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let answer = curl(gateway, method, path, &self.sends, words.next().unwrap_or_default());
        let (status, body) = self.answer.split_once(' ').unwrap_or((self.answer, ""));
        if answer.status.as_str() != status {
            return Err(format!("{status} is expected: {answer:?}"));
        }
        for (name, expected) in &self.headers {
            if !pattern::is(expected, answer.header(name)) {
                return Err(format!("{name}: {expected} is expected: {:?}", answer.headers));
            }
        }
        let said = answer.text();
        let (kind, expected) = body.split_once(' ').unwrap_or((body, ""));
        let as_expected = match kind {
            "" => said.is_empty(),
            "text" => said == expected,
            "lines" => expected.split(", ").all(|line| said.lines().any(|said| is_line(line, said))),
            "json" => pattern::is_json(expected, &said),
            "ndjson" => !said.is_empty() && said.lines().all(|line| pattern::is_json(expected, line)),
            "error" => {
                answer.header("content-type") == "application/json"
                    && pattern::is_json(
                        &format!(r#"{{"error": {{"code": "{expected}", "message": "<any>"}}}}"#),
                        &said,
                    )
            }
            other => panic!("{other:?} is no kind of answer"),
        };
        if as_expected { Ok(()) } else { Err(format!("{body} is expected: {said}")) }
    }
}

fn is_line(expected: &str, line: &str) -> bool {
    expected.strip_suffix('*').map_or(expected == line, |start| line.starts_with(start))
}

/// Asks a gateway with the real curl.
#[track_caller]
pub(crate) fn curl(
    gateway: &Gateway,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    ask(&format!("{}{path}", gateway.url()), method, headers, body)
}

/// Asks with the real curl.
#[track_caller]
pub(super) fn ask(url: &str, method: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-i", "--http1.1", "--max-time", "60", "--noproxy", "*", "-X", method]);
    for (name, value) in headers {
        curl.arg("-H").arg(format!("{name}: {value}"));
    }
    if !body.is_empty() {
        curl.arg("--data-binary").arg(body);
    }
    let output = curl.arg(url).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{method} {url}: {}", String::from_utf8_lossy(&output.stderr));
    answer(&output.stdout)
}

fn answer(printed: &[u8]) -> Answer {
    let end = printed.windows(4).position(|four| four == b"\r\n\r\n").expect("curl prints the head");
    let head = std::str::from_utf8(&printed[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    Answer { status, headers, body: printed[end + 4..].to_vec() }
}
