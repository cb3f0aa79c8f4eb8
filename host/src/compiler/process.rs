//! Compiling in a process of its own.
//!
//! A compiler maps and unmaps much memory. A thread of low priority that lost its core while it holds the lock of the
//! address space keeps every guest from its next page, for as long as others want that core. A process of its own has
//! a lock of its own, and what it took is given back when it ends.
//!
//! In: the two ends of it, and what they say to each other. Out: when a module is compiled. The property that must
//! hold: what a process answers is for exactly the engine that asked; where there is none that can, this one compiles.
//! What brought a process down is not tried again in the gateway, which every function would go down with.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::NoCode;
use crate::engine;
use crate::inspect::GuestKind;

/// Longest that compiling one module may take: a module of 64 MiB takes some minutes on a small machine.
const LIMIT: Duration = Duration::from_secs(15 * 60);
/// Starts a program that gets what no other wants (`SCHED_IDLE`): one that is only nice keeps a core that somebody
/// else woke up for until its slice ends, some 3 ms. It is in every Debian, and in no empty image.
const CHRT: [&str; 2] = ["/usr/bin/chrt", "/bin/chrt"];
/// How often it is looked whether anything was left over for it, and of what share of a core that is said.
const LOOK: Duration = Duration::from_millis(250);
const LEAST_SHARE: f64 = 0.25;
/// Most compiled code that is read: modules are 64 MiB at most, and code is some times as long.
const MAX_ANSWER_BYTES: u64 = 1 << 30;
/// Most that is kept of what such a process prints.
const MAX_PRINTED_BYTES: u64 = 4 << 10;

/// The first byte of an answer: code follows, after its length in 8 bytes.
const CODE: u8 = 0;
/// Or why there is none, in the same form.
const REFUSAL: u8 = 1;
/// Both before the rest.
const HEAD_BYTES: usize = 9;

/// The verb that [`compile_for_parent`] is behind.
pub const VERB: &str = "compile-module";

/// How such processes are started.
#[derive(Debug)]
pub(super) struct Processes {
    program: PathBuf,
    chrt: Option<&'static Path>,
    pooled: bool,
    fingerprint: String,
    threads: usize,
    failing: AtomicBool,
}

impl Processes {
    pub(super) fn new(program: PathBuf, pooled: bool, fingerprint: &str, threads: usize) -> Self {
        let (fingerprint, failing) = (fingerprint.to_owned(), AtomicBool::new(false));
        let chrt = CHRT.into_iter().map(Path::new).find(|path| path.exists());
        Self { program, chrt, pooled, fingerprint, threads, failing }
    }

    /// Code, or why there is none; `None` when no process can tell. Waits for it, with the priority of this thread.
    pub(super) fn compile(&self, wasm: &[u8], kind: GuestKind) -> Option<Result<Vec<u8>, NoCode>> {
        let idle = self.chrt.map(|chrt| {
            let mut command = Command::new(chrt);
            command.args(["--idle", "0"]).arg(&self.program);
            self.ask(command, wasm, kind, Some(chrt))
        });
        let answer = match idle {
            // This machine may not start such a one.
            None | Some(Err(Trouble::Unable(_))) => self.ask(Command::new(&self.program), wasm, kind, None),
            Some(answer) => answer,
        };
        match answer {
            Ok(answer) => Some(answer.map_err(NoCode::Refused)),
            Err(Trouble::Ended(reason)) => Some(Err(NoCode::Ended(reason))),
            Err(Trouble::Unable(error)) => {
                if !self.failing.swap(true, Relaxed) {
                    let program = self.program.display();
                    tracing::warn!(%program, %error, "no process compiles: compiling in this one, which slows guests down");
                }
                None
            }
        }
    }

