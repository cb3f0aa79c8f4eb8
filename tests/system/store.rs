//! The function store of the gateway, as `faas-cli store` and plain HTTP use it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::auth::{RIGHT, credentials};
use crate::support::{Gateway, Start, guest};
use crate::{examples, support::answer::Answer};

/// The entry of a list.
#[track_caller]
fn entry<'a>(list: &'a Value, name: &str) -> &'a Value {
    let functions = list["functions"].as_array().unwrap();
    functions.iter().find(|entry| entry["name"] == name).unwrap_or_else(|| panic!("{name} is not in {list}"))
}

/// Deploys an entry as `faas-cli store deploy -p wasm32-wasi` does.
#[track_caller]
fn deploy(gateway: &Gateway, entry: &Value) -> Answer {
    let document = json!({
        "service": entry["name"],
        "image": entry["images"]["wasm32-wasi"],
        "envProcess": entry["fprocess"],
        "envVars": entry["environment"],
        "labels": entry["labels"],
        "annotations": entry["annotations"],
        "readOnlyRootFilesystem": entry["readOnlyRootFilesystem"],
    });
    gateway.json("PUT", "/system/functions", &document).refused(404, "unknown_function", "");
    gateway.json("POST", "/system/functions", &document)
}

#[test]
fn a_function_is_listed_for_everybody_and_deployed_by_its_image() {
    let (_directory, path) = credentials();
    let directory = examples::directory();
    let gateway = Start::new()
        .flag("--basic-auth", "true")
        .flag("--secret-mount-path", &path)
        .flag("--store-dir", directory.to_str().unwrap())
        .start();
    let answer = gateway.get("/store/functions.json").expect(200);
    assert_eq!(answer.header("content-type"), "application/json");
    let list = answer.json();
    assert_eq!(list["version"], "0.2.1");
    let figlet = entry(&list, "figlet");
    for field in ["title", "description"] {
        assert!(!figlet[field].as_str().unwrap().is_empty(), "{figlet}");
    }
    assert!(figlet["images"]["wasm32-wasi"].as_str().unwrap().starts_with("sha256:"), "{figlet}");
    assert!(figlet["images"]["x86_64"].as_str().unwrap().contains("figlet:"), "{figlet}");

    let gateway = gateway.showing(RIGHT);
    assert_eq!(gateway.get("/system/modules").json(), json!([]), "nothing is uploaded");
    deploy(&gateway, figlet).expect(202);
    let answer = gateway.invoke("figlet", "Hi").expect(200);
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert!(answer.text().starts_with("#   # ###\n"), "{}", answer.text());
    deploy(&gateway, entry(&list, "base64-decode")).expect(202);
    gateway.invoke("base64-decode", "YnJhbWJsZQ==\n").says(200, "bramble");
    let gateway = gateway.kill().start().showing(RIGHT);
    gateway.invoke("figlet", "Hi").expect(200);
    let unknown = json!({"service": "other", "image": format!("sha256:{}", "7".repeat(64))});
    gateway.json("POST", "/system/functions", &unknown).refused(400, "invalid_spec", "image");
}

#[test]
fn images_of_ours_are_those_that_are_built_here() {
    let list = Gateway::start().get("/store/functions.json").expect(200).json();
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/images");
    let mut twins = Vec::new();
    for entry in list["functions"].as_array().unwrap() {
        for image in entry["images"].as_object().unwrap().values() {
            let image = image.as_str().unwrap();
            let Some(ours) = image.strip_prefix("bramble/") else { continue };
            let name = ours.strip_suffix(":latest").unwrap();
            assert!(images.join(name).join("Dockerfile").exists(), "`make images` makes no {image}");
            twins.push(entry["name"].as_str().unwrap());
        }
    }
    twins.dedup();
    assert!(twins.contains(&"wordcount") && twins.len() > 5, "{twins:?}");
}

#[test]
fn the_list_follows_the_folder() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("http-hello.wasm");
    let gateway = Start::new().flag("--store-dir", directory.path().to_str().unwrap()).start();
    let list = || gateway.get("/store/functions.json").expect(200).json();
    // What has a container image is there without the file too.
    let first = list();
    assert!(entry(&first, "figlet")["images"].get("wasm32-wasi").is_none(), "{first}");
    assert!(
        first["functions"].as_array().unwrap().iter().all(|entry| entry["name"] != "http-hello"),
        "{first}"
    );
    fs::write(&file, guest::says("old\n")).unwrap();
    let old = list();
    fs::write(&file, guest::says("newer\n")).unwrap();
    let new = list();
    deploy(&gateway, entry(&old, "http-hello")).refused(400, "invalid_spec", "image");
    deploy(&gateway, entry(&new, "http-hello")).expect(202);
    gateway.invoke("http-hello", "").says(200, "newer\n");
    fs::write(&file, "no module").unwrap();
    let broken = list();
    gateway.remove("http-hello");
    deploy(&gateway, entry(&broken, "http-hello")).refused(400, "invalid_module", "");

    let refused = Start::new().flag("--store-dir", file.to_str().unwrap()).try_start().unwrap_err();
    assert!(refused.stderr.contains("store_dir"), "{refused:?}");
}

#[test]
fn the_command_line_deploys_from_a_gateways_store() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("echo.wasm"), guest::cat()).unwrap();
    let gateway = Start::new().flag("--store-dir", directory.path().to_str().unwrap()).start();
    let url = format!("{}/store/functions.json", gateway.url());
    let output = gateway.cli(&["store", "deploy", "echo", "--url", &url]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    gateway.invoke("echo", "hi").says(200, "hi");
}
