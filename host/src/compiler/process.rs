//! Compiling in a process of its own.
//!
//! A compiler maps and unmaps much memory. A thread of low priority that lost its core while it holds the lock of the
//! address space keeps every guest from its next page, for as long as others want that core. A process of its own has
//! a lock of its own, and what it took is given back when it ends.
//!
//! In: the two ends of it, and what they say to each other. Out: when a module is compiled. The property that must
//! hold: what a process answers is for exactly the engine that asked; where there is none that can, this one compiles.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::engine;
use crate::inspect::GuestKind;

/// Longest that compiling one module may take: a module of 64 MiB takes some minutes on a small machine.
const LIMIT: Duration = Duration::from_secs(15 * 60);
/// Most compiled code that is read: modules are 64 MiB at most, and code is some times as long.
const MAX_ANSWER_BYTES: u64 = 1 << 30;
/// Most that is kept of what such a process prints.
const MAX_PRINTED_BYTES: u64 = 4 << 10;

/// The first byte of an answer: code follows.
const CODE: u8 = 0;
/// Or why there is none.
const REFUSAL: u8 = 1;

/// The verb that [`compile_for_parent`] is behind.
pub const VERB: &str = "compile-module";

/// How such processes are started.
#[derive(Debug)]
pub(super) struct Processes {
    program: PathBuf,
    pooled: bool,
    fingerprint: String,
    threads: usize,
    failing: AtomicBool,
}

impl Processes {
    pub(super) fn new(program: PathBuf, pooled: bool, fingerprint: &str, threads: usize) -> Self {
        let (fingerprint, failing) = (fingerprint.to_owned(), AtomicBool::new(false));
        Self { program, pooled, fingerprint, threads, failing }
    }

    /// Code, or why the module does not compile; `None` when no process can tell. Waits for it, with the priority of
    /// this thread.
    pub(super) fn compile(&self, wasm: &[u8], kind: GuestKind) -> Option<Result<Vec<u8>, String>> {
        match self.ask(wasm, kind) {
            Ok(answer) => Some(answer),
            Err(error) => {
                if !self.failing.swap(true, Relaxed) {
                    let program = self.program.display();
                    tracing::warn!(%program, %error, "no process compiles: compiling in this one, which slows guests down");
                }
                None
            }
        }
    }

    fn ask(&self, wasm: &[u8], kind: GuestKind) -> io::Result<Result<Vec<u8>, String>> {
        let mut command = Command::new(&self.program);
        command.args([VERB, "--kind", kind.as_str(), "--engine", &self.fingerprint]);
        command.args(self.pooled.then_some("--pooled"));
        command.env_clear().env("RAYON_NUM_THREADS", self.threads.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let answer = exchange(&mut child, wasm);
        // It has closed its output, or is of no more use.
        let _ = child.kill();
        child.wait()?;
        let (mut answer, printed) = answer?;
        match answer.first() {
            Some(&CODE) => Ok(Ok(answer.split_off(1))),
            Some(&REFUSAL) => Ok(Err(String::from_utf8_lossy(&answer[1..]).into_owned())),
            _ => Err(io::Error::other(format!("it said: {}", printed.trim()))),
        }
    }
}

/// Gives it the module, and reads its answer and what it prints.
fn exchange(child: &mut Child, wasm: &[u8]) -> io::Result<(Vec<u8>, String)> {
    let pid = Pid::from_child(child);
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut input), Some(output), Some(errors)) = pipes else {
        return Err(io::Error::other("it has no pipes"));
    };
    thread::scope(|scope| {
        // One that stops reading says why.
        scope.spawn(move || drop(input.write_all(wasm)));
        let printed = scope.spawn(move || {
            let mut text = Vec::new();
            // What was read until then is told.
            let _ = errors.take(MAX_PRINTED_BYTES).read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let (answered, over) = channel::<()>();
        scope.spawn(move || {
            if over.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                // It is not waited for before this has ended, so the number is still its own.
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        let mut answer = Vec::new();
        let read = output.take(MAX_ANSWER_BYTES).read_to_end(&mut answer);
        drop(answered);
        read?;
        Ok((answer, printed.join().unwrap_or_default()))
    })
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
    mut output: impl Write,
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
        Ok(code) => output.write_all(&[CODE]).and_then(|()| output.write_all(&code))?,
        Err(error) => {
            output.write_all(&[REFUSAL]).and_then(|()| output.write_all(format!("{error:#}").as_bytes()))?;
        }
    }
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = b"\0asm\x01\0\0\0";

    fn answer(fingerprint: &str, wasm: &[u8]) -> io::Result<Vec<u8>> {
        let mut answer = Vec::new();
        compile_for_parent("wasip1-command", true, fingerprint, wasm, &mut answer).map(|()| answer)
    }

    #[test]
    fn compiles_for_the_engine_that_asks_and_no_other() {
        let config = crate::HostConfig { pool_slots: 8, ..crate::HostConfig::in_dir("/nowhere") };
        let (engine, _) = engine::build(&config).unwrap();
        let fingerprint = engine::fingerprint(&engine);
        let code = answer(&fingerprint, EMPTY).unwrap();
        assert_eq!(code[0], CODE);
        assert_eq!(code[1..], engine.precompile_module(EMPTY).unwrap());
        assert_eq!(answer(&fingerprint, b"nonsense").unwrap()[0], REFUSAL);
        let other = answer("0000000000000000", EMPTY).unwrap_err().to_string();
        assert!(other.contains("not 0000000000000000"), "{other}");
    }

    #[test]
    fn where_no_process_answers_none_is_waited_for() {
        let compile = |program: &str| {
            Processes::new(program.into(), true, "", 1).compile(EMPTY, GuestKind::CommandModule)
        };
        assert!(compile("/nowhere/bramble").is_none());
        assert!(compile("/bin/true").is_none());
        assert!(compile("/bin/cat").is_none(), "it refuses its arguments");
    }
}
