//! Replaying a session by the clock, whatever becomes of its requests.
//!
//! The load generator (`load`) stops at the first answer that is not as it should be, and knows one rate;
//! here a failure is counted, and each request has an instant of its own.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::thread::set_current_timer_slack;

use super::session::Session;
use crate::api::Api;
use crate::wait;

/// Connections, and so requests that are on their way at once. One that is due while all are busy is sent
/// late, and its latency counts from when it was due.
const CONNECTIONS: usize = 64;
/// For all senders to be ready.
const READY: Duration = Duration::from_millis(30);
/// By how much the kernel may be late with a timer; 50 µs of its own accord.
const SLACK_NS: NonZeroU64 = NonZeroU64::MIN;
/// Between two looks at whether somebody wants an end.
const PATIENCE: Duration = Duration::from_millis(200);

/// What came of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    /// From the instant it was due to the end of its answer.
    pub(crate) latency: Duration,
    /// Whether it was 200 and what was expected.
    pub(crate) right: bool,
}

/// Whom to ask, for what, and what they are to answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) function: &'a str,
    pub(crate) body: &'a [u8],
    pub(crate) expected: &'a [u8],
}

/// Sends the requests of a session; the answers are in the order of the requests.
///
/// # Errors
/// When the gateway does not take connections, or somebody wants an end.
pub(crate) fn replay(call: Call<'_>, Session(requests): &Session) -> Result<Vec<Answer>> {
    let senders = CONNECTIONS.min(requests.len());
    let connections = (0..senders).map(|_| Api::connect(call.address)).collect::<Result<Vec<_>>>()?;
    let (next, started) = (AtomicUsize::new(0), Instant::now() + READY);
    let send = |mut api: Api| -> Result<Vec<(usize, Answer)>> {
        set_current_timer_slack(Some(SLACK_NS)).context("cannot ask for exact timers")?;
        let mut answers = Vec::new();
        loop {
            let at = next.fetch_add(1, Relaxed);
            let Some(&offset) = requests.get(at) else { return Ok(answers) };
            let due = started + offset;
            until(due)?;
            let answer = api.invoke(call.function, call.body);
            let latency = due.elapsed();
            let right = answer.as_ref().is_ok_and(|body| body == call.expected);
            answers.push((at, Answer { latency, right }));
            if answer.is_err() {
                // Nobody knows where its stream is.
                api = Api::connect(call.address)?;
            }
        }
    };
    let mut answers = std::thread::scope(|scope| {
        let senders: Vec<_> = connections.into_iter().map(|api| scope.spawn(|| send(api))).collect();
        let join =
            |sender: std::thread::ScopedJoinHandle<'_, _>| sender.join().expect("a sender does not panic");
        senders.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?
    .concat();
    answers.sort_by_key(|(at, _)| *at);
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}

fn until(due: Instant) -> Result<()> {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        wait::go_on()?;
        wait::pause(left.min(PATIENCE));
    }
}
