//! From 0 replicas up and back to 0, by the gateway's own scaler, under a load that rises and ends.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::effort::Effort;
use super::programs::Sample;
use super::results::{Runtime, Timeline, TimelinePoint};
use super::subject::{Door, Function, Subject};
use super::warm::quantiles;
use crate::api::Api;
use crate::hybrid::replay::{Answer, Call, replay};
use crate::hybrid::session::Session;
use crate::report::progress;
use crate::stats::Latencies;
use crate::wait;

/// The length of a point.
const INTERVAL: Duration = Duration::from_millis(500);
/// Between two looks at the replicas.
const LOOK: Duration = Duration::from_millis(100);
/// Before the first request.
const LEAD: Duration = Duration::from_secs(1);
/// Longest wait for the last replica to go.
const GONE: Duration = Duration::from_secs(20);
/// Requests per second that one replica is asked for, the most replicas, and the idle time until none is left.
const TARGET: &str = "25";
const MOST: &str = "8";
const IDLE: &str = "3s";

/// Replicas at one moment.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Duration,
    there: u64,
    desired: u64,
}

/// Deploys a program as one runtime or the other, and lets the scaler follow a load.
///
/// # Errors
/// When it cannot be deployed, no answer comes, or the replicas cannot be seen.
pub(super) fn measure(
    subject: &Subject,
    sample: &Sample,
    runtime: Runtime,
    effort: &Effort,
) -> Result<Timeline> {
    progress(format_args!("0 to N to 0: {}, {runtime:?}", sample.name));
    let function = deploy(subject, sample, runtime)?;
    subject.scale_to_zero(&function)?;
    let requests = schedule(effort.steps, effort.step);
    let over = AtomicBool::new(false);
    let (door, name, started) = (subject.door(), &function.name, Instant::now());
    let expected = sample.answer().context("a program that never answered")?;
    let (answers, seen) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| watch(&door, name, started, &over));
        wait::pause(LEAD);
        let began = started.elapsed();
        let call = Call { address: subject.address, function: name, body: &sample.body, expected };
        let answers = replay(call, &Session(requests.clone()));
        let gone = answers.as_ref().map_err(|_| ()).map(|_| none_left(&door, name));
        over.store(true, Relaxed);
        let seen = watch.join().expect("the watch does not panic");
        // Replicas that do not go are in the points.
        drop(gone);
        (answers.map(|answers| (began, answers)), seen)
    });
    let (began, answers) = answers?;
    let due: Vec<Duration> = requests.iter().map(|due| began + *due).collect();
    subject.remove(&function)?;
    Ok(Timeline { program: sample.name.clone(), runtime, points: points(&due, &answers, &seen?) })
}

fn deploy(subject: &Subject, sample: &Sample, runtime: Runtime) -> Result<Function> {
    let labels = BTreeMap::from([
        ("com.openfaas.scale.zero", "true".to_owned()),
        ("com.openfaas.scale.zero-duration", IDLE.to_owned()),
        ("com.openfaas.scale.target", TARGET.to_owned()),
        ("com.openfaas.scale.min", "0".to_owned()),
        ("com.openfaas.scale.max", MOST.to_owned()),
    ]);
    let (name, image) = match runtime {
        Runtime::Wasm => {
            let digest = subject.api()?.put_module(&sample.unseen())?;
            subject.stored(&digest);
            ("timeline-wasm", digest)
        }
        Runtime::Container => ("timeline-container", sample.image.clone()),
    };
    let function = Function { name: subject.name(name), runtime };
    subject.deploy(&function.name, &image, sample, &labels)?;
    let answer = subject.api()?.invoke(&function.name, &sample.body)?;
    sample.check(runtime, &answer)?;
    Ok(function)
}

/// When requests fall due, step by step.
fn schedule(steps: &[f64], step: Duration) -> Vec<Duration> {
    let mut due = Vec::new();
    for (at, rate) in steps.iter().enumerate() {
        let begins = step.as_secs_f64() * at as f64;
        // Divided each time: a sum of tenths stays below 1 for one request too many.
        let after = (0_u32..).map(|request| f64::from(request) / rate);
        let within = after.take_while(|after| *after < step.as_secs_f64());
        due.extend(within.map(|after| Duration::from_secs_f64(begins + after)));
    }
    due
}

