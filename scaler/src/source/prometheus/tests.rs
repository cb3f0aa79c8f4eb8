//! The source against a server that answers what a Prometheus may, over real sockets.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;

use super::*;
use crate::target::testing::observed;

/// The evaluation time of every answer.
const AT: f64 = 1_000.0;

/// What is answered to a query that holds a text, first match first; else an empty vector.
type Script = Arc<Mutex<Vec<(&'static str, StatusCode, String)>>>;

/// An answer with these values of functions.
fn vector(values: &[(&str, &str)]) -> String {
    let entry = |(name, value): &(&str, &str)| {
        format!(r#"{{"metric":{{"function_name":"{name}"}},"value":[{AT},"{value}"]}}"#)
    };
    let entries: Vec<String> = values.iter().map(entry).collect();
    format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#, entries.join(","))
}

async fn serve(script: Script) -> Prometheus {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/prom", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let script = script.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let script = script.clone();
                async move {
                    assert_eq!(request.uri().path(), "/prom/api/v1/query");
                    let query = request.into_body().collect().await.unwrap().to_bytes();
                    let query = String::from_utf8(query.to_vec()).unwrap();
                    let answer = script.lock().iter().find(|(text, ..)| query.contains(text)).cloned();
                    let (status, body) =
                        answer.map_or((StatusCode::OK, vector(&[])), |(_, status, body)| (status, body));
                    let mut response = Response::new(Full::new(Bytes::from(body)));
                    *response.status_mut() = status;
                    Ok::<_, Infallible>(response)
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    Prometheus::new(PrometheusConfig {
        url: url.parse().unwrap(),
        selector: Selector::default(),
        window: Duration::from_secs(60),
    })
}

/// The answers of a Prometheus that scraped `echo` 5 s ago.
fn healthy() -> Vec<(&'static str, StatusCode, String)> {
    vec![
        ("timestamp", StatusCode::OK, vector(&[("echo", "995"), ("foreign", "995")])),
        ("irate%28gateway_function_invocation_started", StatusCode::OK, vector(&[("echo", "12.5")])),
        ("%28gateway_function_invocation_started%29", StatusCode::OK, vector(&[("echo", "70")])),
        ("bramble_function_inflight", StatusCode::OK, vector(&[("echo.openfaas-fn", "3")])),
        ("bramble_function_queued", StatusCode::OK, vector(&[("echo", "1")])),
        ("bramble_queue_depth", StatusCode::OK, vector(&[])),
        ("bramble_function_cpu_seconds_total", StatusCode::OK, vector(&[("echo", "0.25")])),
    ]
}

async fn load(script: Vec<(&'static str, StatusCode, String)>) -> Result<Load, SourceError> {
    let mut source = serve(Arc::new(Mutex::new(script))).await;
    let functions = [observed("echo", &[], Counters::default())];
    source.loads(&functions, Duration::ZERO).await.map(|loads| loads[0])
}

#[tokio::test]
async fn reads_every_signal_of_our_functions() {
    let load = load(healthy()).await.unwrap();
    assert_eq!((load.rps, load.inflight, load.queued), (Some(12.5), Some(2.0), Some(1.0)));
    assert_eq!((load.cpu_cores, load.idle_for), (Some(0.25), Some(Duration::ZERO)));
}

#[tokio::test]
async fn what_waits_in_the_asynchronous_queue_waits_beside_what_runs() {
    let mut script = healthy();
    script[5].2 = vector(&[("echo", "40")]);
    let load = load(script).await.unwrap();
    assert_eq!((load.inflight, load.queued), (Some(2.0), Some(41.0)));
}

#[tokio::test]
async fn of_a_hybrid_what_its_containers_bear_counts() {
    let mut script = healthy();
    let (rate, count) =
        ("irate%28bramble_hybrid_invocations_total", "%20%28bramble_hybrid_invocations_total");
    script.insert(0, (count, StatusCode::OK, vector(&[("echo", "90")])));
    script.insert(0, (rate, StatusCode::OK, vector(&[("echo", "4.5")])));
    let counters = Counters { inflight: 2, queued: 1, queue_depth: 3, ..Counters::default() };
    let mut hybrid = observed("echo", &[], counters);
    hybrid.state.runtime = Runtime::Hybrid;
    let script = Arc::new(Mutex::new(script));
    let mut source = serve(script.clone()).await;
    let load = source.loads(std::slice::from_ref(&hybrid), Duration::ZERO).await.unwrap()[0];
    assert_eq!((load.rps, load.inflight, load.queued), (Some(4.5), Some(1.0), Some(4.0)));
    script.lock().remove(0);
    let load = source.loads(std::slice::from_ref(&hybrid), Duration::ZERO).await.unwrap()[0];
    assert_eq!(load.rps, None, "one scrape tells no rate");
    script.lock().remove(0);
    let load = source.loads(std::slice::from_ref(&hybrid), Duration::ZERO).await.unwrap()[0];
    assert_eq!(load.rps, Some(0.0), "no container took any");
    script.lock().clear();
    assert_eq!(
        source.loads(&[hybrid], Duration::ZERO).await.unwrap()[0],
        Load::default(),
        "nothing is known"
    );
}

#[tokio::test]
async fn a_function_that_was_never_invoked_has_no_load_and_one_scrape_tells_no_rate() {
    let mut script = healthy();
    script.remove(1);
    assert_eq!(load(script.clone()).await.unwrap().rps, None);
    script.remove(1);
    assert_eq!(load(script).await.unwrap().rps, Some(0.0));
}

#[tokio::test]
async fn nothing_is_known_of_what_is_stale_missing_or_from_the_future() {
    for scraped in ["939", "1001", "NaN"] {
        let mut script = healthy();
        script[0].2 = vector(&[("echo", scraped)]);
        assert_eq!(load(script).await.unwrap(), Load::default(), "{scraped}");
    }
    assert_eq!(load(Vec::new()).await.unwrap(), Load::default());
}

#[tokio::test]
async fn values_that_are_no_numbers_are_missing() {
    let mut script = healthy();
    script[1].2 = vector(&[("echo", "NaN")]);
    script[3].2 = vector(&[("echo", "+Inf")]);
    let load = load(script).await.unwrap();
    assert_eq!((load.rps, load.inflight, load.queued), (None, None, Some(1.0)));
}

#[tokio::test]
async fn one_answer_that_is_none_fails_them_all() {
    for (status, body) in [
        (StatusCode::OK, "<html>".to_owned()),
        (StatusCode::UNPROCESSABLE_ENTITY, r#"{"status":"error","error":"parse error"}"#.to_owned()),
        (StatusCode::OK, "x".repeat(MAX_ANSWER_BYTES + 1)),
    ] {
        let mut script = healthy();
        script[4] = (script[4].0, status, body);
        let error = load(script).await.unwrap_err();
        let refused = status != StatusCode::OK;
        assert_eq!(matches!(error, SourceError::Refused { status: 422, .. }), refused, "{error}");
        assert_eq!(matches!(error, SourceError::Garbage { .. }), !refused, "{error}");
    }
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let config = PrometheusConfig {
        url: url.parse().unwrap(),
        selector: Selector::default(),
        window: Duration::from_secs(60),
    };
    let error = Prometheus::new(config).loads(&[], Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn one_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = PrometheusConfig {
        url: format!("http://{}", listener.local_addr().unwrap()).parse().unwrap(),
        selector: Selector::default(),
        window: Duration::from_secs(60),
    };
    let mut source = Prometheus { limit: Duration::from_millis(20), ..Prometheus::new(config) };
    let error = source.loads(&[], Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, SourceError::TimedOut { .. }), "{error}");
}
