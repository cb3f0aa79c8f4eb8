//! What the router does not serve, or serves under more paths than one: functions.

use serde_json::{Map, Value, json};

/// Every method that a function may be invoked with.
const METHODS: [&str; 7] = ["get", "head", "post", "put", "patch", "delete", "options"];

/// Invokes a function, or several in a chain (`a|b|c`): with any method, any body, any query.
#[utoipa::path(
    post, path = "/function/{name}", operation_id = "invoke", tag = "invocations",
    params(("name" = String, Path, description = "the function, with its namespace after a dot where that is not the default one")),
    request_body(content = String, content_type = "*/*", description = "what the function reads"),
    security(()),
    responses(
        (
            status = "default",
            description = "The function's own answer. Or one of ours, without `X-Call-Id` when nothing ran: 400 \
                `invalid_spec`, 401 `token_required`, 404 `unknown_function`, 408 `body_timed_out`, 413 `body_too_large`, 429 \
                `saturated`, 500 `function_failed`, 502 `invalid_response`, `step_broke`, 503 `unavailable`, \
                `start_failed`, 504 `timed_out`, `start_timed_out`",
            headers(
                ("x-call-id" = String, description = "the invocation's id"),
                ("x-start-time" = String, description = "nanoseconds since 1970"),
                ("x-duration-seconds" = String, description = "to the head of the answer"),
            )
        ),
    ),
)]
#[expect(dead_code, reason = "the router never sees an invocation: this is its description alone")]
fn invoke() {}

/// Adds the functions' own paths below their names, and every method.
pub(super) fn complete(paths: &mut Map<String, Value>) {
    for (path, methods) in [("/function/{name}", &METHODS[..]), ("/async-function/{name}", &["post"])] {
        let Value::Object(mut own) = paths[path].take() else { continue };
        let mut described = own.remove("post").unwrap_or_default();
        // A function answers what it likes.
        if let Some(answer) = described["responses"].get_mut("default") {
            answer["content"] = json!({"*/*": {}});
        }
        for (below, named) in [("", ""), ("/{path}", "Path")] {
            let mut item = Map::new();
            for method in methods {
                item.insert((*method).to_owned(), operation(&described, method, named));
            }
            for (method, other) in &own {
                item.insert(method.clone(), at(other, named, "the call's id"));
            }
            paths.insert(format!("{path}{below}"), Value::Object(item));
        }
    }
}

/// The operation on the path itself, or on one below it: `named` is what that adds to its id.
fn at(described: &Value, named: &str, path: &str) -> Value {
    let mut operation = described.clone();
    let id = operation["operationId"].as_str().unwrap_or_default();
    operation["operationId"] = json!(format!("{id}{named}"));
    if !named.is_empty()
        && let Some(parameters) = operation["parameters"].as_array_mut()
    {
        parameters.push(json!({
            "name": "path",
            "in": "path",
            "required": true,
            "description": path,
            "schema": {"type": "string"},
        }));
    }
    operation
}

/// One way to invoke.
fn operation(described: &Value, method: &str, named: &str) -> Value {
    let mut operation = at(described, named, "what the function gets as its path; it may have slashes");
    if method != "post" {
        let id = operation["operationId"].as_str().unwrap_or_default();
        operation["operationId"] = json!(format!("{id}{method}"));
    }
    // What they mean by a body is nobody's business but the function's.
    if matches!(method, "get" | "head" | "delete" | "options")
        && let Some(fields) = operation.as_object_mut()
    {
        fields.remove("requestBody");
    }
    operation
}
