//! The promises of [`Provider`], as checks that every implementation passes.
//!
//! A provider's own tests implement [`Fixture`] and call [`check`]. Nothing else uses this module.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use http_body_util::BodyExt;

use crate::{
    Body, CallId, FunctionName, FunctionSpec, Invocation, LogQuery, LogStream, Provider, ProviderError, Scale,
};

/// Longest that a check waits for something to become true, in calls of [`Fixture::pause`].
const PATIENCE: u32 = 600;

/// What a function for the checks does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers with its request's body.
    Echo,
    /// Answers `shouted`, whatever it is sent.
    Shout,
    /// Exits with status 3.
    Fail,
    /// Never answers.
    Hang,
    /// Prints the line `a complaint` on stderr, then answers as [`Behaviour::Echo`].
    Complain,
}

/// A provider under test, and functions for it.
pub trait Fixture: Sync {
    /// What is tested.
    type Provider: Provider;

    /// The provider.
    fn provider(&self) -> &Self::Provider;

    /// A function of this name that behaves so.
    fn spec(&self, name: &FunctionName, behaviour: Behaviour) -> FunctionSpec;

    /// Lets some time pass, a few milliseconds for wasm and up to 100 for containers.
    fn pause(&self) -> impl Future<Output = ()>;
}

/// Runs every check. Panics at the first promise that is broken.
pub async fn check(fixture: &impl Fixture) {
    unknown_functions_are_unknown(fixture).await;
    deploys_lists_and_invokes(fixture).await;
    a_redeploy_replaces_what_runs(fixture).await;
    scales_and_says_so(fixture).await;
    a_failure_is_the_functions(fixture).await;
    a_dropped_invocation_frees_its_place(fixture).await;
    keeps_what_a_function_prints(fixture).await;
    removes_for_good(fixture).await;
}

async fn unknown_functions_are_unknown(fixture: &impl Fixture) {
    let (provider, name) = (fixture.provider(), name("nobody"));
    let unknown = |error: ProviderError| matches!(error, ProviderError::UnknownFunction(_));
    assert!(provider.replicas(&name).await.is_err_and(unknown));
    assert!(provider.scale(&name, 1).await.is_err_and(unknown));
    assert!(provider.status(&name).await.is_err_and(unknown));
    assert!(provider.invoke(&name, post("x")).await.is_err_and(unknown));
    assert!(provider.logs(&name, LogQuery::default()).await.is_err());
    provider.remove(&name).await.expect("removing what is not there succeeds");
}

async fn deploys_lists_and_invokes(fixture: &impl Fixture) {
    let name = deployed(fixture, "conform-echo", Behaviour::Echo).await;
    let provider = fixture.provider();
    assert!(provider.list().await.expect("it lists").contains(&name));
    assert_eq!(invoke(fixture, &name, "hello").await.expect("it answers"), "hello");
    let again = fixture.spec(&name, Behaviour::Echo);
    provider.deploy(&again, 1).await.expect("deploying the same again succeeds");
    assert_eq!(invoke(fixture, &name, "").await.expect("an empty body is a body"), "");
}

async fn a_redeploy_replaces_what_runs(fixture: &impl Fixture) {
    let name = deployed(fixture, "conform-swap", Behaviour::Echo).await;
    let spec = fixture.spec(&name, Behaviour::Shout);
    fixture.provider().deploy(&spec, 1).await.expect("another spec replaces the first");
    wait_until(fixture, "the new revision answers", async || {
        invoke(fixture, &name, "quiet").await.expect("no request fails in a redeploy").trim_end() == "shouted"
    })
    .await;
}

async fn scales_and_says_so(fixture: &impl Fixture) {
    let name = deployed(fixture, "conform-scale", Behaviour::Echo).await;
    let provider = fixture.provider();
    for desired in [0, 2] {
        provider.scale(&name, desired).await.expect("it scales");
        wait_until(fixture, "the replicas follow", async || {
            let replicas = provider.replicas(&name).await.expect("it is known");
            assert_eq!(replicas.desired, desired);
            replicas.available == desired
        })
        .await;
    }
    assert_eq!(invoke(fixture, &name, "back").await.expect("it answers again"), "back");
}

