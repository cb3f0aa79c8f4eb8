//! Waiting for a condition with a limit, and ending early when somebody presses Ctrl-C.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::signal::unix::{SignalKind, signal};

/// Somebody wants an end. Global, as a signal is.
static STOPPED: AtomicBool = AtomicBool::new(false);

/// From now on a first Ctrl-C or SIGTERM makes the bench end by itself, so that it cleans up;
/// a second one ends it at once.
///
/// # Errors
/// When signals cannot be watched.
pub(crate) fn watch_signals() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot watch signals")?;
    let (mut interrupt, mut terminate) = {
        let _within = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let stop = async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        STOPPED.store(true, Ordering::Relaxed);
        crate::report::progress("ending: removing what was deployed; once more ends at once and leaves it");
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    };
    std::thread::spawn(move || {
        runtime.block_on(stop);
        leave();
    });
    Ok(())
}

#[expect(clippy::exit, reason = "somebody has asked twice")]
fn leave() {
    std::process::exit(130);
}

/// # Errors
/// When somebody wants an end.
pub(crate) fn go_on() -> Result<()> {
    ensure!(!STOPPED.load(Ordering::Relaxed), "ended by a signal");
    Ok(())
}

/// Asks every `interval`, at most for `limit`, until there is something.
///
/// # Errors
/// When there is nothing in time, what was asked failed, or somebody wants an end.
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    interval: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        go_on()?;
        ensure!(started.elapsed() < limit, "{what}: not within {limit:?}");
        pause(interval);
    }
}

/// A moment without work, for the machine to come to rest.
#[expect(clippy::disallowed_methods, reason = "this is the wait for a condition with a limit")]
pub(crate) fn pause(interval: Duration) {
    std::thread::sleep(interval);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_comes_is_given_up() {
        let never = || Ok(None::<()>);
        let error = until("the moon", Duration::ZERO, Duration::ZERO, never).unwrap_err();
        assert!(error.to_string().starts_with("the moon"));
    }
}
