//! The programs: what the examples' manifest says of them, what they are sent, and what they must answer.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use bytes::Bytes;

use super::results::{Runtime, Skipped};
use crate::load::WrongAnswer;
use crate::manifest::{self, Entry};

/// What is measured when nothing is named: these, and what the manifest has of a start so long.
const DEFAULT: [&str; 6] = ["echo", "wordcount", "markdown", "json-sum", "pbkdf2", "state"];
/// Interpreters: programs of the size of JavaScript or Python.
const INTERPRETERS: [&str; 4] = ["js-", "qjs", "python", "py-"];

/// A program, its module, and one request with its answer.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) wasm: Bytes,
    pub(super) image: String,
    pub(super) env: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) process: Option<String>,
    /// What each request sends.
    pub(super) body: Vec<u8>,
    /// What each answer must be; until it is known, the first one.
    expected: OnceCell<Vec<u8>>,
}

impl Sample {
    /// Checks an answer: it must be what was expected, byte for byte, in each runtime.
    ///
    /// # Errors
    /// [`WrongAnswer`].
    pub(super) fn check(&self, runtime: Runtime, answer: &[u8]) -> Result<()> {
        let expected = self.expected.get_or_init(|| answer.to_vec());
        if expected != answer {
            let at = expected.iter().zip(answer).position(|(expected, got)| expected != got);
            let at = at.unwrap_or_else(|| expected.len().min(answer.len()));
            bail!(WrongAnswer(format!(
                "{} in {runtime:?} answered {} bytes, expected {}, different from byte {at} on",
                self.name,
                answer.len(),
                expected.len()
            )));
        }
        Ok(())
    }

    /// What each answer is; `None` before the first, of what is not known before.
    pub(super) fn answer(&self) -> Option<&[u8]> {
        self.expected.get().map(Vec::as_slice)
    }

    /// The length of each answer; 0 before the first.
    pub(super) fn answer_bytes(&self) -> u64 {
        self.expected.get().map_or(0, Vec::len) as u64
    }

    /// The module with a mark that nobody has seen: its digest is new, what it does is the same.
    pub(super) fn unseen(&self) -> Bytes {
        marked(&self.wasm, fastrand::u128(..))
    }
}

/// A module or component with a custom section at its end, which engines skip.
pub(super) fn marked(wasm: &[u8], mark: u128) -> Bytes {
    const NAME: &[u8] = b"bramble-bench";
    let mark = mark.to_le_bytes();
    let length = 1 + NAME.len() + mark.len();
    let small = |length: usize| u8::try_from(length).expect("below 128, one byte of LEB128");
    let section = [&[0, small(length), small(NAME.len())], NAME, &mark].concat();
    [wasm, &section].concat().into()
}

/// Reads the programs that are named, or the default ones, from a directory of samples.
///
/// # Errors
/// When there is no manifest, it cannot be read, or none of what is named is in it.
pub(super) fn read(directory: &Path, named: &[String], skipped: &mut Vec<Skipped>) -> Result<Vec<Sample>> {
    let path = directory.join(manifest::FILE);
    let text = std::fs::read(&path)
        .with_context(|| format!("cannot read {}: examples/build.sh makes the samples", path.display()))?;
    let entries: Vec<Entry> =
        serde_json::from_slice(&text).with_context(|| format!("cannot read {}", path.display()))?;
    let mut missing = |name: &str, why: &str| {
        skipped.push(Skipped { what: format!("program {name}"), why: why.to_owned() });
    };
    let mut wanted: Vec<&str> = named.iter().map(String::as_str).collect();
    if named.is_empty() {
        wanted.extend(DEFAULT);
        let mut interpreters = entries.iter().map(|entry| &*entry.name).filter(|name| is_interpreter(name));
        match interpreters.next() {
            Some(name) => wanted.push(name),
            None => missing("of an interpreter's size", "the samples have none; examples/build.sh --all may"),
        }
    }
    let mut samples = Vec::new();
    for name in wanted {
        let Some(entry) = entries.iter().find(|entry| entry.name == name) else {
            missing(name, &format!("{} has none of this name", path.display()));
            continue;
        };
        samples.push(sample(directory, entry)?);
    }
    if samples.is_empty() {
        bail!("{} has none of the programs {}", path.display(), named.join(", "));
    }
    Ok(samples)
}

fn is_interpreter(name: &str) -> bool {
    INTERPRETERS.iter().any(|start| name.starts_with(start))
}

