//! What a value must be.

use serde_json::Value;

/// Whether a text is what a pattern says.
pub(super) fn is(pattern: &str, text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match pattern {
        "<any>" => true,
        "<text>" => !text.is_empty(),
        "<time>" => {
            let (date, time) = text.split_once('T').unwrap_or_default();
            date.len() == 10 && time.ends_with('Z') && time.split(':').count() == 3
        }
        // Of this century.
        "<nanoseconds>" => digits(text) && text.len() == 19,
        "<seconds>" => text.split_once('.').is_some_and(|(whole, part)| digits(whole) && digits(part)),
        "<id>" => text.len() == 36 && text.split('-').map(str::len).eq([8, 4, 4, 4, 12]),
        _ => pattern == text,
    }
}

/// Whether a document is what a pattern says.
pub(super) fn is_json(pattern: &str, document: &str) -> bool {
    let pattern = serde_json::from_str(pattern).unwrap_or_else(|error| panic!("{error}: {pattern}"));
    serde_json::from_str(document).is_ok_and(|document| matches(&pattern, &document))
}

fn matches(pattern: &Value, value: &Value) -> bool {
    match (pattern, value) {
        (Value::String(pattern), _) if pattern == "<any>" => true,
        (Value::String(pattern), Value::Number(number)) => match pattern.as_str() {
            "<number>" => true,
            "<count>" => number.as_u64().is_some_and(|count| count > 0),
            _ => false,
        },
        (Value::String(pattern), Value::String(text)) => is(pattern, text),
        (Value::Array(patterns), Value::Array(values)) => {
            patterns.len() == values.len()
                && patterns.iter().zip(values).all(|(pattern, value)| matches(pattern, value))
        }
        (Value::Object(patterns), Value::Object(values)) => {
            let fits = |(key, pattern): (&String, &Value)| match (key.strip_suffix('?'), values.get(key)) {
                (Some(key), _) => values.get(key).is_none_or(|value| matches(pattern, value)),
                (None, Some(value)) => matches(pattern, value),
                (None, None) => key == "...",
            };
            let is_known =
                |key: &String| patterns.contains_key(key) || patterns.contains_key(&format!("{key}?"));
            patterns.iter().all(fits) && (patterns.contains_key("...") || values.keys().all(is_known))
        }
        _ => pattern == value,
    }
}

#[test]
fn a_field_more_or_less_does_not_match() {
    let pattern = r#"{"a": "<count>", "b?": {"c": "<any>"}, "d": ["<time>"]}"#;
    for (document, fits) in [
        (r#"{"a": 1, "d": ["2024-05-01T12:00:00.5Z"]}"#, true),
        (r#"{"a": 1, "b": {"c": null}, "d": ["2024-05-01T12:00:00Z"]}"#, true),
        (r#"{"a": 0, "d": ["2024-05-01T12:00:00Z"]}"#, false),
        (r#"{"a": 1, "d": ["yesterday"]}"#, false),
        (r#"{"a": 1, "d": []}"#, false),
        (r#"{"a": 1, "b": null, "d": ["2024-05-01T12:00:00Z"]}"#, false),
        (r#"{"a": 1, "d": ["2024-05-01T12:00:00Z"], "e": null}"#, false),
        (r#"{"d": ["2024-05-01T12:00:00Z"]}"#, false),
        ("nonsense", false),
    ] {
        assert_eq!(is_json(pattern, document), fits, "{document}");
    }
}
