//! The sample functions that `up` deploys: a directory of `.wasm` files, and what its
//! `manifest.json` says about them.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bramble_bench::manifest::{self, Entry};
use bramble_provider::{DEFAULT_NAMESPACE, Digest, FunctionName};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::api::{Api, Deployment, Existing, FunctionStatus, read as read_answer};
use crate::commands::name_of;
use crate::error::CliError;
use crate::output::Output;

/// Marks what `up` deployed, so that it never replaces what somebody else did.
const ANNOTATION: &str = "bramble.sample";

/// A function that comes with Bramble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sample {
    name: FunctionName,
    file: PathBuf,
    annotations: BTreeMap<String, String>,
    env: BTreeMap<String, String>,
    process: Option<String>,
}

/// What is to be done with a sample.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// It is not there, or an older one is.
    Deploy,
    /// It is there.
    Keep,
    /// Somebody deployed something else under its name.
    LeaveAlone,
}

/// Reads a directory: a function for each entry of the manifest, and one for each other `.wasm` file.
///
/// # Errors
/// [`CliError`] when it cannot be read, or the manifest names what is not there.
pub(crate) fn read(directory: &Path) -> Result<Vec<Sample>> {
    let (mut samples, other_files) = manifest(directory)?;
    let files = std::fs::read_dir(directory).map_err(|error| {
        CliError::usage(format!("cannot read the samples in {}: {error}", directory.display()))
    })?;
    for file in files {
        let path = file.with_context(|| format!("reading {}", directory.display()))?.path();
        let is_wasm = path.extension().is_some_and(|extension| extension == "wasm");
        if is_wasm && !other_files.contains(&path) && !samples.iter().any(|sample| sample.file == path) {
            let (annotations, env) = (BTreeMap::new(), BTreeMap::new());
            samples.push(Sample { name: name_of(&path)?, file: path, annotations, env, process: None });
        }
    }
    samples.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(samples)
}

/// The samples of the manifest, and the files of what is none.
fn manifest(directory: &Path) -> Result<(Vec<Sample>, Vec<PathBuf>)> {
    let path = directory.join(manifest::FILE);
    let refused = |reason: String| CliError::usage(format!("cannot use {}: {reason}", path.display()));
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Default::default()),
        Err(error) => return Err(refused(error.to_string()).into()),
    };
    let entries: Vec<Entry> = serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))?;
    let sample = |entry: Entry| {
        let name = FunctionName::parse(&entry.name).map_err(|error| refused(error.to_string()))?;
        let file = entry.path(directory);
        if !file.is_file() {
            return Err(refused(format!("{name} is in {}, which is no file", file.display())).into());
        }
        let Entry { annotations, env, process, .. } = entry;
        Ok(Sample { name, file, annotations, env, process })
    };
    let (samples, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.sample);
    let samples = samples.into_iter().map(sample).collect::<Result<_>>()?;
    Ok((samples, others.iter().map(|entry| entry.path(directory)).collect()))
}

/// Deploys the samples that are not deployed yet, and says what it does.
///
/// # Errors
/// The first sample that cannot be deployed; the ones before it are.
pub(crate) async fn deploy(api: &Api, samples: Vec<Sample>, output: Output) -> Result<()> {
    let deployed: Vec<FunctionStatus> = read_answer(&api.functions(DEFAULT_NAMESPACE).await?)?;
    let deployed: HashMap<_, _> =
        deployed.into_iter().map(|status| (crate::commands::full_name(&status), status)).collect();
    let total = samples.len();
    let spinner = output.spinner("deploying the samples");
    let mut kept = 0;
    for (done, sample) in samples.iter().enumerate() {
        let name = &sample.name;
        let wasm: Bytes =
            std::fs::read(&sample.file).with_context(|| format!("reading {}", sample.file.display()))?.into();
        let wanted = sample.deployment(&Digest::from_sha256(Sha256::digest(&wasm).into()));
        match plan(&wanted, deployed.get(name.as_str())) {
            Plan::Keep => kept += 1,
            Plan::LeaveAlone => output.note(format!("{name} is not the sample of this name; it is kept")),
            Plan::Deploy => {
                spinner.text().say(format!("compiling {name} ({} of {total})", done + 1));
                let stored = api.put_module(wasm, None, || ()).await;
                stored.with_context(|| format!("storing the sample {name}"))?;
                api.deploy(&wanted, Existing::Update)
                    .await
                    .with_context(|| format!("deploying the sample {name}"))?;
                output.note(format!("deployed {name} ({} of {total})", done + 1));
            }
        }
    }
    if kept == total {
        output.note(format!("all {total} samples are deployed already"));
    }
    Ok(())
}

