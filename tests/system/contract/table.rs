//! Every field of every body and every parameter, with everything that it should not be.
//!
//! Whatever comes, the answer is a refusal that names the field, or a success that the schema allows: never a
//! fault of the gateway, never silence.

use serde_json::{Value, json};

use super::{Operation, body_schema, fields, operations};
use crate::support::answer::Answer;
use crate::support::contract::is_valid;
use crate::support::gateway::{JSON, WASM};
use crate::support::{Gateway, Start, guest, wait};

/// As much text as still fits into a document of the largest size that is taken.
const LONG_BYTES: usize = (1 << 20) - 500;

/// A gateway with one of everything.
struct Stage {
    gateway: Gateway,
    image: String,
    /// Names that were given away.
    names: u32,
}

impl Stage {
    fn new() -> Self {
        // What scales by itself would write beside the table.
        let gateway = Start::new().flag("--scaler", "off").start();
        let image = gateway.upload(&guest::cat());
        gateway.create("echo", &image, json!({})).expect(202);
        gateway.json("POST", "/system/secrets", &json!({"name": "known", "value": "v"})).expect(201);
        gateway.json("POST", "/system/namespace/team", &json!({})).expect(201);
        Self { gateway, image, names: 0 }
    }

    /// A name that nothing has.
    fn name(&mut self) -> String {
        self.names += 1;
        format!("new{}", self.names)
    }

    /// A path and a body that the operation takes. An operation that is not here has no body.
    fn usual(&mut self, id: &str) -> (String, Value) {
        let new = self.name();
        match id {
            "deployFunction" => (new.clone(), json!({"service": new, "image": self.image})),
            "updateFunction" => (new, json!({"service": "echo", "image": self.image})),
            "removeFunction" => (new.clone(), json!({"functionName": new})),
            "scaleFunction" => ("echo".into(), json!({"replicas": 1})),
            "createSecret" => (new.clone(), json!({"name": new, "value": "v"})),
            "updateSecret" => (new, json!({"name": "known", "value": "v"})),
            "removeSecret" => (new.clone(), json!({"name": new})),
            "createNamespace" => (new, json!({})),
            "createNamedNamespace" => (new.clone(), json!({"name": new})),
            "updateNamespace" => ("team".into(), json!({})),
            "receiveAlerts" => {
                let labels = json!({"function_name": "echo"});
                (new, json!({"alerts": [{"status": "resolved", "labels": labels}]}))
            }
            "takeScalerLease" | "giveBackScalerLease" => (new, json!({"holder": "table", "seconds": 1})),
            "changeReplicas" => {
                (new, json!({"holder": "table", "name": "echo", "action": "scale", "from": 1, "to": 1}))
            }
            "answerScalingQuestion" => (new, json!({"holder": "table", "name": "echo", "explained": {}})),
            _ => ("echo".into(), json!({})),
        }
    }

    /// Sends what the operation takes, but for one parameter.
    fn with_parameter(&mut self, operation: &Operation, parameter: &Value, value: &str) -> Answer {
        let (name, body) = self.usual(operation.id());
        let content = &operation.described["requestBody"]["content"];
        let (kind, body) = match content {
            _ if content[JSON].is_object() => (JSON, body.to_string().into_bytes()),
            _ if content[WASM].is_object() => (WASM, guest::cat()),
            _ => ("text/plain", Vec::new()),
        };
        let field = parameter["name"].as_str().unwrap();
        let mut path = operation.filled_with(field, value, &name);
        let mut request = |query: &str, header: Option<(&str, &str)>| {
            path.push_str(query);
            let request = self.gateway.request(&operation.method.to_uppercase(), &path);
            header.into_iter().fold(request, |request, (name, value)| request.header(name, value))
        };
        let request = match parameter["in"].as_str().unwrap() {
            "path" => request("", None),
            // The one parameter of a query that is required.
            "query" if operation.id() == "streamLogs" && field != "name" => {
                request(&format!("?name=echo&{field}={value}"), None)
            }
            "query" => request(&format!("?{field}={value}"), None),
            _ => request("", Some((field, value))),
        };
        self.gateway.send(request.header("content-type", kind), &body)
    }

    /// Takes the lease of the scaler, without which some changes are refused unseen.
    fn lead(&self) {
        let wanted = json!({"holder": "table", "seconds": 1});
        let lead = || self.gateway.json("PUT", "/system/scaler-lease", &wanted).status == 200;
        wait::until("whoever took it is gone", lead);
    }
}

