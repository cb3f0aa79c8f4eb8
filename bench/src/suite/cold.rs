//! Cold starts, split into their parts: bytes never seen, 0 replicas, frozen containers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;

use super::effort::PATIENCE;
use super::metrics::{Spent, Start};
use super::programs::Sample;
use super::results::{ColdKind, ColdStart, ColdStarts, Part, PartTime, Runtime};
use super::subject::{Function, LOOK, Subject};
use crate::containers::docker::Birth;
use crate::wait;

/// After the end of a container, for the daemon to finish with it.
const REST: Duration = Duration::from_millis(500);
/// How long a container is paused.
const PAUSED: Duration = Duration::from_millis(20);
/// Longest wait for the Swarm to say that a task runs.
const TOLD: Duration = Duration::from_secs(5);

/// One invocation that was timed.
struct Timed {
    began: Timestamp,
    took: Duration,
    start: Start,
}

/// Deploys a module that was never seen, so often; the last one stays. Its cold starts are from the upload to
/// the first answer.
///
/// # Errors
/// When the gateway refuses it, or an answer is wrong.
pub(super) fn new_wasm(subject: &Subject, sample: &Sample, count: usize) -> Result<(Function, ColdStarts)> {
    let mut samples = Vec::new();
    let began = Instant::now();
    loop {
        wait::go_on()?;
        let wasm = sample.unseen();
        let mut api = subject.api()?;
        let function =
            Function { name: subject.name(&format!("{}-wasm", sample.name)), runtime: Runtime::Wasm };
        let started = Instant::now();
        let digest = api.put_module(&wasm)?;
        let stored = started.elapsed();
        subject.stored(&digest);
        // Stored already: all that is left is to take the bytes and to look at them.
        let again = Instant::now();
        api.put_module(&wasm)?;
        let upload = again.elapsed().min(stored);
        let deploying = Instant::now();
        subject.deploy(&function.name, &digest, sample, &BTreeMap::new())?;
        let deployed = deploying.elapsed();
        let first = timed(subject, sample, &function)?;
        let mut parts = vec![part(Part::Upload, upload), part(Part::Compile, stored - upload)];
        parts.extend(wasm_parts(first.took, first.start));
        samples.push(ColdStart { total_ns: nanos(stored + deployed + first.took), parts });
        if samples.len() >= count || began.elapsed() > PATIENCE {
            return Ok((function, ColdStarts { kind: ColdKind::New, samples, next_ns: Vec::new() }));
        }
        subject.remove(&function)?;
    }
}

/// Deploys an image; its cold start is from the request to deploy to the first answer.
///
/// # Errors
/// When the gateway refuses it, it does not start, or an answer is wrong.
pub(super) fn new_container(subject: &Subject, sample: &Sample) -> Result<(Function, ColdStarts)> {
    let name = subject.name(&format!("{}-container", sample.name));
    let function = Function { name, runtime: Runtime::Container };
    // One replica whatever comes: what is compared are the runtimes, not how they are scaled.
    let labels = BTreeMap::from([("com.openfaas.scale.factor", "0".to_owned())]);
    let (began, started) = (Timestamp::now(), Instant::now());
    subject.deploy(&function.name, &sample.image, sample, &labels)?;
    let deployed = started.elapsed();
    let first = timed(subject, sample, &function)?;
    let took = deployed + first.took;
    let birth = birth(subject, &function);
    // Deploying comes before the wait that the gateway tells of.
    let ready = first.start.waited.map(|waited| deployed + waited);
    let parts = container_parts(began, took, birth, ready);
    let samples = vec![ColdStart { total_ns: nanos(took), parts }];
    Ok((function, ColdStarts { kind: ColdKind::New, samples, next_ns: Vec::new() }))
}

/// Starts of a function from 0 replicas, one by one, so that others can have their turns between them.
pub(super) struct FromZero<'a> {
    subject: &'a Subject,
    sample: &'a Sample,
    function: &'a Function,
    replicas: u32,
    starts: ColdStarts,
}

