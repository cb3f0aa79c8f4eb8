//! What a gateway answers, held against what its API promises: `docs/openapi.json`.
//!
//! Every answer that a test gets goes through here: its path and method are looked up, its status and media
//! type must be there, and its JSON must fit the schema, with no field that is not there. Functions answer
//! what they like; of theirs only what the gateway adds is looked at.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use http::{HeaderMap, Method, StatusCode};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

/// The document.
pub(crate) static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap());

/// The schemas of answers, each compiled when the first answer of its kind comes.
static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// The named schemas, none of which takes a field that it does not name.
static STRICT: LazyLock<Value> = LazyLock::new(|| {
    let mut components = json!({"schemas": DOCUMENT["components"]["schemas"]});
    components["schemas"].as_object_mut().unwrap().values_mut().for_each(seal);
    components
});

fn seal(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    if schema.contains_key("properties") && !schema.contains_key("additionalProperties") {
        schema.insert("additionalProperties".to_owned(), json!(false));
    }
}

/// Which of a gateway's ports answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    Main,
    Metrics,
}

/// What the body of an answer has to be, now that its head was looked at.
#[derive(Debug)]
#[must_use]
pub(crate) enum Promised {
    Anything,
    Nothing,
    Text,
    /// A document of this schema, and of which answer that is.
    Json(Value, String),
    /// One such document a line.
    Lines(Value, String),
}

/// Looks at the head of an answer to `method` on `target`, which may have a query.
#[track_caller]
pub(crate) fn head(
    port: Port,
    (method, target): (&Method, &str),
    status: StatusCode,
    headers: &HeaderMap,
) -> Promised {
    let path = target.split('?').next().unwrap_or_default();
    let asked = format!("{method} {path} answered {status}");
    let kind = headers.get("content-type").map_or("", |kind| kind.to_str().unwrap());
    let kind = kind.split(';').next().unwrap().trim();
    let refused = |asked| Promised::Json(json!({"$ref": "#/components/schemas/Error"}), asked);
    if is_preflight(method, headers) || is_no_http(status, kind) {
        return Promised::Nothing;
    }
    if matches!(status.as_u16(), 429 | 503)
        && kind == "application/json"
        && !headers.contains_key("x-call-id")
    {
        assert!(headers.contains_key("retry-after"), "{asked} without Retry-After");
    }
    if port == Port::Main && path.starts_with("/function/") {
        return match () {
            () if method == Method::HEAD || status == StatusCode::SWITCHING_PROTOCOLS => Promised::Anything,
            () if !headers.contains_key("x-call-id") => {
                assert!(kind == "application/json" && status.as_u16() >= 400, "{asked} ({kind})");
                refused(asked)
            }
            () => {
                let added = ["x-start-time", "x-duration-seconds"];
                assert!(added.iter().all(|name| headers.contains_key(*name)), "{asked} with {headers:?}");
                Promised::Anything
            }
        };
    }
    let Some(responses) = responses(port, method, path) else {
        // Credentials are asked for before anything is looked up.
        let known = matches!(status.as_u16(), 401 | 404 | 405 | 429);
        assert!(known, "{asked}, and is not documented");
        return if kind == "text/plain" { Promised::Text } else { refused(asked) };
    };
    let Some(response) = responses.get(status.as_str()).or_else(|| responses.get("default")) else {
        let known: Vec<_> = responses.keys().collect();
        panic!("{asked}, documented are {known:?}");
    };
    let needed = response["headers"].as_object().into_iter().flat_map(Map::keys);
    for name in needed {
        assert!(headers.contains_key(name), "{asked} without {name}");
    }
    if method == Method::HEAD {
        return Promised::Anything;
    }
    let Some(content) = response["content"].as_object() else { return Promised::Nothing };
    let Some(media) = content.get(kind).or_else(|| content.get("*/*")) else {
        let known: Vec<_> = content.keys().collect();
        panic!("{asked} as {kind:?}, documented are {known:?}");
    };
    match kind {
        "application/json" => Promised::Json(media["schema"].clone(), asked),
        "application/x-ndjson" => Promised::Lines(media["schema"].clone(), asked),
        _ => Promised::Text,
    }
}