fn sample(directory: &Path, entry: &Entry) -> Result<Sample> {
    let file = entry.path(directory);
    let wasm = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let (about, body, expected) = task(entry);
    // The twin of `echo` has a name of the original's.
    let image = if entry.name == "echo" { "echoit" } else { &entry.name };
    Ok(Sample {
        image: format!("bramble/{image}:latest"),
        name: entry.name.clone(),
        about: about.to_owned(),
        wasm: wasm.into(),
        env: entry.env.clone(),
        annotations: entry.annotations.clone(),
        process: entry.process.clone(),
        body,
        expected: expected.map_or_else(OnceCell::new, OnceCell::from),
    })
}

/// What a program does, what it is sent, and what it must answer where that is known: of most the
/// manifest's own sample; more where that would be too little work to tell anything.
fn task(entry: &Entry) -> (&'static str, Vec<u8>, Option<Vec<u8>>) {
    let sample = || entry.sample_request.body.clone().into_bytes();
    let told = || entry.expect.body.clone().map(String::into_bytes);
    match entry.name.as_str() {
        "echo" => ("answers with the request's 100 bytes", vec![b'x'; 100], Some(vec![b'x'; 100])),
        "wordcount" => {
            let body = b"some words ".repeat(93);
            let answer = format!("0 {} {}\n", 2 * 93, body.len());
            ("counts the words of 1 KiB", body, Some(answer.into_bytes()))
        }
        "markdown" => {
            let text: &[u8] =
                b"# A *title*\n\nText with `code` and [links](http://a.b/).\n\n- one\n- two\n\n";
            ("30 KiB of Markdown to HTML", text.repeat(450), None)
        }
        "json-sum" => {
            let numbers: Vec<String> = (0..1_000).map(|at| format!("{{\"a\": {at}.5}}")).collect();
            let answer = "{\"count\":1000,\"sum\":500000.0}\n";
            let body = format!("[{}]", numbers.join(", "));
            ("reads 12 KiB of JSON and adds 1,000 numbers", body.into_bytes(), Some(answer.into()))
        }
        "pbkdf2" => ("a key from a password: all arithmetic", sample(), told()),
        "state" => ("uses 50 MB of memory", sample(), told()),
        name if is_interpreter(name) => ("an interpreter and its script", sample(), told()),
        _ => ("the manifest's sample request", sample(), told()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(manifest: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(manifest::FILE), manifest).unwrap();
        std::fs::write(dir.path().join("echo.wasm"), b"\0asm\x01\0\0\0").unwrap();
        dir
    }

    #[test]
    fn what_the_samples_lack_is_skipped_with_a_reason() {
        let dir = directory(r#"[{"name": "echo"}, {"name": "qjs-x", "file": "echo.wasm"}]"#);
        let mut skipped = Vec::new();
        let samples = read(dir.path(), &[], &mut skipped).unwrap();
        let names: Vec<_> = samples.iter().map(|sample| &*sample.name).collect();
        assert_eq!(names, ["echo", "qjs-x"]);
        assert_eq!(skipped.len(), DEFAULT.len() - 1, "{skipped:?}");
        assert!(read(dir.path(), &["nothing".to_owned()], &mut skipped).is_err());
    }

    #[test]
    fn an_answer_that_differs_is_wrong() {
        let dir = directory(r#"[{"name": "echo"}, {"name": "other", "file": "echo.wasm"}]"#);
        let named = ["echo", "other"].map(str::to_owned);
        let samples = read(dir.path(), &named, &mut Vec::new()).unwrap();
        assert!(samples[0].check(Runtime::Wasm, b"something else").unwrap_err().is::<WrongAnswer>());
        // Of the other one nothing is known: both runtimes must agree.
        samples[1].check(Runtime::Wasm, b"a").unwrap();
        assert!(samples[1].check(Runtime::Container, b"b").is_err());
    }

    #[test]
    fn a_mark_is_a_custom_section() {
        let dir = directory(r#"[{"name": "echo"}]"#);
        let sample = &read(dir.path(), &["echo".to_owned()], &mut Vec::new()).unwrap()[0];
        let marked = sample.unseen();
        assert_eq!(marked[8..11], [0, 30, 13]);
        assert_eq!(marked.len(), 8 + 2 + 30);
        assert_ne!(marked, sample.unseen());
    }
}
