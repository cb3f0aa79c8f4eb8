//! One program in both runtimes: everything that is measured of it.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use super::cold::{self, FromZero};
use super::effort::{Effort, FROM_ZERO_PATIENCE};
use super::energy::Meter;
use super::programs::Sample;
use super::restart::{self, BUSY, busy_load, most_while, target};
use super::results::{
    ColdStarts, Energy, FunctionMemory, LoadPoint, Program, ProgramRun, Runtime, Skipped, Throughput,
};
use super::subject::{Function, Subject};
use super::warm::{self, OPEN_CONNECTIONS, Side};
use crate::load::{self, Pace, Target, WrongAnswer};
use crate::report::progress;
use crate::wait;

/// The share of the slower runtime's best at which warm latencies are compared: both get the same schedule.
const WARM_SHARE: f64 = 0.3;

/// What a program is measured with.
pub(super) struct Bench<'a> {
    pub(super) subject: &'a Subject,
    pub(super) effort: &'a Effort,
    /// The gateway's program, for what needs a process that is started again.
    pub(super) restarted: Option<&'a Path>,
    pub(super) containers: bool,
    pub(super) meter: &'a std::result::Result<Meter, String>,
    /// Whether it is the program of the headlines, which gets more starts of its container.
    pub(super) leading: bool,
}

/// A program deployed in one runtime, and what is known of it so far.
struct Contender {
    function: Function,
    target: Target,
    run: ProgramRun,
}

