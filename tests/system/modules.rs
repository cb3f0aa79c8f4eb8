//! Uploading: what is refused and why, and what the same bytes twice cost.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::json;

use crate::support::gateway::{JSON, WASM};
use crate::support::{Gateway, Start, guest};

/// Uploads what must be refused, and looks that it left nothing behind.
#[track_caller]
fn check(bytes: &[u8], says: &str) {
    let gateway = Gateway::start();
    gateway.call("PUT", "/system/modules", WASM, bytes).refused(400, "invalid_module", says);
    gateway.put("bad", bytes).refused(400, "invalid_module", says);
    assert_eq!(gateway.get("/system/modules").json(), json!([]));
    assert!(gateway.names().is_empty());
    assert!(files(&gateway.data_dir().join("modules")).is_empty(), "something was stored");
}

/// Every file below a directory.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn refuses_what_is_no_wasm() {
    check(b"#!/bin/sh\necho hello\n", "not a WebAssembly file");
}

#[test]
fn refuses_an_empty_upload() {
    check(b"", "not a WebAssembly file");
}

#[test]
fn refuses_truncated_wasm() {
    let whole = guest::cat();
    check(&whole[..whole.len() - 7], "cut short");
}

#[test]
fn refuses_wasm_that_is_only_a_magic_number() {
    check(b"\0asm", "cut short");
}

#[test]
fn refuses_a_library_and_names_the_missing_export() {
    let library = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "add")))"#).unwrap();
    check(&library, "`_start`");
}

#[test]
fn refuses_a_component_that_exports_nothing_known() {
    check(&wat::parse_str("(component)").unwrap(), "wasi:cli/run");
}

#[test]
fn refuses_an_unknown_import_and_names_it() {
    let foreign = wat::parse_str(
        r#"(module (import "env" "launch_missiles" (func))
            (memory (export "memory") 1) (func (export "_start")))"#,
    );
    check(&foreign.unwrap(), "env.launch_missiles");
}

#[test]
fn refuses_a_wasi_function_that_there_is_not_and_names_it() {
    let foreign = wat::parse_str(
        r#"(module (import "wasi_snapshot_preview1" "fd_teleport" (func))
            (memory (export "memory") 1) (func (export "_start")))"#,
    );
    check(&foreign.unwrap(), "fd_teleport");
}

#[test]
fn refuses_an_unknown_import_of_a_component_and_names_it() {
    let foreign = wat::parse_str(
        r#"(component
            (import "acme:rockets/launcher@1.0.0" (instance (export "launch" (func))))
            (core module $m (func (export "run") (result i32) i32.const 0))
            (core instance $i (instantiate $m))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $exported (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $exported)))"#,
    );
    check(&foreign.unwrap(), "acme:rockets/launcher");
}

#[test]
fn refuses_a_module_over_the_size_limit() {
    let gateway = Start::new().flag("--max-module-size", "64Ki").start();
    let large = guest::with(&guest::data(&"x".repeat(40 << 10)), "");
    gateway.deploy("fits", &large);
    let larger = guest::with(&guest::data(&"x".repeat(60_000)), "(drop (i64.const 1))");
    let larger = [larger, vec![0; 8 << 10]].concat();
    gateway.put("large", &larger).refused(413, "module_too_large", "65536");
    assert_eq!(gateway.names(), ["fits"]);
}

#[test]
fn refuses_a_module_over_the_size_limit_in_chunks() {
    let gateway = Start::new().flag("--max-module-size", "64Ki").start();
    let mut wire = gateway.wire();
    wire.head("PUT /system/modules", &["content-type: application/wasm", "transfer-encoding: chunked"]);
    wire.chunk(b"\0asm\x01\0\0\0").chunk(&vec![0; 64 << 10]);
    wire.answer().refused(413, "module_too_large", "65536");
}

#[test]
fn refuses_another_type_of_content() {
    let gateway = Gateway::start();
    gateway.call("PUT", "/system/functions/cat", JSON, &guest::cat()).refused(
        415,
        "unsupported_type",
        "application/wasm",
    );
}

#[test]
fn the_same_module_twice_is_compiled_once() {
    let gateway = Gateway::start();
    let first = gateway.call("PUT", "/system/modules", WASM, &guest::cat()).expect(201).json();
    let compiled = || {
        let code = files(&gateway.data_dir().join("cache"));
        code.iter().map(|path| path.metadata().unwrap().ino()).collect::<Vec<_>>()
    };
    let before = compiled();
    assert_eq!(before.len(), 1);
    let second = gateway.call("PUT", "/system/modules", WASM, &guest::cat()).expect(200).json();
    assert_eq!(first, second);
    assert_eq!(compiled(), before, "the compiled code was written again");
}

#[test]
fn the_same_module_at_the_same_time_is_stored_once() {
    let gateway = Gateway::start();
    let wasm = guest::cat();
    let digests: Vec<String> = std::thread::scope(|scope| {
        let uploads: Vec<_> = (0..8).map(|_| scope.spawn(|| gateway.upload(&wasm))).collect();
        uploads.into_iter().map(|upload| upload.join().unwrap()).collect()
    });
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    assert_eq!(gateway.get("/system/modules").json().as_array().unwrap().len(), 1);
}

#[test]
fn a_module_in_use_cannot_be_removed() {
    let gateway = Gateway::start();
    let digest = gateway.upload(&guest::says("here\n"));
    gateway.create("user", &digest, json!({})).expect(202);
    let path = format!("/system/modules/{digest}");
    gateway.call("DELETE", &path, JSON, b"").refused(409, "module_in_use", "user");
    gateway.invoke("user", "").says(200, "here\n");
    gateway.remove("user");
    gateway.call("DELETE", &path, JSON, b"").expect(204);
    gateway.call("DELETE", &path, JSON, b"").refused(404, "unknown_module", &digest);
}
