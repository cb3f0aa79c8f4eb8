//! Adds up all numbers of a JSON document, however deep: `[1, {"a": 2.5}]` has two, and 3.5.

use std::io::{self, Read};
use std::process::ExitCode;

use serde_json::{Value, json};

fn main() -> io::Result<ExitCode> {
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text)?;
    match serde_json::from_slice(&text) {
        Ok(document) => {
            let (count, sum) = add_up(&document);
            println!("{}", json!({ "count": count, "sum": sum }));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("this is not JSON: {error}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// How many numbers there are, and their sum: exact while all are integers of 64 bits.
fn add_up(document: &Value) -> (u64, Value) {
    let mut count = 0;
    let mut exact = Some(0_i64);
    let mut rounded = 0.0;
    // Not by recursion: a guest's stack is small.
    let mut waiting = vec![document];
    while let Some(value) = waiting.pop() {
        match value {
            Value::Number(number) => {
                count += 1;
                exact = exact.zip(number.as_i64()).and_then(|(sum, number)| sum.checked_add(number));
                rounded += number.as_f64().unwrap_or(f64::NAN);
            }
            Value::Array(items) => waiting.extend(items),
            Value::Object(members) => waiting.extend(members.values()),
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }
    (count, exact.map_or_else(|| json!(rounded), |sum| json!(sum)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, count: u64, sum: Value) {
        assert_eq!(add_up(&serde_json::from_str(text).unwrap()), (count, sum), "{text}");
    }

    #[test]
    fn adds_up_everything() {
        check("[1,2,3]", 3, json!(6));
        check(r#"{"a":1,"b":{"c":[2.5]},"d":"7","e":null}"#, 2, json!(3.5));
        check("7", 1, json!(7));
        check(r#""no number""#, 0, json!(0));
        check("[9223372036854775807,1]", 2, json!(9223372036854775808.0));
    }
}