/// What a field should not be, whatever it is.
fn values() -> Vec<Value> {
    let controls: String = (0..32).map(char::from).chain(['\u{7f}', '\u{85}', '\u{202e}']).collect();
    let long = "x".repeat(LONG_BYTES);
    let mut values = vec![
        json!(null),
        json!(""),
        json!(" "),
        json!(true),
        json!(7),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!([]),
        json!([7]),
        json!([null]),
        json!({}),
        json!({"key": 7}),
        json!({"key": null}),
        json!({"": ""}),
        json!("../../etc/passwd"),
        json!("-"),
    ];
    for text in [controls, long] {
        values.extend([json!(text), json!([text]), json!({"key": text}), json!({(text): "value"})]);
    }
    values
}

/// What is wrong with an answer, if something is. A refusal names the field; what is missing or in the way is
/// named by itself.
fn wrong(answer: &Answer, field: &str, may_succeed: bool) -> Option<String> {
    let text = answer.text();
    match answer.status.as_u16() {
        200..300 => (!may_succeed).then(|| "was taken".to_owned()),
        400 => {
            let error = answer.json()["error"].clone();
            let message = error["message"].as_str().unwrap_or_default();
            let told = message.contains(field) && message.len() < 2_000;
            (!told).then(|| format!("is refused with {} bytes: {message:.200}", message.len()))
        }
        401..500 => None,
        // An image needs Docker, which is not there.
        503 if field == "image" && text.contains("unavailable") => None,
        status => Some(format!("is answered {status}: {text:.200}")),
    }
}

/// Puts a value where a field is, or takes the field out.
fn change(body: &mut Value, way: &[String], value: Option<&Value>) {
    let (field, above) = way.split_last().unwrap();
    let mut place = body;
    for part in above {
        if place.is_array() {
            place = &mut place[part.parse::<usize>().unwrap()];
            continue;
        }
        if place[part].is_null() {
            place[part] = json!({});
        }
        place = &mut place[part];
    }
    let Some(place) = place.as_object_mut() else { return };
    match value {
        Some(value) => drop(place.insert(field.clone(), value.clone())),
        None => drop(place.remove(field)),
    }
}

#[test]
fn no_field_of_a_body_does_harm() {
    let (mut stage, values) = (Stage::new(), values());
    let (mut sent, mut bad) = (0, Vec::new());
    for operation in operations() {
        let Some(schema) = body_schema(&operation) else { continue };
        let (id, method) = (operation.id(), operation.method.to_uppercase());
        for way in fields(schema) {
            for value in values.iter().map(Some).chain([None]) {
                if id == "changeReplicas" || id == "answerScalingQuestion" {
                    stage.lead();
                }
                let (name, mut body) = stage.usual(id);
                change(&mut body, &way, value);
                let answer = stage.gateway.json(&method, &operation.filled(&name), &body);
                let shown: String =
                    value.map_or("nothing".into(), Value::to_string).chars().take(60).collect();
                let field = way.last().unwrap();
                let found = wrong(&answer, field, is_valid(schema, &body));
                bad.extend(found.map(|wrong| format!("{id} with {} = {shown} {wrong}", way.join("."))));
                sent += 1;
            }
        }
    }
    assert!(bad.is_empty(), "{} of {sent}:\n{}", bad.len(), bad.join("\n"));
    assert!(sent > 1_000, "only {sent} requests were made of the document");
    stage.gateway.invoke("echo", "unharmed").says(200, "unharmed");
}

#[test]
fn no_parameter_does_harm() {
    let mut stage = Stage::new();
    let long = "x".repeat(8 << 10);
    let values = [
        "",
        "%00",
        "%0A",
        "%7F",
        "%FF",
        "%F0%9F%98%80",
        "%2E%2E%2Fetc",
        "a%2Fb",
        "a/b",
        "-1",
        "1.5",
        "NaN",
        "99999999999999999999",
        "null",
        "nobody",
        "Echo",
        "echo.",
        ".echo",
        &long,
    ];
    let (mut sent, mut bad) = (0, Vec::new());
    for operation in operations() {
        let parameters = operation.described["parameters"].as_array().into_iter().flatten();
        for (parameter, value) in parameters.flat_map(|parameter| values.map(|value| (parameter, value))) {
            let field = parameter["name"].as_str().unwrap();
            let answer = stage.with_parameter(&operation, parameter, value);
            // Functions answer what they like.
            let own = operation.path.starts_with("/function/") && answer.headers.contains_key("x-call-id");
            if !own && operation.method != "head" {
                let shown: String = value.chars().take(60).collect();
                let found = wrong(&answer, field, true);
                bad.extend(found.map(|wrong| format!("{} with {field} = {shown} {wrong}", operation.id())));
            }
            sent += 1;
        }
    }
    assert!(bad.is_empty(), "{} of {sent}:\n{}", bad.len(), bad.join("\n"));
    assert!(sent > 500, "only {sent} requests were made of the document");
    stage.gateway.invoke("echo", "unharmed").says(200, "unharmed");
}
