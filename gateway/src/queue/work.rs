//! The workers: whose turn it is, durably started, invoked, and what becomes of the answer.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bramble_provider::{Body, Invocation, Runtime};
use http::{HeaderValue, Method, Request, Uri};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Queue;
use super::book::{Ended, LONGEST_WAIT, Lapsed, Room, Turn, Why};
use super::call::{BodyPlace, Call};
use super::callback::{self, CallbackUrl, Message};
use super::disk::{Change, Read};
use super::metrics::Outcome;
use super::retry::Retry;
use crate::error::causes;
use crate::invoke::{PREFIX, internal};
use crate::state::Gateway;
use crate::store::record::unix_nanos;

/// Longest between two looks when nothing happens: functions may have gone or got room.
const LOOK: Duration = Duration::from_secs(1);

/// Wait after the disk refused a start.
const DISK_PAUSE: Duration = Duration::from_secs(1);

/// Most calls that are buried between two turns, of those that waited in vain.
const MAX_BURIED: usize = 1_024;

/// The workers while they run.
#[derive(Debug)]
#[must_use = "no call is run any more once this is dropped"]
pub(crate) struct Workers {
    stop: CancellationToken,
    dispatcher: JoinHandle<()>,
    running: TaskTracker,
    queue: Arc<Queue>,
}

/// Starts running what waits.
pub(crate) fn start(gateway: &Arc<Gateway>) -> Workers {
    let (stop, running) = (CancellationToken::new(), TaskTracker::new());
    let dispatcher = Dispatcher { gateway: gateway.clone(), running: running.clone() };
    let stopped = stop.clone();
    let dispatcher = tokio::spawn(async move {
        stopped.run_until_cancelled(dispatcher.run()).await;
    });
    Workers { stop, dispatcher, running, queue: gateway.queue.clone() }
}

impl Workers {
    /// Begins no more calls. What waits stays on the disk.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until what runs has ended, and is on the disk as such.
    pub(crate) async fn drained(&mut self) {
        // A panic of it was told already.
        let _ended = (&mut self.dispatcher).await.is_ok();
        self.running.close();
        self.running.wait().await;
    }

    /// Has on the disk what was decided until now.
    pub(crate) async fn flush(&self) {
        self.queue.flush().await;
    }
}

struct Dispatcher {
    gateway: Arc<Gateway>,
    running: TaskTracker,
}

impl Dispatcher {
    fn queue(&self) -> &Arc<Queue> {
        &self.gateway.queue
    }

    async fn run(self) {
        let mut looked = Instant::now();
        loop {
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.bury_lapsed().await;
                self.queue().disk.settle().await;
            }
            let now = Instant::now();
            let turns = self.queue().book.lock().take(now, |name| self.room(name.as_str()));
            if turns.is_empty() {
                let next = self.queue().book.lock().next_wake();
                let wait = next.map_or(LOOK, |at| at.saturating_duration_since(now).min(LOOK));
                tokio::select! {
                    () = self.queue().wake.notified() => {}
                    () = sleep(wait.max(Duration::from_millis(1))) => {}
                }
                continue;
            }
            self.begin(turns).await;
        }
    }

    /// How many calls of a function may run. It is not asked what the function would refuse anyway.
    fn room(&self, name: &str) -> Room {
        let Some(function) = self.gateway.functions.get(name) else { return Room::Gone };
        let replicas = match function.runtime {
            Runtime::Container => function.desired().max(1),
            Runtime::Wasm | Runtime::Hybrid => 1,
        };
        // What else runs of it takes its share: then it is tried again after a pause.
        Room::Most(function.settings.max_inflight.map_or(u32::MAX, |each| each.saturating_mul(replicas)))
    }

    /// Has the starts on the disk, and then runs them.
    async fn begin(&self, turns: Vec<Turn>) {
        let starts = turns.iter().map(|turn| Change::Start { sequence: turn.sequence, starts: turn.starts });
        match self.queue().disk.write(starts.collect()).await {
            Ok(mut reads) => {
                for turn in turns {
                    // What is not there was cancelled meanwhile.
                    let found = reads.iter().position(|read| read.sequence == turn.sequence);
                    match found.map(|place| reads.swap_remove(place)) {
                        Some(read) => {
                            let gateway = self.gateway.clone();
                            self.running.spawn(async move { Box::pin(run(&gateway, read)).await });
                        }
                        None => self.queue().end(turn.sequence, None, Ended::Cancelled).await,
                    }
                }
            }
            Err(refused) => {
                tracing::warn!(error = causes(&*refused), "queued invocations wait for the disk");
                for turn in turns {
                    self.queue().turn_back(turn.sequence).await;
                }
                sleep(DISK_PAUSE).await;
            }
        }
    }

    async fn bury_lapsed(&self) {
        let lapsed = self.queue().book.lock().take_lapsed(Instant::now(), MAX_BURIED);
        for Lapsed { sequence, starts, why, calls_back } in lapsed {
            let reason = match why {
                Why::Gone => "its function was removed before it ran".to_owned(),
                Why::Overdue => format!("its function did not take it within {LONGEST_WAIT:?}"),
            };
            if calls_back {
                let queue = self.queue().clone();
                self.running.spawn(async move { tell_and_bury(&queue, sequence, starts, reason).await });
            } else {
                self.queue().bury(sequence, None, reason).await;
            }
        }
    }
}

