//! Requests made from the document by a tool that knows nothing else of the API.
//!
//! Not tried: following a log, which does not end; and the scaler's lease, for as long as somebody else has
//! it every explanation waits five seconds for him. What a function in a container needs is not there, so
//! deploying one is answered 503.

use std::process::Command;

use serde_json::json;

use crate::support::{Gateway, Start, guest};

/// Where the tool's settings lie, and what it is told beside the document.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi");
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");

fn stage() -> Gateway {
    let gateway = Start::new().flag("--scaler", "off").start();
    let image = gateway.upload(&guest::cat());
    for name in ["echo", "spare"] {
        gateway.create(name, &image, json!({})).expect(202);
    }
    gateway
}

#[test]
#[expect(clippy::print_stdout, reason = "how many requests were made is worth knowing")]
fn requests_made_of_the_document_are_answered_as_it_says() {
    let gateway = stage();
    // Whatever it writes is gone with the folder that it runs in.
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("schemathesis");
    command.current_dir(&folder).env("PYTHONPATH", FOLDER).env("PYTHONDONTWRITEBYTECODE", "1");
    command
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .arg("--config-file")
        .arg(format!("{FOLDER}/schemathesis.toml"));
    let run = command.args(["run", DOCUMENT, "--url", &gateway.url()]).output();
    let run = run.unwrap_or_else(|error| panic!("schemathesis: {error}; `make test` installs it"));
    let said = String::from_utf8_lossy(&run.stdout);
    println!("{said}");
    assert!(run.status.success(), "{said}\n{}", String::from_utf8_lossy(&run.stderr));
    gateway.put("echo", &guest::cat()).expect(202);
    gateway.invoke("echo", "unharmed").says(200, "unharmed");
}