impl Bench<'_> {
    /// Measures a program. What containers cannot do is skipped.
    ///
    /// # Errors
    /// When the module cannot be deployed or measured, an answer is wrong, or somebody wants an end.
    pub(super) fn measure(&self, sample: &Sample, skipped: &mut Vec<Skipped>) -> Result<Program> {
        let what = |what: &str| format!("{}, {what}", sample.name);
        progress(what("deploying the module"));
        let mut contenders = vec![self.wasm(sample).with_context(|| what("wasm"))?];
        if self.containers {
            progress(what("deploying the image"));
            let container = self.container(sample);
            contenders.extend(tolerate(container, what("container"), skipped)?);
        }
        self.starts_from_zero(sample, &mut contenders, skipped)?;
        if let Some(container) = contenders.get_mut(1) {
            progress(what("container frozen"));
            let frozen = cold::frozen(self.subject, sample, &container.function, self.effort.thaws);
            container.run.cold.extend(tolerate(frozen, what("frozen container"), skipped)?);
        }
        self.loads(&sample.name, &mut contenders, skipped)?;
        for contender in &mut contenders {
            wait::go_on()?;
            progress(what("memory and energy"));
            let energy = self.busy(contender);
            tolerate(energy, what("memory and energy"), skipped)?;
        }
        if let Some(program) = self.restarted {
            progress(what("restarting a gateway"));
            let (starts, memory) = restart::measure(program, sample, self.effort.restarts, self.effort.turn)?;
            contenders[0].run.cold.push(starts);
            contenders[0].run.memory = Some(memory);
        }
        for contender in &contenders {
            self.subject.remove(&contender.function)?;
        }
        Ok(Program {
            name: sample.name.clone(),
            about: sample.about.clone(),
            request_bytes: sample.body.len() as u64,
            answer_bytes: sample.answer_bytes(),
            runtimes: contenders.into_iter().map(|contender| contender.run).collect(),
        })
    }

    fn wasm(&self, sample: &Sample) -> Result<Contender> {
        let (function, new) = cold::new_wasm(self.subject, sample, self.effort.news)?;
        Ok(self.contender(sample, function, new, Some(sample.wasm.len() as u64)))
    }

    fn container(&self, sample: &Sample) -> Result<Contender> {
        let bytes = self.subject.docker.as_ref().map(|docker| docker.image_bytes(&sample.image));
        anyhow::ensure!(
            bytes != Some(None),
            "there is no image {}: scripts/images.sh makes those of the samples",
            sample.image
        );
        let (function, new) = cold::new_container(self.subject, sample)?;
        Ok(self.contender(sample, function, new, bytes.flatten()))
    }

    /// Starts from 0 replicas in rounds: in each one of the container and some of the module, and whoever goes
    /// first in one goes last in the next. A round that began is finished.
    fn starts_from_zero(
        &self,
        sample: &Sample,
        contenders: &mut [Contender],
        skipped: &mut Vec<Skipped>,
    ) -> Result<()> {
        let rounds = self.effort.rounds_from_zero(self.leading);
        let each = |runtime| match runtime {
            Runtime::Wasm => self.effort.wasm_starts.div_ceil(rounds),
            Runtime::Container => 1,
        };
        let begin = |contender| {
            let Contender { function, .. }: &Contender = contender;
            Ok(Some(FromZero::of(self.subject, sample, function)?))
        };
        let mut sides: Vec<_> = contenders.iter().map(begin).collect::<Result<_>>()?;
        let began = Instant::now();
        for round in 0..rounds {
            if began.elapsed() > FROM_ZERO_PATIENCE {
                break;
            }
            progress(format_args!("{}, from 0: round {} of {rounds}", sample.name, round + 1));
            for at in 0..sides.len() {
                let at = (at + round) % sides.len();
                let Some(side) = &mut sides[at] else { continue };
                let runtime = contenders[at].function.runtime;
                let started = (0..each(runtime)).try_for_each(|_| side.start());
                let what = format!("{}, {runtime:?} from 0", sample.name);
                if runtime == Runtime::Wasm {
                    started.context(what)?;
                } else if tolerate(started, what, skipped)?.is_none() {
                    sides[at] = None;
                }
            }
        }
        let starts: Vec<_> =
            sides.into_iter().map(|side| side.map(FromZero::finish).transpose()).collect::<Result<_>>()?;
        for (contender, starts) in contenders.iter_mut().zip(starts) {
            contender.run.cold.extend(starts);
        }
        Ok(())
    }

    fn contender(
        &self,
        sample: &Sample,
        function: Function,
        new: ColdStarts,
        artifact_bytes: Option<u64>,
    ) -> Contender {
        let target = target(self.subject.address, &function.name, sample);
        let run = ProgramRun {
            runtime: function.runtime,
            artifact_bytes,
            deploy_ns: new.samples.iter().map(|sample| sample.total_ns).collect(),
            cold: vec![new],
            warm: None,
            throughput: Vec::new(),
            load_curve: Vec::new(),
            memory: None,
            energy: None,
        };
        Contender { function, target, run }
    }

    /// Throughput at each number of connections, latency at a schedule both bear, and latency against load.
    fn loads(&self, name: &str, contenders: &mut [Contender], skipped: &mut Vec<Skipped>) -> Result<()> {
        for &connections in &self.effort.connections {
            let what = format!("{name}, throughput at {connections}");
            let paces = contenders.iter().map(|_| Pace::Closed).collect();
            let outcomes = self.turns(&what, contenders, connections, paces, skipped)?;
            for (contender, outcomes) in contenders.iter_mut().zip(outcomes) {
                contender.run.throughput.extend(warm::throughput(connections, &outcomes));
            }
        }
        let best: Vec<f64> = contenders.iter().map(|contender| best(&contender.run.throughput)).collect();
        let slowest = best.iter().copied().filter(|best| *best > 0.0).fold(f64::INFINITY, f64::min);
        if !slowest.is_finite() {
            return Ok(());
        }
        let rates = vec![warm::paced(slowest, WARM_SHARE); contenders.len()];
        for (contender, point) in self.points(&format!("{name}, warm"), contenders, &rates, skipped)? {
            contender.run.warm = point;
        }
        for share in self.effort.loads {
            let rates: Vec<f64> = best.iter().map(|best| warm::paced(*best, *share)).collect();
            let what = format!("{name}, {:.0} % of its best", share * 100.0);
            for (contender, point) in self.points(&what, contenders, &rates, skipped)? {
                contender.run.load_curve.extend(point);
            }
        }
        Ok(())
    }

    fn points<'c>(
        &self,
        what: &str,
        contenders: &'c mut [Contender],
        rates: &[f64],
        skipped: &mut Vec<Skipped>,
    ) -> Result<Vec<(&'c mut Contender, Option<LoadPoint>)>> {
        let paces = rates.iter().map(|rate| Pace::Open(*rate)).collect();
        let outcomes = self.turns(what, contenders, OPEN_CONNECTIONS, paces, skipped)?;
        let points = rates.iter().zip(outcomes);
        let points = points.map(|(rate, outcomes)| warm::load_point(*rate, OPEN_CONNECTIONS, &outcomes));
        Ok(contenders.iter_mut().zip(points).collect())
    }

    fn turns(
        &self,
        what: &str,
        contenders: &[Contender],
        connections: usize,
        paces: Vec<Pace>,
        skipped: &mut Vec<Skipped>,
    ) -> Result<Vec<Vec<load::Outcome>>> {
        let sides: Vec<_> = contenders
            .iter()
            .zip(paces)
            .map(|(contender, pace)| Side { target: &contender.target, connections, pace })
            .collect();
        let rounds = warm::in_turns(what, &sides, self.effort.rounds, self.effort.turn)?;
        let mut outcomes = Vec::new();
        for (contender, round) in contenders.iter().zip(rounds) {
            outcomes.push(round.unwrap_or_else(|why| {
                let what = format!("{what}, {:?}", contender.function.runtime);
                skipped.push(Skipped { what, why });
                Vec::new()
            }));
        }
        Ok(outcomes)
    }

    /// What a function holds and uses while it is busy. A module's memory is that of a process, which is
    /// looked at when it has one of its own.
    fn busy(&self, contender: &mut Contender) -> Result<()> {
        let container = self.subject.container(&contender.function);
        let docker = self.subject.docker.as_ref();
        let look = || docker?.memory_bytes(container.as_deref()?).ok();
        let idle_bytes = look();
        let mut count = 0;
        let before = self.meter.as_ref().ok().and_then(Meter::read);
        let busy_bytes = most_while(look, || {
            let outcome = load::run(&contender.target, busy_load(self.effort.turn))?;
            count = outcome.latencies.percentiles().count;
            Ok(())
        })?;
        contender.run.energy = Some(self.energy(before.as_ref(), count));
        if idle_bytes.is_some() {
            contender.run.memory = Some(FunctionMemory { idle_bytes, busy_bytes, busy_inflight: BUSY });
        }
        Ok(())
    }

    fn energy(&self, before: Option<&super::energy::Reading>, count: u64) -> Energy {
        let told = self.meter.as_ref().ok().zip(before);
        let energy = told.and_then(|(meter, before)| meter.of_invocations(before, count));
        energy.unwrap_or_else(|| Energy {
            joules_per_1000: None,
            joules_per_1000_above_idle: None,
            reason: Some(self.meter.as_ref().err().map_or("the counters went away", |why| why).to_owned()),
        })
    }
}

fn best(throughput: &[Throughput]) -> f64 {
    throughput.iter().map(|at| at.requests_per_second.median).fold(0.0, f64::max)
}

/// What went wrong is skipped with its reason, but for wrong answers and when somebody wants an end.
///
/// # Errors
/// Those two.
pub(super) fn tolerate<T>(result: Result<T>, what: String, skipped: &mut Vec<Skipped>) -> Result<Option<T>> {
    wait::go_on()?;
    match result {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.is::<WrongAnswer>() => Err(error.context(what)),
        Err(error) => {
            skipped.push(Skipped { what, why: format!("{error:#}") });
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_answer_is_never_skipped() {
        let mut skipped = Vec::new();
        let wrong = Err::<(), _>(anyhow::Error::from(WrongAnswer("x".to_owned())).context("invoking"));
        assert!(tolerate(wrong, "echo".to_owned(), &mut skipped).is_err());
        let refused = Err::<(), _>(anyhow::Error::from(load::Refused { status: 503 }).context("invoking"));
        assert_eq!(tolerate(refused, "echo".to_owned(), &mut skipped).unwrap(), None);
        assert_eq!(skipped[0].why, "invoking: answered 503 instead of 200");
    }
}