/// Tells whoever waits for a call's answer that there will be none, and makes it a dead letter.
async fn tell_and_bury(queue: &Queue, sequence: u64, starts: u32, reason: String) {
    // With as many starts as there were, this only reads it.
    let read = queue.disk.write(vec![Change::Start { sequence, starts }]).await;
    let call = read.ok().and_then(|mut reads| reads.pop()).map(|read| read.call);
    let reason = match &call {
        Some(call) => tell_unrun(queue, call, reason).await,
        None => reason,
    };
    queue.bury(sequence, None, reason).await;
}

/// Sends on that a call did not run, where that is wanted. Answers the reason for its end.
async fn tell_unrun(queue: &Queue, call: &Call, reason: String) -> String {
    let Some(Ok(url)) = call.callback.as_deref().map(CallbackUrl::parse) else { return reason };
    match queue.callbacks.deliver(&url, &Message::of_unrun(call)).await {
        Ok(()) => reason,
        Err(failed) => format!("{reason}; {failed}"),
    }
}

/// Runs a call that is durably started, to whatever end.
async fn run(gateway: &Gateway, read: Read) {
    let (queue, sequence, starts) = (&gateway.queue, read.sequence, read.starts);
    let stop = queue.book.lock().stop_of(sequence);
    let Some(ran) = stop.run_until_cancelled(invoke(gateway, read)).await else {
        return queue.end(sequence, None, Ended::Cancelled).await;
    };
    let (call, retry, ended) = match ran {
        Ok(answered) => answered,
        Err(NotRun::Refused) => {
            // First on the disk's way: the next start of it must come after this.
            let starts = starts - 1;
            queue.disk.write_later(Change::Wait { sequence, starts, not_before_unix_nanos: 0 }).await;
            return queue.turn_back(sequence).await;
        }
        Err(NotRun::Impossible(call, reason)) => {
            if !queue.book.lock().call_back(sequence) {
                return queue.end(sequence, None, Ended::Cancelled).await;
            }
            let reason = tell_unrun(queue, &call, reason).await;
            return queue.bury(sequence, None, reason).await;
        }
    };
    let status = ended.status.as_u16();
    queue.book.lock().ran(sequence);
    if stop.is_cancelled() {
        return queue.end(sequence, Some(status), Ended::Cancelled).await;
    }
    let failed = retry.is_failure(status);
    if failed && starts <= retry.attempts {
        return again(queue, sequence, (starts, status), &retry).await;
    }
    let told = match call.callback.as_deref().map(CallbackUrl::parse) {
        None => Ok(()),
        Some(Err(reason)) => Err(format!("the callback's address {reason}")),
        Some(Ok(url)) => {
            if !queue.book.lock().call_back(sequence) {
                return queue.end(sequence, Some(status), Ended::Cancelled).await;
            }
            queue.wake.notify_one();
            queue.callbacks.deliver(&url, &Message::of(&call.function, ended)).await
        }
    };
    match told {
        _ if failed => {
            let tries = if starts == 1 { "1 run".to_owned() } else { format!("{starts} runs") };
            queue
                .bury(sequence, Some(status), format!("the function answered {status}, after {tries}"))
                .await;
        }
        Ok(()) => queue.end(sequence, Some(status), Ended::Done).await,
        Err(reason) => queue.bury(sequence, Some(status), reason).await,
    }
}

