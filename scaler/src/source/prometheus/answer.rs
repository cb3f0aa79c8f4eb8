//! The answer to an instant query, read with a strict eye.

use std::borrow::Cow;

use serde::Deserialize;

/// The value of one function in an instant vector: a finite number of 0 or more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample<'a> {
    /// As Prometheus writes it.
    pub(super) function: &'a str,
    /// When the query was evaluated, in seconds since 1970 by Prometheus' clock.
    pub(super) at: f64,
    pub(super) value: f64,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<Data<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    #[serde(borrow)]
    result_type: Cow<'a, str>,
    #[serde(borrow)]
    result: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    metric: Metric<'a>,
    #[serde(borrow)]
    value: (f64, Cow<'a, str>),
}

#[derive(Deserialize)]
struct Metric<'a> {
    #[serde(borrow)]
    function_name: Option<Cow<'a, str>>,
}

/// Reads the body of an answer with status 200, and leaves out what is no number and no function's.
///
/// Nothing is handed over when it is no such answer.
pub(super) fn each(body: &[u8], mut take: impl FnMut(Sample<'_>)) -> Result<(), String> {
    let document: Document<'_> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let data = document.data.filter(|_| document.status == "success");
    let data = data.ok_or_else(|| "its status is no success".to_owned())?;
    if data.result_type != "vector" {
        return Err("the result is no instant vector".to_owned());
    }
    for Entry { metric, value: (at, text) } in &data.result {
        let (Some(function), Ok(value)) = (&metric.function_name, text.parse::<f64>()) else { continue };
        if value.is_finite() && value >= 0.0 && at.is_finite() {
            take(Sample { function, at: *at, value });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = Vec<(String, f64, f64)>;

    fn read(body: &str) -> Result<Read, String> {
        let mut read = Vec::new();
        each(body.as_bytes(), |is| read.push((is.function.to_owned(), is.at, is.value)))?;
        Ok(read)
    }

    fn vector(result: &str) -> Result<Read, String> {
        read(&format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{result}]}}}}"#))
    }

    #[test]
    fn reads_what_prometheus_answers() {
        let read = vector(r#"{"metric":{"function_name":"echo"},"value":[1763658000.123,"2.5"]}"#).unwrap();
        assert_eq!(read, [("echo".to_owned(), 1_763_658_000.123, 2.5)]);
        assert_eq!(vector("").unwrap(), []);
    }

    #[test]
    fn what_is_no_value_of_a_function_is_left_out() {
        for entry in [
            r#"{"metric":{"function_name":"echo"},"value":[1,"NaN"]}"#,
            r#"{"metric":{"function_name":"echo"},"value":[1,"+Inf"]}"#,
            r#"{"metric":{"function_name":"echo"},"value":[1,"-1"]}"#,
            r#"{"metric":{"function_name":"echo"},"value":[1,"many"]}"#,
            r#"{"metric":{"other":"echo"},"value":[1,"1"]}"#,
            r#"{"metric":{},"value":[1,"1"]}"#,
        ] {
            assert_eq!(vector(entry).unwrap(), [], "{entry}");
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for body in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"status":"error","error":"x"}"#,
            r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#,
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":["x"]}]}}"#,
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"function_name":7},"value":[1,"1"]}]}}"#,
        ] {
            assert!(read(body).is_err(), "{body}");
        }
    }
}