impl Sample {
    fn deployment(&self, digest: &Digest) -> Deployment {
        let mut annotations = self.annotations.clone();
        annotations.insert(ANNOTATION.to_owned(), "true".to_owned());
        Deployment {
            annotations,
            env_vars: self.env.clone(),
            env_process: self.process.clone(),
            ..Deployment::new(&self.name, digest.to_string())
        }
    }
}

fn plan(wanted: &Deployment, deployed: Option<&FunctionStatus>) -> Plan {
    let Some(deployed) = deployed else { return Plan::Deploy };
    // The gateway may add annotations of its own.
    let has = |(key, value): (&String, &String)| deployed.annotations.get(key) == Some(value);
    let same = deployed.image == wanted.image
        && deployed.env_vars == wanted.env_vars
        && deployed.env_process == wanted.env_process.as_deref().unwrap_or_default()
        && wanted.annotations.iter().all(has);
    match (same, deployed.annotations.contains_key(ANNOTATION)) {
        (true, _) => Plan::Keep,
        (false, true) => Plan::Deploy,
        (false, false) => Plan::LeaveAlone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(directory.path().join(name), content).unwrap();
        }
        directory
    }

    fn names(files: &[(&str, &str)]) -> Result<Vec<String>> {
        let samples = read(directory(files).path())?;
        Ok(samples.into_iter().map(|sample| sample.name.to_string()).collect())
    }

    #[test]
    fn takes_the_manifest_and_every_other_file() {
        let text = r#"[{"name": "encode", "file": "base64.wasm"},
                           {"name": "decode", "file": "base64.wasm", "process": "-d", "env": {"A": "b"}},
                           {"name": "large", "sample": false},
                           {"name": "echo", "annotations": {"bramble.output": "cgi"}}]"#;
        let files = [
            (manifest::FILE, text),
            ("base64.wasm", ""),
            ("echo.wasm", ""),
            ("json_sum.wasm", ""),
            ("large.wasm", ""),
            ("README.md", ""),
        ];
        assert_eq!(names(&files).unwrap(), ["decode", "echo", "encode", "json-sum"]);
    }

    #[test]
    fn refuses_a_manifest_that_does_not_fit() {
        for text in [r#"[{"name": "gone"}]"#, r#"[{"name": "../x"}]"#, "{}", "["] {
            let error = names(&[(manifest::FILE, text)]).unwrap_err();
            assert_eq!(error.downcast_ref::<CliError>().unwrap().exit(), Exit::Usage, "{text}");
        }
        assert!(read(Path::new("/nowhere")).is_err());
    }

    #[test]
    fn deploys_what_is_new_or_changed_and_leaves_what_is_not_ours() {
        let name = FunctionName::parse("echo").unwrap();
        let wanted = |image: &str| Deployment {
            annotations: BTreeMap::from([(ANNOTATION.to_owned(), "true".to_owned())]),
            ..Deployment::new(&name, image)
        };
        let deployed = |annotations: &[(&str, &str)]| FunctionStatus {
            image: "sha256:1".to_owned(),
            annotations: annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..FunctionStatus::default()
        };
        assert_eq!(plan(&wanted("sha256:1"), None), Plan::Deploy);
        let ours = deployed(&[(ANNOTATION, "true"), ("more", "of the gateway's")]);
        assert_eq!(plan(&wanted("sha256:1"), Some(&ours)), Plan::Keep);
        assert_eq!(plan(&wanted("sha256:2"), Some(&ours)), Plan::Deploy);
        assert_eq!(plan(&wanted("sha256:2"), Some(&deployed(&[]))), Plan::LeaveAlone);
    }
}
