//! A running watchdog, its log, and waiting for conditions.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::http_client::{Connection, Reply};

/// Limit of every wait. Reached only when something is broken.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Connections of a watchdog that may open few files.
pub(crate) const FEW_PLACES: usize = 16;

/// A watchdog on free ports; killed when dropped.
pub(crate) struct Dog {
    child: Child,
    log: Arc<Log>,
    directory: TempDir,
    pub(crate) port: u16,
    pub(crate) metrics_port: u16,
}

#[derive(Default)]
struct Log {
    text: Mutex<String>,
    grown: Condvar,
}

/// A command for the watchdog with nothing but `PATH` and the given variables.
pub(crate) fn command(directory: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fwatchdog"));
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command
        .env("TMPDIR", directory)
        .env("port", "0")
        .env("metrics_port", "0")
        .env("healthcheck_interval", "0");
    // Where a test's program leaves its traces.
    command.env("dir", directory).envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Dog {
    /// Starts one and waits until it listens.
    pub(crate) fn start(variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let command = command(directory.path(), variables);
        Self::listening(directory, command)
    }

    /// Starts one that takes [`FEW_PLACES`] connections, and waits until it takes requests.
    pub(crate) fn with_few_places(variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let own = command(directory.path(), variables);
        let mut limited = Command::new("/bin/sh");
        limited.args(["-c", "ulimit -n 96 && exec \"$0\""]).arg(own.get_program()).env_clear();
        limited.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let dog = Self::listening(directory, limited);
        dog.wait_until_healthy();
        dog
    }

    fn listening(directory: TempDir, mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Log::default());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let writer = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in stderr.split(b'\n').map_while(Result::ok) {
                let mut text = writer.text.lock();
                text.push_str(&String::from_utf8_lossy(&line));
                text.push('\n');
                writer.grown.notify_all();
            }
        });
        let mut dog = Self { child, log, directory, port: 0, metrics_port: 0 };
        dog.port = dog.wait_for_log("Listening on port: ").trim().parse().unwrap();
        dog.metrics_port =
            dog.wait_for_log("Metrics listening on port: ").trim_end_matches(['.', '\n']).parse().unwrap();
        dog
    }

    /// Starts one that runs `fprocess`, and waits until it takes requests.
    pub(crate) fn running(fprocess: &str, variables: &[(&str, &str)]) -> Self {
        let variables = [&[("fprocess", fprocess)], variables].concat();
        let dog = Self::start(&variables);
        dog.wait_until_healthy();
        dog
    }

    pub(crate) fn wait_until_healthy(&self) {
        wait_until("it is healthy", || self.get("/_/health").status == 200);
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.port)
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.request("GET", path, &[], b"")
    }

    pub(crate) fn post(&self, body: &[u8]) -> Reply {
        self.request("POST", "/", &[], body)
    }

    /// One request on a connection of its own.
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut connection = self.connect();
        connection.send(method, path, headers, body);
        connection.reply(method).unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.log()))
    }

    pub(crate) fn log(&self) -> String {
        self.log.text.lock().clone()
    }

    /// Waits until `text` is in the log; returns what follows it on its line.
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        let mut log = self.log.text.lock();
        loop {
            if let Some((_, rest)) = log.split_once(text) {
                return rest.lines().next().unwrap_or_default().to_owned();
            }
            let timed_out = self.log.grown.wait_until(&mut log, deadline).timed_out();
            assert!(!timed_out, "{text:?} is not in the log:\n{log}");
        }
    }

    /// A file in the directory that the program knows as `$dir`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Waits for a line in such a file.
    pub(crate) fn wait_for_file(&self, name: &str) -> String {
        let read = || std::fs::read_to_string(self.file(name)).unwrap_or_default();
        wait_until(&format!("{name} is written"), || read().ends_with('\n'));
        read().trim_end().to_owned()
    }

    /// Waits for a process id in such a file, and then for the end of that process.
    pub(crate) fn wait_for_end_of(&self, name: &str) {
        let pid: i32 = self.wait_for_file(name).parse().unwrap();
        wait_until(&format!("process {pid} has ended"), || !is_running(pid));
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        wait_until("the watchdog has ended", || self.has_ended());
        self.child.wait().unwrap()
    }

    /// Waits until it has ended with exit code 0.
    pub(crate) fn wait_for_good_end(&mut self) {
        let status = self.wait_for_exit();
        assert!(status.success(), "{status}\n{}", self.log());
    }

    /// Peak of its resident memory, in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Its children, dead ones that nobody waited for included.
    pub(crate) fn children(&self) -> Vec<i32> {
        let pid = self.child.id().to_string();
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|child| stat(*child).is_some_and(|(_, parent)| parent == pid)).collect()
    }
}

impl Drop for Dog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a condition, looking often.
#[expect(clippy::disallowed_methods, reason = "this is the wait for a condition with a limit")]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a process exists and is no zombie.
pub(crate) fn is_running(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != "Z" && state != "X")
}

/// State and parent of a process.
fn stat(pid: i32) -> Option<(String, String)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().map(str::to_owned);
    Some((fields.next()?, fields.next()?))
}
