//! The API and its document say the same. Every other test holds each answer that it gets against the
//! document too (`support/contract.rs`).

mod fuzz;
mod table;

use std::collections::BTreeSet;

use http::Method;
use serde_json::Value;

use crate::auth::credentials;
use crate::support::answer::Answer;
use crate::support::contract::DOCUMENT;
use crate::support::{Gateway, Start};

/// One operation of the document.
struct Operation {
    path: &'static str,
    method: &'static str,
    described: &'static Value,
}

/// Every operation on the main port.
fn operations() -> impl Iterator<Item = Operation> {
    let paths = DOCUMENT["paths"].as_object().unwrap().iter().filter(|(path, _)| *path != "/metrics");
    paths.flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(move |(method, described)| Operation { path, method, described })
    })
}

impl Operation {
    fn id(&self) -> &'static str {
        self.described["operationId"].as_str().unwrap()
    }

    /// The path, with a value for each of its parameters.
    fn filled(&self, value: &str) -> String {
        self.filled_with("", "", value)
    }

    /// The path, with this value for one of its parameters, and that for the others.
    fn filled_with(&self, field: &str, value: &str, others: &str) -> String {
        let fill = |part: &'static str| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(name) if name == field => value.to_owned(),
            Some(_) => others.to_owned(),
            None => part.to_owned(),
        };
        self.path.split('/').map(fill).collect::<Vec<_>>().join("/")
    }

    fn send(&self, gateway: &Gateway) -> Answer {
        gateway.send(gateway.request(&self.method.to_uppercase(), &self.filled("nobody")), b"")
    }
}

#[test]
fn the_document_that_is_served_is_the_published_one() {
    let served = Gateway::start().get("/openapi.json").expect(200).json();
    assert_eq!(served, *DOCUMENT);
}

#[test]
fn every_path_answers_the_methods_that_are_documented_and_no_others() {
    let gateway = Gateway::start();
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        if path.starts_with("/function/") || path == "/metrics" {
            continue;
        }
        let operation = Operation { path, method: "trace", described: &Value::Null };
        let answer = operation.send(&gateway).expect(405);
        let allowed: BTreeSet<&str> = answer.header("allow").split(',').filter(|m| *m != "HEAD").collect();
        let documented: Vec<_> =
            item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        assert_eq!(allowed, documented.iter().map(String::as_str).collect(), "{path}");
        answer.refused(405, "unknown_method", Method::TRACE.as_str());
    }
}

#[test]
fn what_is_documented_as_open_is_open_and_nothing_else() {
    let (_directory, path) = credentials();
    let gateway = Start::new().flag("--basic-auth", "true").flag("--secret-mount-path", &path).start();
    for operation in operations() {
        let open = operation.described["security"] == serde_json::json!([{}]);
        let status = operation.send(&gateway).status;
        let Operation { path, method, .. } = operation;
        assert_eq!(status != 401, open, "{method} {path}: {status}");
    }
}

/// What a request to an operation may have in its body, if that is JSON.
fn body_schema(operation: &Operation) -> Option<&'static Value> {
    let schema = &operation.described["requestBody"]["content"]["application/json"]["schema"];
    (!schema.is_null()).then_some(schema)
}

/// The fields of a document, each as the way to it: `["limits", "memory"]`, `["alerts", "0", "status"]`.
fn fields(schema: &'static Value) -> Vec<Vec<String>> {
    if let Some(name) = schema["$ref"].as_str() {
        return fields(DOCUMENT.pointer(name.trim_start_matches('#')).unwrap());
    }
    let mut all = Vec::new();
    let below = |prefix: &str, inner: &'static Value| {
        fields(inner).into_iter().map(move |way| [vec![prefix.to_owned()], way].concat()).collect::<Vec<_>>()
    };
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        all.push(vec![name.clone()]);
        all.extend(below(name, inner));
    }
    if schema["items"].is_object() {
        all.extend(below("0", &schema["items"]));
    }
    schema["oneOf"].as_array().into_iter().flatten().for_each(|one| all.extend(fields(one)));
    all
}
