//! Changing what runs, under load: nobody notices but by the new answer.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use serde_json::json;

use crate::support::{Gateway, guest, wait};

#[test]
fn redeploying_under_load_fails_no_request() {
    let gateway = Gateway::start();
    let versions: Vec<Vec<u8>> = (0..4).map(|at| guest::says(&format!("version {at}\n"))).collect();
    gateway.deploy("swaps", &versions[0]);
    let done = AtomicBool::new(false);
    let invoked = std::thread::scope(|scope| {
        let client = || {
            let mut count = 0;
            while !done.load(SeqCst) {
                let answer = gateway.invoke("swaps", "body").expect(200).text();
                assert!(answer.starts_with("version "), "{answer:?}");
                count += 1;
            }
            count
        };
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(client)).collect();
        for round in 1..=40 {
            gateway.deploy("swaps", &versions[round % versions.len()]);
            // Whoever comes after the answer gets the new one.
            gateway.invoke("swaps", "").says(200, &format!("version {}\n", round % versions.len()));
        }
        done.store(true, SeqCst);
        clients.into_iter().map(|client| client.join().unwrap()).sum::<u32>()
    });
    assert!(invoked > 40, "only {invoked} invocations: this tried nothing");
    assert_eq!(gateway.counted("swaps", 200), f64::from(invoked) + 40.0);
}

#[test]
fn changing_settings_under_load_fails_no_request() {
    let gateway = Gateway::start();
    let digest = gateway.upload(&guest::tells_environment());
    gateway.create("env", &digest, json!({"envVars": {"ROUND": "0"}})).expect(202);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(SeqCst) {
                    assert!(gateway.invoke("env", "").expect(200).text().contains("ROUND="));
                }
            });
        }
        for round in 1..=40 {
            let document =
                json!({"service": "env", "image": digest, "envVars": {"ROUND": round.to_string()}});
            gateway.json("PUT", "/system/functions", &document).expect(202);
            let answer = gateway.invoke("env", "").expect(200).text();
            assert!(answer.contains(&format!("ROUND={round}\n")), "{answer}");
        }
        done.store(true, SeqCst);
    });
}

#[test]
fn an_invocation_that_runs_finishes_on_its_own_revision() {
    let gateway = Gateway::start();
    gateway.deploy("swaps", &guest::cat());
    let mut wire = gateway.wire();
    wire.begin("swaps").chunk(b"old");
    assert_eq!(wire.response().status, 200);
    gateway.deploy("swaps", &guest::says("new\n"));
    gateway.invoke("swaps", "").says(200, "new\n");
    wire.chunk(b" code").end();
    let mut body = Vec::new();
    while let Some(piece) = wire.piece().unwrap() {
        body.extend(piece);
    }
    assert_eq!(body, b"old code");
}

#[test]
fn deleting_lets_running_invocations_finish() {
    let gateway = Gateway::start();
    gateway.deploy("goes", &guest::cat());
    let mut wire = gateway.wire();
    wire.begin("goes").chunk(b"still");
    assert_eq!(wire.response().status, 200);
    gateway.remove("goes");
    gateway.invoke("goes", "").refused(404, "unknown_function", "goes");
    assert!(gateway.names().is_empty());
    wire.chunk(b" here").end();
    let mut body = Vec::new();
    while let Some(piece) = wire.piece().unwrap() {
        body.extend(piece);
    }
    assert_eq!(body, b"still here");
}

#[test]
fn a_deleted_function_leaves_no_series_and_can_come_back() {
    let gateway = Gateway::start();
    gateway.deploy("goes", &guest::cat());
    gateway.invoke("goes", "").expect(200);
    assert_eq!(gateway.counted("goes", 200), 1.0);
    gateway.remove("goes");
    assert_eq!(gateway.counted("goes", 200), 0.0);
    gateway.deploy("goes", &guest::says("back\n"));
    gateway.invoke("goes", "").says(200, "back\n");
    assert_eq!(gateway.counted("goes", 200), 1.0);
}

#[test]
fn an_upload_keeps_the_rest_of_a_function() {
    let gateway = Gateway::start();
    gateway.deploy_with("env", &guest::says("old\n"), json!({"envVars": {"KEPT": "yes"}}));
    gateway.scale("env", 3);
    gateway.deploy("env", &guest::tells_environment());
    assert!(gateway.invoke("env", "").expect(200).text().contains("KEPT=yes\n"));
    assert_eq!(gateway.get("/system/function/env").json()["replicas"], 3);
}