    fn ask(
        &self,
        mut command: Command,
        wasm: &[u8],
        kind: GuestKind,
        idle: Option<&Path>,
    ) -> Result<Result<Vec<u8>, String>, Trouble> {
        command.args([VERB, "--kind", kind.as_str(), "--engine", &self.fingerprint]);
        command.args(self.pooled.then_some("--pooled"));
        command.env_clear().env("RAYON_NUM_THREADS", self.threads.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let said = exchange(command.spawn()?, wasm, idle)?;
        match (whole(said.answer), said.status.signal()) {
            (Some((CODE, code)), _) => Ok(Ok(code)),
            (Some((REFUSAL, reason)), _) => Ok(Err(String::from_utf8_lossy(&reason).into_owned())),
            _ if said.is_late => Err(Trouble::Ended(format!("it took longer than {LIMIT:?}"))),
            (_, Some(signal)) => {
                let reason = format!(
                    "its process was ended by signal {signal}; is memory short? {}",
                    said.printed.trim()
                );
                Err(Trouble::Ended(reason.trim_end().to_owned()))
            }
            (_, None) => {
                let reason =
                    format!("it gave no whole answer ({}), and said: {}", said.status, said.printed.trim());
                Err(Trouble::Unable(io::Error::other(reason)))
            }
        }
    }
}

/// Why a process answers nothing.
enum Trouble {
    /// It cannot be started, or ends by itself without an answer: it is not one that compiles for this engine.
    Unable(io::Error),
    /// It was brought down from outside, as for want of memory, or at its limit.
    Ended(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Unable(error)
    }
}

/// What came of a process.
struct Said {
    answer: Vec<u8>,
    printed: String,
    status: ExitStatus,
    /// Whether it was ended at its limit.
    is_late: bool,
}

/// How much of a core a process got since it was looked last.
struct Meter {
    pid: Pid,
    at: Instant,
    seconds: f64,
}

impl Meter {
    fn new(pid: Pid) -> Self {
        Self { pid, at: Instant::now(), seconds: 0.0 }
    }

    /// `None` where it cannot be told.
    fn share(&mut self) -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid.as_raw_nonzero())).ok()?;
        // The name, which may hold anything, ends with the last bracket; user and system time are the 12th and 13th after.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<f64>().ok();
        let seconds = (ticks()? + ticks()?) / rustix::param::clock_ticks_per_second() as f64;
        let share = (seconds - self.seconds) / self.at.elapsed().as_secs_f64();
        (self.at, self.seconds) = (Instant::now(), seconds);
        Some(share)
    }
}

/// Waits until `over`, or ends the process at the limit: then this is true. One that is idle, and for which nothing is
/// left over, goes on as one that is nice.
fn watch(pid: Pid, idle: Option<&Path>, over: &Receiver<()>) -> bool {
    let (until, mut idle) = (Instant::now() + LIMIT, idle.map(|chrt| (chrt, Meter::new(pid))));
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match over.recv_timeout(if idle.is_some() { left.min(LOOK) } else { left }) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => return false,
        }
        if Instant::now() >= until {
            let _ = kill_process(pid, Signal::KILL);
            return true;
        }
        if let Some((chrt, _)) =
            idle.take_if(|(_, meter)| meter.share().is_none_or(|share| share < LEAST_SHARE))
        {
            let mut command = Command::new(chrt);
            command.args(["--all-tasks", "--other", "--pid", "0", &pid.as_raw_nonzero().to_string()]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            match command.status() {
                Ok(status) if status.success() => {
                    tracing::debug!("compiling beside others that want all cores")
                }
                failed => tracing::debug!(?failed, "compiling with what others leave over"),
            }
        }
    }
}

/// What an answer holds, unless it was cut short.
fn whole(mut answer: Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (&[tag, ref length @ ..], rest) = answer.split_first_chunk::<HEAD_BYTES>()?;
    let length = u64::from_le_bytes(*length);
    (rest.len() as u64 == length).then(|| (tag, answer.split_off(HEAD_BYTES)))
}

/// The form of an answer.
fn answer(mut output: impl Write, tag: u8, rest: &[u8]) -> io::Result<()> {
    output.write_all(&[tag])?;
    output.write_all(&(rest.len() as u64).to_le_bytes())?;
    output.write_all(rest)?;
    output.flush()
}

