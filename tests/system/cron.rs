//! Functions that run by a schedule, as far as no minute has to pass for it.

use serde_json::{Value, json};

use crate::support::{Gateway, guest, wait};

#[test]
fn a_schedule_that_is_none_is_refused_by_name_and_value() {
    let gateway = Gateway::start();
    let module = gateway.upload(&guest::cat());
    for (key, value) in [
        ("schedule", "every morning"),
        ("schedule", "* * * * * *"),
        ("schedule", "0 0 30 2 *"),
        ("timezone", "Middle/Earth"),
        ("bramble.catch_up", "later"),
    ] {
        let mut annotations = json!({"topic": "cron-function", "schedule": "@hourly"});
        annotations[key] = json!(value);
        let refused = gateway.create("f", &module, json!({"annotations": annotations}));
        refused.refused(400, "invalid_spec", &format!("annotations.{key}: {value:?}"));
    }
    assert!(gateway.names().is_empty());
    let good = json!({"annotations": {
        "topic": "cron-function", "schedule": "*/5 * * * *", "timezone": "Europe/Berlin",
    }});
    gateway.create("f", &module, good).expect(202);
}

#[test]
fn a_function_runs_by_its_schedule_with_what_says_so() {
    let gateway = Gateway::start();
    let spec = json!({
        "envVars": {"write_debug": "true"},
        "annotations": {"topic": "cron-function", "schedule": "@every 2s"},
    });
    gateway.deploy_with("ticks", &guest::tells_environment(), spec);
    let told = |what: &str| -> Vec<String> {
        let log = gateway.get("/system/logs?name=ticks").expect(200).text();
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter_map(|line| Some(line["text"].as_str()?.strip_prefix(what)?.to_owned())).collect()
    };
    let mut instants = wait::value("it ran three times", || {
        Some(told("Http_X_Scheduled_For=")).filter(|instants| instants.len() > 2)
    });
    let seconds = |instant: &String| instant.trim_end_matches('Z').rsplit_once(':')?.1.parse::<u32>().ok();
    assert!(instants.iter().all(|instant| seconds(instant).is_some_and(|s| s % 2 == 0)), "{instants:?}");
    let all = instants.len();
    instants.dedup();
    assert_eq!(instants.len(), all, "an instant was run twice: {instants:?}");
    for line in ["Http_X_Topic=cron-function", "Http_X_Connector=cron-connector", "Http_Method=POST"] {
        assert!(told(line).len() >= all, "{line} is not with each run");
    }
    gateway.remove("ticks");
}
