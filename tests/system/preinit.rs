//! Pre-initialising: a module's start is run when it is uploaded, and every instance begins where it ended.

use serde_json::{Value, json};

use crate::examples;
use crate::support::gateway::WASM;
use crate::support::{Gateway, guest};

/// Answers what the letter in memory has become: a `.` unless one of its initialisations made something else of it.
fn remembers() -> Vec<u8> {
    let definitions = format!(
        r#"{}
        (func (export "wizer-initialize") (i32.store8 (i32.const 4096) (i32.const 65)))
        (func (export "other") (i32.store8 (i32.const 4096) (i32.const 66)))
        (func (export "takes") (param i32))
        (func (export "fails") (call $write (i32.const 2) (i32.const 4096) (i32.const 1)) unreachable)"#,
        guest::data(".")
    );
    guest::with(&definitions, "(call $write (i32.const 1) (i32.const 4096) (i32.const 1))")
}

fn upload(gateway: &Gateway, query: &str, wasm: &[u8], status: u16) -> Value {
    gateway.call("PUT", &format!("/system/modules{query}"), WASM, wasm).expect(status).json()
}

#[test]
fn every_instance_begins_where_the_initialisation_ended() {
    let gateway = Gateway::start();
    let source = upload(&gateway, "?preinit=false", &remembers(), 201)["digest"].clone();
    let made = upload(&gateway, "?preinit=true", &remembers(), 201);
    assert_eq!(made["preinitialised_from"], source);
    assert_ne!(made["digest"], source);
    assert_eq!(
        upload(&gateway, "?preinit=true", &remembers(), 200),
        made,
        "another result of the same upload"
    );
    let other = upload(&gateway, "?preinit=other", &remembers(), 201);
    for (name, module, says) in
        [("plain", &source, "."), ("made", &made["digest"], "A"), ("other", &other["digest"], "B")]
    {
        gateway.create(name, module.as_str().unwrap(), json!({})).expect(202);
        gateway.invoke(name, "").says(200, says);
        gateway.invoke(name, "").says(200, says);
    }
    let deployed = gateway.call("PUT", "/system/functions/at-once?preinit=1", WASM, &remembers()).expect(202);
    assert_eq!(deployed.json(), made);
    gateway.invoke("at-once", "").says(200, "A");
}

#[test]
fn what_cannot_be_initialised_is_refused_and_leaves_nothing_behind() {
    let gateway = Gateway::start();
    let component = guest::component("", "i32.const 0");
    for (query, wasm, says) in [
        ("true", guest::cat(), "missing export `wizer-initialize`"),
        ("gone", remembers(), "missing export `gone`"),
        ("memory", remembers(), "`memory` is no function"),
        ("takes", remembers(), "`takes` is no function without arguments"),
        ("fails", remembers(), "it printed: ."),
        ("true", component, "wasip2-command"),
        ("true", b"nonsense".to_vec(), "not a WebAssembly file"),
    ] {
        let query = format!("?preinit={query}");
        let path = format!("/system/modules{query}");
        gateway.call("PUT", &path, WASM, &wasm).refused(400, "invalid_module", says);
        let path = format!("/system/functions/bad{query}");
        gateway.call("PUT", &path, WASM, &wasm).refused(400, "invalid_module", says);
    }
    assert_eq!(gateway.get("/system/modules").json(), json!([]));
    assert!(gateway.names().is_empty());
}

#[test]
fn a_script_with_its_engine_answers_the_same_either_way() {
    let gateway = Gateway::start();
    let path = gateway.data_dir().with_file_name("script.wasm");
    std::fs::write(&path, examples::wasm("qjs.wasm")).unwrap();
    let path = path.to_str().unwrap();
    for words in [&["deploy", path][..], &["deploy", path, "--name", "made", "--preinit"]] {
        let output = gateway.cli(words).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let asked = "größer als groß, größer\n";
    let plain = gateway.invoke("script", asked).expect(200).text();
    assert!(plain.contains("\"größer\":2"), "{plain}");
    assert_eq!(gateway.invoke("made", asked).expect(200).text(), plain);
    assert_eq!(gateway.get("/system/modules").json().as_array().unwrap().len(), 2);
}