async fn a_failure_is_the_functions(fixture: &impl Fixture) {
    let name = deployed(fixture, "conform-fail", Behaviour::Fail).await;
    let outcome = fixture.provider().invoke(&name, post("x")).await;
    // In a container it is the watchdog that answers for the function.
    match outcome {
        Err(ProviderError::FunctionFailed { .. }) => {}
        Ok(response) => assert_eq!(response.status(), 500),
        Err(other) => panic!("{other}"),
    }
}

async fn a_dropped_invocation_frees_its_place(fixture: &impl Fixture) {
    let name = deployed(fixture, "conform-hang", Behaviour::Hang).await;
    let provider = fixture.provider();
    {
        let mut hanging = pin!(provider.invoke(&name, post("x")));
        wait_until(fixture, "the invocation is inflight", async || {
            let waiting = std::future::poll_fn(|cx| Poll::Ready(hanging.as_mut().poll(cx).is_pending()));
            assert!(waiting.await, "it never answers");
            provider.status(&name).await.expect("it is known").inflight == 1
        })
        .await;
    }
    wait_until(fixture, "the place is free", async || {
        provider.status(&name).await.expect("it is known").inflight == 0
    })
    .await;
}

async fn keeps_what_a_function_prints(fixture: &impl Fixture) {
    let name = deployed(fixture, "conform-log", Behaviour::Complain).await;
    invoke(fixture, &name, "x").await.expect("it answers");
    wait_until(fixture, "the line is in the log", async || {
        let mut lines = fixture.provider().logs(&name, LogQuery::default()).await.expect("it has a log");
        while let Some(line) = lines.next().await {
            if line.text.contains("a complaint") {
                return line.name == name;
            }
        }
        false
    })
    .await;
}

async fn removes_for_good(fixture: &impl Fixture) {
    let name = deployed(fixture, "conform-gone", Behaviour::Echo).await;
    let provider = fixture.provider();
    provider.remove(&name).await.expect("it is removed");
    let gone = provider.invoke(&name, post("x")).await;
    assert!(gone.is_err_and(|error| matches!(error, ProviderError::UnknownFunction(_))));
    wait_until(fixture, "it is off the list", async || {
        !provider.list().await.expect("it lists").contains(&name)
    })
    .await;
    provider.remove(&name).await.expect("removing it again succeeds");
}

fn name(text: &str) -> FunctionName {
    FunctionName::parse(text).expect("the checks use valid names")
}

async fn deployed(fixture: &impl Fixture, text: &str, behaviour: Behaviour) -> FunctionName {
    let name = name(text);
    let spec = fixture.spec(&name, behaviour);
    fixture.provider().deploy(&spec, 1).await.expect("it deploys");
    wait_until(fixture, "a replica is available", async || {
        fixture.provider().replicas(&name).await.expect("it is known").available == 1
    })
    .await;
    name
}

fn post(body: &'static str) -> Invocation {
    let (request, ()) =
        http::Request::post("/function/it").body(()).expect("the request is valid").into_parts();
    Invocation {
        call_id: CallId::from_random(7),
        request,
        path_offset: "/function/it".len(),
        body: Body::whole(Bytes::from_static(body.as_bytes())),
        peer: None,
        started_at: std::time::SystemTime::now(),
    }
}

async fn invoke(
    fixture: &impl Fixture,
    name: &FunctionName,
    body: &'static str,
) -> Result<String, ProviderError> {
    let response = fixture.provider().invoke(name, post(body)).await?;
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.expect("the body is whole").to_bytes();
    Ok(String::from_utf8_lossy(&body).into_owned())
}

async fn wait_until(fixture: &impl Fixture, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..PATIENCE {
        if holds().await {
            return;
        }
        fixture.pause().await;
    }
    panic!("waited too long until {what}");
}
