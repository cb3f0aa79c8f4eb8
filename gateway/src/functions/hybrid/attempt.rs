//! One try of an invocation on one half, and what a refusal means.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Instant;

use bramble_provider::{Body, ProviderError};
use http::{Response, StatusCode};

use super::{Half, Hybrid};

/// An invocation that was handed to one half, until its response's head is there or it is given up.
pub(super) struct Attempt<'h> {
    hybrid: &'h Hybrid,
    half: Half,
    since: Instant,
    end: End,
}

/// How it ended.
enum End {
    /// It did not: its client went away, or nobody waits as long.
    Open,
    /// There is a response of the function's.
    Answered,
    /// There is none, or one that tells of a failure.
    Failed,
    /// It never began.
    Refused,
}

impl<'h> Attempt<'h> {
    pub(super) fn begin(hybrid: &'h Hybrid, half: Half) -> Self {
        if half == Half::Container {
            // Before it looks for a container, in one order with scaling to 0.
            hybrid.sent.fetch_add(1, SeqCst);
        }
        Self { hybrid, half, since: Instant::now(), end: End::Open }
    }

    pub(super) fn ended(&mut self, outcome: &Result<Response<Body>, ProviderError>) {
        self.end = match outcome {
            Ok(response) if tells_of_failure(response.status()) => End::Failed,
            Ok(_) => End::Answered,
            Err(error) if is_refusal(self.half, error) => End::Refused,
            Err(_) => End::Failed,
        };
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let Self { hybrid, half, since, end } = self;
        if *half == Half::Container {
            hybrid.sent.fetch_sub(1, Relaxed);
        }
        let (time, took, now) = (&hybrid.times[half.index()], since.elapsed(), hybrid.since.elapsed());
        match end {
            End::Open => {
                time.unanswered(took, now);
                hybrid.series.count(*half, None);
            }
            End::Answered => {
                time.answered(took, now);
                hybrid.series.count(*half, Some(took));
            }
            End::Failed => {
                time.failed(took, now);
                hybrid.series.count(*half, Some(took));
            }
            End::Refused => {}
        }
    }
}

/// Whether a half that answers so should be preferred for being quick.
fn tells_of_failure(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// Whether a half certainly did nothing with the invocation, so that the other may be asked.
///
/// Of the module: no slot, or no code in memory. Of containers: none that took the request.
pub(super) fn is_refusal(half: Half, error: &ProviderError) -> bool {
    use ProviderError as E;
    match half {
        Half::Wasm => matches!(error, E::Saturated { .. } | E::UnknownFunction(_)) || is_not_loaded(error),
        Half::Container => matches!(
            error,
            E::Saturated { .. }
                | E::UnknownFunction(_)
                | E::Unavailable { .. }
                | E::StartFailed { .. }
                | E::StartTimedOut { .. }
        ),
    }
}

/// Whether the module's code is what is missing.
pub(super) fn is_not_loaded(error: &ProviderError) -> bool {
    use ProviderError as E;
    matches!(error, E::UnknownModule(_) | E::InvalidModule(_) | E::OutOfStorage(_) | E::Internal { .. })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bramble_provider::{Digest, FunctionName};
    use prometheus::Registry;

    use super::super::Families;
    use super::*;

    fn name() -> FunctionName {
        FunctionName::parse("echo").unwrap()
    }

    fn saturated() -> ProviderError {
        ProviderError::Saturated { name: name(), inflight: 1, queued: 1, retry_after: Duration::ZERO }
    }

    /// What may have begun must not be asked again: it may have had effects.
    #[test]
    fn what_may_have_begun_is_no_refusal() {
        let begun = [
            ProviderError::FunctionFailed { name: name(), reason: "exit status 1".into() },
            ProviderError::InvalidResponse { name: name(), reason: "it broke off".into() },
            ProviderError::TimedOut { name: name(), timeout: Duration::ZERO },
        ];
        for error in &begun {
            assert!(!is_refusal(Half::Wasm, error) && !is_refusal(Half::Container, error), "{error}");
        }
        for half in [Half::Wasm, Half::Container] {
            assert!(is_refusal(half, &saturated()));
            assert!(is_refusal(half, &ProviderError::UnknownFunction(name())));
        }
        let missing = ProviderError::UnknownModule(Digest::from_sha256([0; 32]));
        assert!(is_refusal(Half::Wasm, &missing) && is_not_loaded(&missing));
        // A daemon's fault of an unknown kind may come after the request was sent.
        assert!(!is_refusal(Half::Container, &ProviderError::internal("x", "y")));
    }

    #[test]
    fn only_what_a_half_took_is_counted_and_only_answers_look_fast() {
        let hybrid = Hybrid::new(name(), Families::register(&Registry::new()).unwrap());
        let attempt = |outcome: Option<Result<Response<Body>, ProviderError>>| {
            let mut attempt = Attempt::begin(&hybrid, Half::Container);
            assert_eq!(hybrid.sent.load(Relaxed), 1);
            outcome.inspect(|outcome| attempt.ended(outcome));
            drop(attempt);
            assert_eq!(hybrid.sent.load(Relaxed), 0);
            let figures = hybrid.figures(Half::Container);
            (figures.invocations, figures.service_seconds.unwrap_or_default())
        };
        let status = |code| Some(Ok(Response::builder().status(code).body(Body::empty()).unwrap()));
        assert_eq!(attempt(Some(Err(saturated()))), (0, 0.0));
        assert_eq!(attempt(None), (1, 0.0));
        let (count, quick) = attempt(status(200));
        assert!(count == 2 && quick > 0.0 && quick < 0.1);
        let (count, slow) = attempt(status(503));
        assert!(count == 3 && slow > quick + 0.1);
        assert_eq!(hybrid.figures(Half::Wasm).invocations, 0);
    }

    #[test]
    fn a_half_that_hangs_does_not_look_fast() {
        let hybrid = Hybrid::new(name(), Families::register(&Registry::new()).unwrap());
        let since = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let mut attempt = Attempt::begin(&hybrid, Half::Wasm);
        attempt.since = since;
        drop(attempt);
        let figures = hybrid.figures(Half::Wasm);
        assert!(figures.invocations == 1 && figures.service_seconds.unwrap() >= 60.0, "{figures:?}");
    }
}