#[test]
fn a_client_that_hangs_up_on_a_deployment_leaves_all_or_nothing() {
    let gateway = Gateway::start();
    gateway.deploy("old", &guest::says("old\n"));
    let wasm = guest::says("new\n");
    for cut in [10, wasm.len() / 2, wasm.len() - 1] {
        let mut wire = gateway.wire();
        let length = format!("content-length: {}", wasm.len());
        wire.head("PUT /system/functions/old", &["content-type: application/wasm", &length]);
        wire.write(&wasm[..cut]).unwrap();
    }
    gateway.invoke("old", "").says(200, "old\n");
    // All of it came before the client went: the deployment goes on without it.
    let mut wire = gateway.wire();
    let length = format!("content-length: {}", wasm.len());
    wire.head("PUT /system/functions/old", &["content-type: application/wasm", &length]);
    wire.write(&wasm).unwrap();
    wire.response();
    drop(wire);
    wait::until("the new code answers", || gateway.invoke("old", "").text() == "new\n");
}

#[test]
fn deployments_of_one_name_at_the_same_time_leave_one_of_them_whole() {
    let gateway = Gateway::start();
    let versions: Vec<Vec<u8>> = (0..8).map(|at| guest::says(&format!("version {at}\n"))).collect();
    std::thread::scope(|scope| {
        for wasm in &versions {
            scope.spawn(|| (0..5).for_each(|_| gateway.deploy("one", wasm)));
        }
    });
    let image = gateway.get("/system/function/one").json()["image"].as_str().unwrap().to_owned();
    let stored = versions.iter().position(|wasm| gateway.upload(wasm) == image).unwrap();
    let expected = format!("version {stored}\n");
    gateway.invoke("one", "").says(200, &expected);
    gateway.kill().start().invoke("one", "").says(200, &expected);
}

#[test]
fn of_clients_that_create_one_name_at_the_same_time_one_does() {
    let gateway = Gateway::start();
    let images: Vec<_> = (0..8).map(|at| gateway.upload(&guest::says(&format!("version {at}\n")))).collect();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let creating: Vec<_> =
            images.iter().map(|image| scope.spawn(|| gateway.create("one", image, json!({})))).collect();
        creating.into_iter().map(|creating| creating.join().unwrap()).collect()
    });
    let (created, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().enumerate().partition(|(_, answer)| answer.status == 202);
    assert_eq!(created.len(), 1, "{created:?}");
    refused.into_iter().for_each(|(_, answer)| answer.refused(409, "already_deployed", "one"));
    gateway.invoke("one", "").says(200, &format!("version {}\n", created[0].0));
}

#[test]
fn commands_that_deploy_one_new_name_at_the_same_time_all_succeed() {
    let gateway = Gateway::start();
    let images = ["one\n", "two\n"].map(|said| gateway.upload(&guest::says(said)));
    // Not every pair meets between the look and the creation; some of so many do.
    for round in 0..20 {
        let name = format!("new-{round}");
        let deploying = images.clone().map(|image| {
            let mut deploy = gateway.cli(&["deploy", &name, "--image", &image]);
            deploy.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        });
        for deploy in deploying {
            let output = deploy.wait_with_output().unwrap();
            assert!(output.status.success(), "round {round}: {output:?}");
        }
        let said = gateway.invoke(&name, "").expect(200).text();
        assert!(["one\n", "two\n"].contains(&said.as_str()), "{said:?}");
    }
}

#[test]
fn others_are_served_while_a_large_module_is_compiled() {
    let gateway = Gateway::start();
    gateway.deploy("cat", &guest::cat());
    let body =
        "(local.set 0 (i32.mul (local.get 0) (i32.add (local.get 0) (i32.load (local.get 0)))))".repeat(100);
    let functions: String = (0..1_500).map(|_| format!("(func (param i32) {body})")).collect();
    let large = guest::with(&functions, "");
    let served = std::thread::scope(|scope| {
        let upload = scope.spawn(|| gateway.deploy("large", &large));
        let mut served = 0;
        while !upload.is_finished() {
            gateway.invoke("cat", "served").says(200, "served");
            gateway.get("/healthz").expect(200);
            served += 1;
        }
        upload.join().unwrap();
        served
    });
    assert!(served > 10, "only {served} were served meanwhile");
    gateway.invoke("large", "").says(200, "");
}