/// Gives it the module, and reads its answer and what it prints, for as long as it may take. It has ended after that.
fn exchange(mut child: Child, wasm: &[u8], idle: Option<&Path>) -> io::Result<Said> {
    let pid = Pid::from_child(&child);
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut input), Some(output), Some(errors)) = pipes else {
        return Err(io::Error::other("it has no pipes"));
    };
    let (answer, printed, is_late) = thread::scope(|scope| {
        // One that stops reading says why.
        scope.spawn(move || drop(input.write_all(wasm)));
        let printed = scope.spawn(move || {
            let mut text = Vec::new();
            // What was read until then is told.
            let _ = errors.take(MAX_PRINTED_BYTES).read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let (ended, over) = channel::<()>();
        let watcher = scope.spawn(move || watch(pid, idle, &over));
        let mut answer = Vec::new();
        // What was cut short is no whole answer, and its writer finds nobody that reads.
        let _ = output.take(MAX_ANSWER_BYTES).read_to_end(&mut answer);
        // It stays what its number means until it is waited for below.
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        drop(ended);
        (answer, printed.join().unwrap_or_default(), watcher.join().unwrap_or_default())
    });
    Ok(Said { answer, printed, status: child.wait()?, is_late })
}

/// The other end: reads a module, and writes its code for the gateway that started this process.
///
/// `kind` is the word of [`GuestKind`], `pooled` whether that gateway's engine has a pool, and `fingerprint` what its
/// code must be made for.
///
/// # Errors
/// When this program would compile for another engine, as one of another version does; and those of the pipes.
pub fn compile_for_parent(
    kind: &str,
    pooled: bool,
    fingerprint: &str,
    mut input: impl Read,
    output: impl Write,
) -> io::Result<()> {
    let kind = GuestKind::from_word(kind)
        .ok_or_else(|| io::Error::other(format!("{kind:?} is no kind of guest")))?;
    let engine = engine::for_compiling(pooled).map_err(|error| io::Error::other(format!("{error:#}")))?;
    let own = engine::fingerprint(&engine);
    if own != fingerprint {
        return Err(io::Error::other(format!(
            "this program compiles for the engine {own}, not {fingerprint}"
        )));
    }
    let mut wasm = Vec::new();
    input.read_to_end(&mut wasm)?;
    match super::precompile(&engine, &wasm, kind) {
        Ok(code) => answer(output, CODE, &code),
        Err(error) => answer(output, REFUSAL, format!("{error:#}").as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = b"\0asm\x01\0\0\0";

    fn compiled(fingerprint: &str, wasm: &[u8]) -> io::Result<(u8, Vec<u8>)> {
        let mut said = Vec::new();
        compile_for_parent("wasip1-command", true, fingerprint, wasm, &mut said)?;
        assert_eq!(whole(said[..said.len() - 1].to_vec()), None, "one that was cut short is none");
        Ok(whole(said).unwrap())
    }

    #[test]
    fn compiles_for_the_engine_that_asks_and_no_other() {
        let config = crate::HostConfig { pool_slots: 8, ..crate::HostConfig::in_dir("/nowhere") };
        let (engine, _) = engine::build(&config).unwrap();
        let fingerprint = engine::fingerprint(&engine);
        assert_eq!(compiled(&fingerprint, EMPTY).unwrap(), (CODE, engine.precompile_module(EMPTY).unwrap()));
        assert_eq!(compiled(&fingerprint, b"nonsense").unwrap().0, REFUSAL);
        let other = compiled("0000000000000000", EMPTY).unwrap_err().to_string();
        assert!(other.contains("not 0000000000000000"), "{other}");
    }

    fn compile(program: &str) -> Option<Result<Vec<u8>, NoCode>> {
        Processes::new(program.into(), true, "", 1).compile(EMPTY, GuestKind::CommandModule)
    }

    /// What is told of a program that does this and ends itself.
    fn ended(script: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\nkill -9 $$\n")).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let Some(Err(NoCode::Ended(reason))) = compile(program.to_str().unwrap()) else {
            panic!("it was ended")
        };
        reason
    }

    #[test]
    fn what_brought_a_process_down_is_not_tried_in_this_one() {
        let reason = ended("echo 'no memory' >&2");
        assert!(reason.contains("signal 9") && reason.contains("no memory"), "{reason}");
    }

    #[test]
    fn one_for_which_nothing_is_left_over_is_idle_no_more() {
        if CHRT.iter().all(|path| !Path::new(path).exists()) {
            return;
        }
        // One that sleeps looks like one that gets nothing.
        let reason = ended("sleep 1; grep policy /proc/$$/sched >&2");
        assert!(reason.ends_with(" 0"), "SCHED_OTHER: {reason}");
    }

    #[test]
    fn where_no_process_answers_none_is_waited_for() {
        assert!(compile("/nowhere/bramble").is_none());
        assert!(compile("/bin/true").is_none());
        assert!(compile("/bin/cat").is_none(), "it refuses its arguments");
    }
}