/// Looks at the replicas until it is over.
fn watch(door: &Door, name: &str, started: Instant, over: &AtomicBool) -> Result<Vec<Seen>> {
    let mut api = door.api()?;
    let mut seen = Vec::new();
    while !over.load(Relaxed) {
        let (there, desired) = replicas(&mut api, name)?;
        seen.push(Seen { at: started.elapsed(), there, desired });
        wait::pause(LOOK);
    }
    Ok(seen)
}

fn replicas(api: &mut Api, name: &str) -> Result<(u64, u64)> {
    let status = api.request("GET", &format!("/system/function/{name}"), None)?;
    let number = |field: &str| status[field].as_u64().unwrap_or_default();
    Ok((number("availableReplicas"), number("replicas")))
}

fn none_left(door: &Door, name: &str) -> Result<()> {
    let mut api = door.api()?;
    wait::until("no replica left", GONE, LOOK, || Ok((replicas(&mut api, name)? == (0, 0)).then_some(())))?;
    // One more point at 0.
    wait::pause(INTERVAL);
    Ok(())
}

/// What was asked, answered and there, interval by interval.
fn points(due: &[Duration], answers: &[Answer], seen: &[Seen]) -> Vec<TimelinePoint> {
    let ended = |(due, answer): (&Duration, &Answer)| *due + answer.latency;
    let last_answer = due.iter().zip(answers).map(ended).max().unwrap_or_default();
    let end = last_answer.max(seen.last().map_or(Duration::ZERO, |seen| seen.at));
    let mut points = Vec::new();
    let mut begin = Duration::ZERO;
    while begin < end {
        let next = begin + INTERVAL;
        let within = |at: Duration| (begin..next).contains(&at);
        let offered = due.iter().filter(|due| within(**due)).count();
        let (mut latencies, mut right, mut failed) = (Latencies::new(), 0_u64, 0);
        for (_, answer) in due.iter().zip(answers).filter(|pair| within(ended(*pair))) {
            if answer.right {
                right += 1;
                latencies.record(answer.latency);
            } else {
                failed += 1;
            }
        }
        let now = seen.iter().rev().find(|seen| seen.at < next);
        let told = (right > 0).then(|| quantiles(&latencies));
        let per_second = |count: f64| count / INTERVAL.as_secs_f64();
        points.push(TimelinePoint {
            at_seconds: next.as_secs_f64(),
            offered_per_second: per_second(offered as f64),
            requests_per_second: per_second(right as f64),
            failed,
            replicas: now.map_or(0, |now| now.there),
            desired_replicas: now.map_or(0, |now| now.desired),
            p50_ns: told.map(|told| told.p50_ns),
            p99_ns: told.map(|told| told.p99_ns),
        });
        begin = next;
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn every_step_has_its_rate() {
        let due = schedule(&[10.0, 20.0], Duration::from_secs(1));
        assert_eq!(due.len(), 30);
        assert!(due.is_sorted() && due[10] == Duration::from_secs(1));
    }

    #[test]
    fn an_answer_belongs_to_the_interval_in_which_it_came() {
        let due = [MS(100), MS(200), MS(300)];
        let answer = |latency, right| Answer { latency, right };
        // The first one waited for a replica until the second interval.
        let answers = [answer(MS(600), true), answer(MS(10), true), answer(MS(5), false)];
        let seen = [Seen { at: MS(400), there: 0, desired: 1 }, Seen { at: MS(900), there: 1, desired: 1 }];
        let points = points(&due, &answers, &seen);
        let told: Vec<_> =
            points.iter().map(|it| (it.offered_per_second, it.requests_per_second, it.failed)).collect();
        assert_eq!(told, [(6.0, 2.0, 1), (0.0, 2.0, 0)]);
        assert_eq!((points[0].replicas, points[1].replicas), (0, 1));
        assert!(points[1].p50_ns.unwrap() >= 599_000_000);
    }
}
