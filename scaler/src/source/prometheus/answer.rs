//! The answer to an instant query, read with a strict eye.

use std::borrow::Cow;

use serde::Deserialize;

/// Values of an instant vector, each of one function. What is no finite number of 0 or more is left out.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Vector {
    pub(super) samples: Vec<Sample>,
}

/// The value of one function.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    /// As Prometheus writes it.
    pub(super) function: Box<str>,
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

impl Vector {
    /// Reads the body of an answer with status 200.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        let document: Document<'_> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let data = document.data.filter(|_| document.status == "success");
        let data = data.ok_or_else(|| "its status is no success".to_owned())?;
        if data.result_type != "vector" {
            return Err("the result is no instant vector".to_owned());
        }
        let samples = data.result.into_iter().filter_map(|Entry { metric, value: (at, text) }| {
            let value: f64 = text.parse().ok()?;
            let usable = value.is_finite() && value >= 0.0 && at.is_finite();
            usable.then_some(Sample { function: metric.function_name?.into(), at, value })
        });
        Ok(Self { samples: samples.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(result: &str) -> Result<Vector, String> {
        let body = format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{result}]}}}}"#);
        Vector::parse(body.as_bytes())
    }

    #[test]
    fn reads_what_prometheus_answers() {
        let read = vector(r#"{"metric":{"function_name":"echo"},"value":[1763658000.123,"2.5"]}"#).unwrap();
        let sample = Sample { function: "echo".into(), at: 1_763_658_000.123, value: 2.5 };
        assert_eq!(read.samples, [sample]);
        assert_eq!(vector("").unwrap(), Vector::default());
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
            assert_eq!(vector(entry).unwrap(), Vector::default(), "{entry}");
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
            assert!(Vector::parse(body.as_bytes()).is_err(), "{body}");
        }
    }
}