impl<'a> FromZero<'a> {
    /// # Errors
    /// When the gateway does not know the function.
    pub(super) fn of(subject: &'a Subject, sample: &'a Sample, function: &'a Function) -> Result<Self> {
        let starts = ColdStarts { kind: ColdKind::FromZero, samples: Vec::new(), next_ns: Vec::new() };
        Ok(Self { subject, sample, function, replicas: subject.replicas(function)?, starts })
    }

    /// Scales it to 0 and asks it.
    ///
    /// # Errors
    /// When it does not go, does not come back, or an answer is wrong.
    pub(super) fn start(&mut self) -> Result<()> {
        wait::go_on()?;
        let Self { subject, sample, function, .. } = *self;
        subject.scale_to_zero(function)?;
        if function.runtime == Runtime::Container {
            wait::pause(REST);
        }
        let first = timed(subject, sample, function)?;
        let parts = match function.runtime {
            Runtime::Wasm => wasm_parts(first.took, first.start),
            Runtime::Container => {
                let birth = birth(subject, function);
                container_parts(first.began, first.took, birth, first.start.waited)
            }
        };
        self.starts.samples.push(ColdStart { total_ns: nanos(first.took), parts });
        self.starts.next_ns.push(nanos(timed(subject, sample, function)?.took));
        Ok(())
    }

    /// Gives the function back the replicas that it had, as a request brings fewer back.
    ///
    /// # Errors
    /// When the gateway refuses them.
    pub(super) fn finish(self) -> Result<ColdStarts> {
        self.subject.api()?.scale(&self.function.name, self.replicas)?;
        Ok(self.starts)
    }
}

/// Freezes the one replica of a function and asks it, so often.
///
/// # Errors
/// When it cannot be frozen, does not thaw, or an answer is wrong.
pub(super) fn frozen(
    subject: &Subject,
    sample: &Sample,
    function: &Function,
    count: usize,
) -> Result<ColdStarts> {
    let mut starts = ColdStarts { kind: ColdKind::Frozen, samples: Vec::new(), next_ns: Vec::new() };
    let mut api = subject.api()?;
    let began = Instant::now();
    while starts.samples.len() < count && began.elapsed() < PATIENCE {
        wait::go_on()?;
        let done = api.request("POST", &format!("/system/freeze-function/{}", function.name), None)?;
        ensure!(done["frozen"] == 1, "one replica of {} was to be frozen: {done}", function.name);
        wait::pause(PAUSED);
        let first = timed(subject, sample, function)?;
        let thaw = first.start.waited.filter(|waited| *waited <= first.took);
        let parts = thaw.map_or_else(Vec::new, |thaw| {
            vec![part(Part::Thaw, thaw), part(Part::FirstByte, first.took - thaw)]
        });
        starts.samples.push(ColdStart { total_ns: nanos(first.took), parts });
        starts.next_ns.push(nanos(timed(subject, sample, function)?.took));
    }
    Ok(starts)
}

/// One invocation on a connection of its own that is there before the clock starts, and what the gateway
/// spent on it; the answer is checked.
fn timed(subject: &Subject, sample: &Sample, function: &Function) -> Result<Timed> {
    let spent = || -> Result<Option<Spent>> {
        Ok(subject.metrics()?.map(|metrics| metrics.spent(&function.name, function.runtime)))
    };
    let before = spent()?;
    let mut api = subject.api()?;
    let (began, started) = (Timestamp::now(), Instant::now());
    let answer = api.invoke(&function.name, &sample.body);
    let took = started.elapsed();
    sample.check(function.runtime, &answer.with_context(|| format!("invoking {}", sample.name))?)?;
    let start = spent()?.zip(before).map(|(after, before)| after.since(before));
    Ok(Timed { began, took, start: start.unwrap_or(Start { waited: None, instantiating: None }) })
}