impl Promised {
    /// Looks at a body that was read to its end.
    #[track_caller]
    pub(crate) fn check(self, body: &[u8]) {
        match self {
            Self::Anything => {}
            Self::Nothing => assert_eq!(String::from_utf8_lossy(body), "", "no body is documented"),
            Self::Text => drop(std::str::from_utf8(body).unwrap()),
            Self::Json(schema, asked) => fits(&schema, body, &asked),
            Self::Lines(schema, asked) => {
                body.split_inclusive(|byte| *byte == b'\n').for_each(|line| fits(&schema, line, &asked));
            }
        }
    }
}

/// Whether JSON fits a schema of the document, in which named schemas take other fields too.
pub(crate) fn is_valid(schema: &Value, document: &Value) -> bool {
    let components = json!({"schemas": DOCUMENT["components"]["schemas"]});
    validator(&format!("request {schema}"), schema, &components).check(document).is_ok()
}

#[track_caller]
fn fits(schema: &Value, body: &[u8], asked: &str) {
    let text = String::from_utf8_lossy(body);
    let document = serde_json::from_slice(body).unwrap_or_else(|error| panic!("{asked}: {error}: {text}"));
    let validator = validator(&schema.to_string(), schema, &STRICT);
    if let Err(wrong) = validator.check(&document) {
        panic!("{asked} with what does not fit its schema: {wrong}: {text}");
    }
}

/// A schema that was compiled.
struct Validator {
    schemas: Schemas,
    schema: SchemaIndex,
}

impl Validator {
    fn new(schema: Value) -> Self {
        const PLACE: &str = "https://bramble.invalid/schema";
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.set_default_draft(Draft::V2020_12);
        compiler.add_resource(PLACE, schema).unwrap();
        let schema = compiler.compile(PLACE, &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
        Self { schemas, schema }
    }

    fn check(&self, document: &Value) -> Result<(), String> {
        self.schemas.validate(document, self.schema).map_err(|error| format!("{error:#}"))
    }
}

fn validator(key: &str, schema: &Value, components: &Value) -> Arc<Validator> {
    let mut validators = VALIDATORS.lock();
    if let Some(validator) = validators.get(key) {
        return Arc::clone(validator);
    }
    let whole = json!({"allOf": [schema], "components": components});
    let validator = Arc::new(Validator::new(whole));
    Arc::clone(validators.entry(key.to_owned()).or_insert(validator))
}

/// The answer to a preflight of another site's page, which is given before anything is looked up.
fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key("access-control-allow-methods")
}

/// What the HTTP server says to what is no HTTP, or too much of it.
fn is_no_http(status: StatusCode, kind: &str) -> bool {
    kind.is_empty() && matches!(status.as_u16(), 400 | 408 | 414 | 431)
}

fn responses(port: Port, method: &Method, path: &str) -> Option<&'static Map<String, Value>> {
    let item = &DOCUMENT["paths"][template(port, path)?];
    let method = if *method == Method::HEAD { "get".to_owned() } else { method.as_str().to_lowercase() };
    item[method]["responses"].as_object()
}

/// The documented path that a path is one of: the one with the most words of its own.
fn template(port: Port, path: &str) -> Option<&'static str> {
    let templates = DOCUMENT["paths"].as_object().unwrap().keys().map(String::as_str);
    let here = templates.filter(|template| match port {
        Port::Main => *template != "/metrics",
        Port::Metrics => matches!(*template, "/metrics" | "/healthz"),
    });
    let matching = here.filter(|template| matches(template, path));
    matching.max_by_key(|template| template.split('/').filter(|part| !part.starts_with('{')).count())
}

/// The last parameter of a path takes all that is left of it: what is refused in a name may be a slash.
fn matches(template: &str, path: &str) -> bool {
    let (mut parts, mut rest) = (template.split('/').peekable(), path);
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return if part.starts_with('{') { !rest.is_empty() } else { part == rest };
        }
        let Some((first, after)) = rest.split_once('/') else { return false };
        if !(part == first || part.starts_with('{') && !first.is_empty()) {
            return false;
        }
        rest = after;
    }
    false
}
