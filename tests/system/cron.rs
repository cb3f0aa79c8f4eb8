//! Functions that run by a schedule, as far as no minute has to pass for it.

use serde_json::json;

use crate::support::{Gateway, guest};

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