/// When a function's one replica came to be; `None` when no Docker here tells it. The Swarm says that a task
/// runs some time after the gateway has sent it a request.
fn birth(subject: &Subject, function: &Function) -> Option<Birth> {
    let docker = subject.docker.as_ref()?;
    wait::until("the Swarm's word on a task", TOLD, LOOK, || docker.birth(&function.name)).ok()
}

/// The parts of a first invocation, as the gateway tells them.
pub(super) fn wasm_parts(took: Duration, start: Start) -> Vec<PartTime> {
    let told = [(Part::Load, start.waited), (Part::Instantiate, start.instantiating)];
    let mut parts: Vec<PartTime> = told.into_iter().filter_map(|(is, time)| Some(part(is, time?))).collect();
    let known = start.waited.unwrap_or_default() + start.instantiating.unwrap_or_default();
    match took.checked_sub(known) {
        Some(rest) if !parts.is_empty() => parts.push(part(Part::FirstByte, rest)),
        _ => parts.clear(),
    }
    parts
}

/// The parts of a container's start: `ready` is when the gateway had a replica, since it began. None when the
/// clocks do not fit together.
fn container_parts(
    began: Timestamp,
    took: Duration,
    birth: Option<Birth>,
    ready: Option<Duration>,
) -> Vec<PartTime> {
    let Some(birth) = birth else { return Vec::new() };
    let since = |at: Timestamp| Duration::try_from(at.duration_since(began)).ok();
    let ends = [
        (Part::Create, since(birth.task_created)),
        (Part::Schedule, since(birth.container_created)),
        (Part::Start, since(birth.container_started)),
        // The gateway may have been as quick as the clocks are exact.
        (Part::Connect, ready.map(|ready| ready.max(since(birth.container_started).unwrap_or_default()))),
        (Part::FirstByte, Some(took)),
    ];
    let mut parts = Vec::new();
    let mut last = Duration::ZERO;
    for (is, end) in ends {
        // Only the gateway's own wait may be unknown.
        let Some(end) = end else { if is == Part::Connect { continue } else { return Vec::new() } };
        let Some(length) = end.checked_sub(last) else { return Vec::new() };
        parts.push(part(is, length));
        last = end;
    }
    parts
}

fn part(part: Part, time: Duration) -> PartTime {
    PartTime { part, nanos: nanos(time) }
}

/// A duration as the results hold it.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn birth(began: Timestamp, at: [u64; 3]) -> Birth {
        let [task_created, container_created, container_started] = at.map(|at| began + millis(at));
        Birth { task_created, container_created, container_started }
    }

    #[test]
    fn the_parts_of_a_container_add_up_to_the_whole() {
        let began = Timestamp::now();
        let parts =
            container_parts(began, millis(500), Some(birth(began, [10, 110, 300])), Some(millis(480)));
        let times: Vec<_> = parts.iter().map(|part| part.nanos / 1_000_000).collect();
        assert_eq!(times, [10, 100, 190, 180, 20]);
    }

    #[test]
    fn without_a_clock_in_common_there_are_no_parts() {
        let began = Timestamp::now();
        assert_eq!(container_parts(began, millis(200), Some(birth(began, [10, 110, 300])), None), []);
        assert_eq!(container_parts(began, millis(200), None, None), []);
        let unknown = container_parts(began, millis(500), Some(birth(began, [10, 110, 300])), None);
        assert_eq!(unknown.last(), Some(&part(Part::FirstByte, millis(200))));
    }

    #[test]
    fn what_the_gateway_does_not_tell_is_no_part() {
        let start = Start { waited: None, instantiating: Some(millis(1)) };
        let parts = wasm_parts(millis(3), start);
        assert_eq!(parts, [part(Part::Instantiate, millis(1)), part(Part::FirstByte, millis(2))]);
        assert_eq!(wasm_parts(millis(3), Start { waited: None, instantiating: None }), []);
    }
}
