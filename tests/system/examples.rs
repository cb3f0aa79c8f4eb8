//! Every example, compiled by `examples/build.sh`, answers through a gateway as its manifest says.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::Gateway;

const MANIFEST: &str = include_str!("../../examples/manifest.json");

#[expect(clippy::disallowed_methods, reason = "where the tests find what was built for them")]
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Where scripts put what they build and install.
pub(crate) fn cache() -> PathBuf {
    let cache = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    cache.expect("HOME is set").join("bramble")
}

/// Where `examples/build.sh` puts them.
pub(crate) fn directory() -> PathBuf {
    variable("BRAMBLE_EXAMPLES").unwrap_or_else(|| cache().join("examples"))
}

/// A compiled example.
pub(crate) fn wasm(file: &str) -> Vec<u8> {
    let path = directory().join(file);
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; type `examples/build.sh`, or set BRAMBLE_EXAMPLES", path.display())
    })
}

/// Sends one sample request; answers what is wrong with the response.
fn try_one(gateway: &Gateway, name: &str, case: &Value) -> Result<(), String> {
    let (sample, expect) = (&case["sample_request"], &case["expect"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let query = match text(&sample["query"]) {
        query if query.is_empty() => query,
        query => format!("?{query}"),
    };
    let path = format!("/function/{name}{}{query}", text(&sample["path"]));
    let mut request = gateway.request(&text(&sample["method"]), &path);
    for (key, value) in sample["headers"].as_object().into_iter().flatten() {
        request = request.header(key, text(value));
    }
    let answer = gateway.send(request, text(&sample["body"]).as_bytes());
    let body = answer.text();
    let same_body = expect["body"].as_str().is_none_or(|expected| expected == body);
    let parts = expect["body_contains"].as_array().into_iter().flatten();
    let has_parts = parts.map(text).all(|part| body.contains(&part));
    let headers = expect["headers"].as_object().into_iter().flatten();
    let same_headers =
        headers.map(|(key, value)| (key, text(value))).all(|(key, value)| answer.header(key) == value);
    let same_status = expect["status"] == answer.status.as_u16();
    if same_status && same_body && has_parts && same_headers {
        return Ok(());
    }
    Err(format!("{name}: to {sample} expected {expect}, got {} {:?} {body:?}", answer.status, answer.headers))
}

#[test]
fn every_example_answers_as_its_manifest_says() {
    let examples: Vec<Value> = serde_json::from_str(MANIFEST).unwrap();
    assert!(!examples.is_empty());
    let gateway = Gateway::start();
    let mut wrong = Vec::new();
    for example in &examples {
        let (name, file) = (example["name"].as_str().unwrap(), example["file"].as_str().unwrap());
        let wasm = wasm(file);
        let more = json!({
            "envVars": example["env"],
            "annotations": example["annotations"],
            "envProcess": example["process"].as_str().unwrap_or_default(),
        });
        gateway.deploy_with(name, &wasm, more);
        let cases = std::iter::once(example).chain(example["more"].as_array().into_iter().flatten());
        wrong.extend(cases.filter_map(|case| try_one(&gateway, name, case).err()));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
