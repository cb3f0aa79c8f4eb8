//! Memory against functions, and how many fit in 512 MiB.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::results::{Memory, MemoryCurve, MemoryPoint, MemoryState, Runtime};
use super::subject::{Function, LIMIT, LOOK, Subject};
use crate::containers::ECHOIT;
use crate::idle::{Held, held};
use crate::report::progress;
use crate::wait;

/// The memory of a small machine.
const MACHINE_BYTES: f64 = 512.0 * 1_048_576.0;

/// After something was deployed or invoked, for what is not needed any more to be given back.
const SETTLE: Duration = Duration::from_secs(1);

const BODY: &[u8] = b"x";

/// Functions of the wasm runtime in a gateway that was started again, each with a small module of its own.
///
/// # Errors
/// When the gateway does not start or refuses a function.
pub(super) fn wasm(program: &Path, counts: &[u64]) -> Result<Memory> {
    let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
    let none = held(program, dir.path(), 0, 0)?;
    let mut all: Vec<Held> = Vec::new();
    for &count in counts {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let from = all.last().map_or(0, |held| held.functions);
        all.push(held(program, dir.path(), from, count)?);
    }
    let curve = |state, bytes: fn(&Held) -> u64| {
        let points =
            all.iter().map(|held| MemoryPoint { functions: held.functions as u64, bytes: bytes(held) });
        curve(Runtime::Wasm, state, points.collect())
    };
    Ok(Memory {
        gateway_bytes: Some(none.restarted.resident_bytes),
        curves: vec![
            curve(MemoryState::Idle, |held| held.restarted.resident_bytes),
            curve(MemoryState::Invoked, |held| held.invoked.resident_bytes),
        ],
        density_ratio: None,
    })
}

/// Containers of the smallest image with a watchdog: the memory of their processes, as the kernel counts it,
/// and that of the gateway. What the daemon itself needs for each is not in it.
///
/// # Errors
/// When one does not come up, or no Docker is seen from here.
pub(super) fn containers(subject: &Subject, counts: &[u64]) -> Result<Vec<MemoryCurve>> {
    let docker = subject.docker.as_ref().context("no Docker is seen from here")?;
    ensure!(docker.image_bytes(ECHOIT).is_some(), "no image {ECHOIT}: scripts/images.sh makes it");
    let mut functions: Vec<Function> = Vec::new();
    let look = |functions: &[Function]| -> Result<MemoryPoint> {
        wait::pause(SETTLE);
        let mut bytes = subject.resident_bytes().unwrap_or_default();
        for function in functions {
            let container = subject.container(function).context("a container that went away")?;
            bytes += docker.memory_bytes(&container)?;
        }
        Ok(MemoryPoint { functions: functions.len() as u64, bytes })
    };
    let mut idle = Vec::new();
    for &count in counts {
        progress(format_args!("memory: {count} containers"));
        while (functions.len() as u64) < count {
            let name = subject.name("memory");
            let labels = BTreeMap::from([("com.openfaas.scale.factor", "0")]);
            let document = json!({ "service": name, "image": ECHOIT, "labels": labels });
            subject.api()?.request("POST", "/system/functions", Some(&document))?;
            functions.push(Function { name, runtime: Runtime::Container });
        }
        for function in &functions {
            wait::until(&format!("a replica of {}", function.name), LIMIT, LOOK, || {
                Ok(subject.container(function))
            })?;
        }
        idle.push(look(&functions)?);
    }
    let mut api = subject.api()?;
    functions.iter().try_for_each(|function| api.invoke(&function.name, BODY).map(drop))?;
    // Down again, because all of them were invoked now.
    let mut invoked = Vec::new();
    for &count in counts.iter().rev() {
        while functions.len() as u64 > count {
            let Some(function) = functions.pop() else { break };
            subject.remove(&function)?;
        }
        invoked.push(look(&functions)?);
    }
    invoked.reverse();
    functions.iter().try_for_each(|function| subject.remove(function))?;
    Ok(vec![
        curve(Runtime::Container, MemoryState::Idle, idle),
        curve(Runtime::Container, MemoryState::Invoked, invoked),
    ])
}

/// How many more functions fit in the same memory: idle ones of wasm to idle ones in containers.
pub(super) fn density_ratio(curves: &[MemoryCurve]) -> Option<f64> {
    let fit = |runtime| {
        let curve = curves.iter().find(|it| it.runtime == runtime && it.state == MemoryState::Idle)?;
        curve.fit_in_512_mib.filter(|fit| *fit > 0).map(|fit| fit as f64)
    };
    Some(fit(Runtime::Wasm)? / fit(Runtime::Container)?)
}

fn curve(runtime: Runtime, state: MemoryState, points: Vec<MemoryPoint>) -> MemoryCurve {
    let line = line(&points);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number of functions, rounded down"
    )]
    let fit = line
        .filter(|(_, slope)| *slope > 0.0)
        .map(|(start, slope)| ((MACHINE_BYTES - start) / slope).max(0.0).min(f64::from(u32::MAX)) as u64);
    MemoryCurve {
        runtime,
        state,
        points,
        bytes_per_function: line.map(|(_, slope)| slope),
        fit_in_512_mib: fit,
    }
}

/// Start and slope of the line through the points, by least squares; `None` of fewer than two.
fn line(points: &[MemoryPoint]) -> Option<(f64, f64)> {
    let count = points.len() as f64;
    let mean = |of: fn(&MemoryPoint) -> u64| points.iter().map(|point| of(point) as f64).sum::<f64>() / count;
    let (functions, bytes) = (mean(|point| point.functions), mean(|point| point.bytes));
    let (mut with, mut square) = (0.0, 0.0);
    for point in points {
        let apart = point.functions as f64 - functions;
        with += apart * (point.bytes as f64 - bytes);
        square += apart * apart;
    }
    (square > 0.0).then(|| (bytes - with / square * functions, with / square))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(bytes: [u64; 3]) -> Vec<MemoryPoint> {
        [10, 20, 40]
            .into_iter()
            .zip(bytes)
            .map(|(functions, bytes)| MemoryPoint { functions, bytes })
            .collect()
    }

    #[test]
    fn functions_that_fit_are_read_off_the_line() {
        const MIB: u64 = 1 << 20;
        let curve = curve(Runtime::Wasm, MemoryState::Idle, points([22 * MIB, 32 * MIB, 52 * MIB]));
        assert_eq!(curve.bytes_per_function, Some(MIB as f64));
        assert_eq!(curve.fit_in_512_mib, Some(500));
        // Nothing can be said of a line that does not rise, or of one point.
        let flat = super::curve(Runtime::Wasm, MemoryState::Idle, points([5, 5, 5]));
        assert_eq!(flat.fit_in_512_mib, None);
        assert_eq!(line(&points([1, 2, 3])[..1]), None);
    }

    #[test]
    fn density_is_of_idle_functions() {
        let wasm = curve(Runtime::Wasm, MemoryState::Idle, points([10 << 20, 11 << 20, 13 << 20]));
        let container =
            curve(Runtime::Container, MemoryState::Idle, points([109 << 20, 209 << 20, 409 << 20]));
        let ratio = density_ratio(&[wasm.clone(), container]).unwrap();
        assert_eq!(ratio, wasm.fit_in_512_mib.unwrap() as f64 / 50.0);
        assert_eq!(density_ratio(&[wasm]), None);
    }
}