async fn again(queue: &Queue, sequence: u64, (starts, status): (u32, u16), retry: &Retry) {
    let wait = retry.wait(starts, fastrand::f64());
    let not_before_unix_nanos = unix_nanos(SystemTime::now() + wait);
    queue.disk.write_later(Change::Wait { sequence, starts, not_before_unix_nanos }).await;
    if !queue.book.lock().retry(sequence, Instant::now() + wait) {
        return queue.end(sequence, Some(status), Ended::Cancelled).await;
    }
    queue.metrics.completed(Outcome::Retried);
    queue.wake.notify_one();
}

impl Queue {
    /// A call that was taken did not run: it waits again, unless it was cancelled meanwhile.
    async fn turn_back(&self, sequence: u64) {
        let starts = self.book.lock().turn_back(sequence, Instant::now());
        match starts {
            Some(_) => self.wake.notify_one(),
            None => self.end(sequence, None, Ended::Cancelled).await,
        }
    }
}

/// Why a call did not run.
enum NotRun {
    /// Its function had no room for it, or is gone at the moment, or its runtime is away.
    Refused,
    /// It never will.
    Impossible(Box<Call>, String),
}

async fn invoke(gateway: &Gateway, read: Read) -> Result<(Call, Retry, internal::Ended), NotRun> {
    let Read { starts, call, body, .. } = read;
    let function = gateway.functions.get(call.function.as_str()).ok_or(NotRun::Refused)?;
    let body = match &call.body {
        BodyPlace::Inline { .. } => Body::whole(body),
        BodyPlace::File { name, .. } => match gateway.queue.spool.read(name).await {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(%error, call_id = call.id, "the body of a queued invocation cannot be read");
                let reason = format!("its body cannot be read: {error}");
                return Err(NotRun::Impossible(Box::new(call), reason));
            }
        },
    };
    // They were checked when it was deployed.
    let retry = Retry::read(&function.spec.annotations).unwrap_or_default();
    let Some(request) = request(&call, starts - 1, retry.attempts) else {
        let reason = "its path is no path of a request any more".to_owned();
        return Err(NotRun::Impossible(Box::new(call), reason));
    };
    let path_offset = PREFIX.len() + call.function.as_str().len();
    let started_at = SystemTime::now();
    let call_id = call.call_id();
    let invocation = Invocation { call_id, request, path_offset, body, peer: None, started_at };
    match internal::call(gateway, function, invocation, callback::MAX_BODY_BYTES).await {
        Ok(ended) => Ok((call, retry, ended)),
        Err(refusal) => {
            tracing::debug!(call_id = call.id, error = causes(&refusal), "a queued invocation waits");
            Err(NotRun::Refused)
        }
    }
}

/// The request as it came, and how often it may have run before.
fn request(call: &Call, retried: u32, attempts: u32) -> Option<http::request::Parts> {
    let uri: Uri = format!("{PREFIX}{}{}", call.function, call.path).parse().ok()?;
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::POST;
    parts.uri = uri;
    parts.headers = call.header_map();
    // Whoever queued it may have done so before, as another gateway's callback.
    let before = parts.headers.remove("x-retry").and_then(|value| value.to_str().ok()?.parse().ok());
    let retried = retried.saturating_add(before.unwrap_or(0_u32));
    parts.headers.remove("x-retry-max");
    if retried > 0 {
        parts.headers.insert("x-retry", HeaderValue::from(retried));
    }
    if attempts > 0 {
        parts.headers.insert("x-retry-max", HeaderValue::from(attempts));
    }
    Some(parts)
}
