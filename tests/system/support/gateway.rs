//! A gateway process of its own for each test.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::answer::Answer;
use super::contract::{self, Port};
use super::{Wire, wait};

pub(crate) const JSON: &str = "application/json";
pub(crate) const WASM: &str = "application/wasm";

/// Largest answer that is read whole.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// The command under test: cargo puts it beside the directory of the test executables.
pub(crate) fn bramble() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let path = here.parent().and_then(Path::parent).unwrap().join("bramble");
    let path_shown = path.display();
    assert!(path.exists(), "{path_shown} is not there: type `cargo build --release --workspace` first");
    path
}

/// How a gateway is to be started.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    home: Arc<TempDir>,
    data_dir: PathBuf,
    /// A command that runs the command, such as `prlimit`.
    under: Vec<String>,
    flags: Vec<String>,
}

/// A gateway that did not start.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
}

impl Start {
    pub(crate) fn new() -> Self {
        let home = Arc::new(tempfile::tempdir().unwrap());
        Self { data_dir: home.path().join("data"), home, under: Vec::new(), flags: Vec::new() }
    }

    /// Adds a flag: `("--pool-slots", "8")`.
    pub(crate) fn flag(mut self, name: &str, value: &str) -> Self {
        self.flags.push(format!("{name}={value}"));
        self
    }

    /// Starts it through another command.
    pub(crate) fn under(mut self, words: &[&str]) -> Self {
        self.under = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Keeps its data here instead of in a directory of its own.
    pub(crate) fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = path.into();
        self
    }

    /// Starts it and waits until it takes requests.
    #[track_caller]
    pub(crate) fn start(&self) -> Gateway {
        self.try_start().unwrap_or_else(|refused| panic!("the gateway did not start: {refused:?}"))
    }

    /// Starts it; an error when it ends instead of becoming ready.
    #[track_caller]
    pub(crate) fn try_start(&self) -> Result<Gateway, Refused> {
        let log = self.home.path().join("gateway.log");
        let mut child = self.command(&log).spawn().unwrap();
        let said = announcement(&mut child);
        let Ok(line) = said.recv_timeout(wait::LIMIT) else {
            let code = end(&mut child).code();
            return Err(Refused { code, stderr: fs::read_to_string(&log).unwrap() });
        };
        // listening on http://127.0.0.1:1, metrics on http://127.0.0.1:2/metrics
        let tls = line.starts_with("listening on https://");
        let mut addresses = line.split("://").skip(1).map(|url| {
            let end = url.find([',', '/']).unwrap_or(url.len());
            url[..end].parse().unwrap_or_else(|_| panic!("{line:?} has no address"))
        });
        let (address, metrics_address) = (addresses.next().unwrap(), addresses.next().unwrap());
        let (start, agent, authorization) = (self.clone(), agent(), None);
        let gateway = Gateway { child, address, metrics_address, tls, log, start, agent, authorization };
        // The agent speaks no TLS; what the gateway announces is ready.
        wait::until("the gateway is ready", || tls || gateway.get("/readyz").status == 200);
        Ok(gateway)
    }

    fn command(&self, log: &Path) -> Command {
        let bramble = bramble();
        let mut command = match self.under.split_first() {
            None => Command::new(&bramble),
            Some((under, words)) => {
                let mut command = Command::new(under);
                command.args(words).arg(&bramble);
                command
            }
        };
        clean(&mut command, self.home.path());
        command.args(["gateway", "--data-dir"]).arg(&self.data_dir).args(&self.flags);
        for flag in ["--listen", "--metrics-listen"] {
            if !self.flags.iter().any(|given| given.starts_with(&format!("{flag}="))) {
                command.args([flag, "127.0.0.1:0"]);
            }
        }
        command.stdout(Stdio::piped()).stderr(File::options().create(true).append(true).open(log).unwrap());
        command
    }
}

/// Nothing of the environment that the tests run in reaches a command under test.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests have no settings; this only hands the search path on"
)]
fn clean(command: &mut Command, home: &Path) {
    command.env_clear().env("HOME", home).current_dir(home).stdin(Stdio::null());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
}

/// The line in which a gateway tells its addresses; closed when it ends without one.
fn announcement(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = channel();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(sender.send(line))));
    receiver
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(2 * wait::LIMIT))
        .build();
    config.into()
}

/// Waits for a process that is about to end.
fn end(child: &mut Child) -> ExitStatus {
    wait::value("the process has ended", || child.try_wait().unwrap())
}

/// A gateway that takes requests. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) metrics_address: SocketAddr,
    child: Child,
    log: PathBuf,
    start: Start,
    agent: ureq::Agent,
    tls: bool,
    authorization: Option<String>,
}

impl Gateway {
    /// One with the default settings.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Start::new().start()
    }

    /// One that was not started here, and tells no metrics; `logs` prints what it logs until this is dropped.
    #[track_caller]
    pub(crate) fn elsewhere(address: SocketAddr, logs: &mut Command) -> Self {
        let metrics_address = SocketAddr::from(([127, 0, 0, 1], 0));
        let start = Start::new();
        let log = start.home.path().join("gateway.log");
        let (stdout, stderr) =
            (File::create(&log).unwrap(), File::options().append(true).open(&log).unwrap());
        let child = logs.stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn().unwrap();
        Self { child, address, metrics_address, tls: false, log, start, agent: agent(), authorization: None }
    }

    /// The same, showing this to `Authorization` with every request.
    pub(crate) fn showing(mut self, authorization: &str) -> Self {
        self.authorization = Some(authorization.to_owned());
        self
    }

    /// Where the command line finds it.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.start.data_dir
    }

    /// What it logged so far, earlier processes on the same directory included.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        end(&mut self.child)
    }

    /// Kills it without warning, and tells how to start another one on its directory.
    pub(crate) fn kill(mut self) -> Start {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.start.clone()
    }

    /// A verb of the command line that talks to this gateway.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(bramble());
        clean(&mut command, self.start.home.path());
        command.env("OPENFAAS_URL", self.url()).args(arguments);
        command
    }

    /// A bare connection.
    pub(crate) fn wire(&self) -> Wire {
        Wire::open(self.address)
    }

    #[track_caller]
    pub(crate) fn send(&self, request: http::request::Builder, body: &[u8]) -> Answer {
        self.try_send(request, body).unwrap()
    }

    /// What comes back, which has to be what the API's document says.
    #[track_caller]
    pub(crate) fn try_send(
        &self,
        request: http::request::Builder,
        body: &[u8],
    ) -> Result<Answer, ureq::Error> {
        let request = request.body(body).unwrap();
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let (parts, body) = self.agent.run(request)?.into_parts();
        let metrics = uri.port_u16() == Some(self.metrics_address.port());
        let port = if metrics { Port::Metrics } else { Port::Main };
        let promised = contract::head(port, (&method, uri.path()), parts.status, &parts.headers);
        let body = { body }.into_with_config().limit(MAX_ANSWER_BYTES).read_to_vec()?;
        promised.check(&body);
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    /// A request in the making, to a path here.
    pub(crate) fn request(&self, method: &str, path: &str) -> http::request::Builder {
        let request = http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        match &self.authorization {
            Some(shown) => request.header("authorization", shown),
            None => request,
        }
    }

    #[track_caller]
    pub(crate) fn call(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
        self.send(self.request(method, path).header("content-type", kind), body)
    }

    #[track_caller]
    pub(crate) fn json(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.call(method, path, JSON, body.to_string().as_bytes())
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path), b"")
    }

    #[track_caller]
    pub(crate) fn invoke(&self, name: &str, body: &str) -> Answer {
        self.send(self.request("POST", &format!("/function/{name}")), body.as_bytes())
    }

    /// Uploads a module and deploys it, in one call.
    #[track_caller]
    pub(crate) fn put(&self, name: &str, wasm: &[u8]) -> Answer {
        self.call("PUT", &format!("/system/functions/{name}"), WASM, wasm)
    }

    /// As [`Self::put`], which must succeed.
    #[track_caller]
    pub(crate) fn deploy(&self, name: &str, wasm: &[u8]) {
        self.put(name, wasm).expect(202);
    }

    /// Uploads a module and answers its digest.
    #[track_caller]
    pub(crate) fn upload(&self, wasm: &[u8]) -> String {
        let answer = self.call("PUT", "/system/modules", WASM, wasm);
        assert!(answer.status.is_success(), "{answer:?}");
        answer.json()["digest"].as_str().unwrap().to_owned()
    }

    /// Asks for a function that runs a stored module, with more fields of the document.
    #[track_caller]
    pub(crate) fn create(&self, name: &str, image: &str, more: Value) -> Answer {
        let mut document = json!({"service": name, "image": image});
        let Value::Object(more) = more else { panic!("an object is expected") };
        document.as_object_mut().unwrap().extend(more);
        self.json("POST", "/system/functions", &document)
    }

    /// Uploads a module and deploys it with more fields of the document.
    #[track_caller]
    pub(crate) fn deploy_with(&self, name: &str, wasm: &[u8], more: Value) {
        self.create(name, &self.upload(wasm), more).expect(202);
    }

    #[track_caller]
    pub(crate) fn remove(&self, name: &str) {
        self.json("DELETE", "/system/functions", &json!({"functionName": name})).expect(202);
    }

    #[track_caller]
    pub(crate) fn scale(&self, name: &str, replicas: u32) {
        let document = json!({"serviceName": name, "replicas": replicas});
        self.json("POST", &format!("/system/scale-function/{name}"), &document).expect(202);
    }

    /// The names of the functions there are.
    #[track_caller]
    pub(crate) fn names(&self) -> Vec<String> {
        let functions = self.get("/system/functions").expect(200).json();
        let names = functions.as_array().unwrap().iter().map(|function| &function["name"]);
        names.map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    /// The value of one series, written as Prometheus does; 0 when there is none.
    #[track_caller]
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let url = format!("http://{}/metrics", self.metrics_address);
        let metrics = self.send(http::Request::get(url), b"").expect(200).text();
        let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Invocations of a function that ended with this status.
    #[track_caller]
    pub(crate) fn counted(&self, name: &str, code: u16) -> f64 {
        self.metric(&format!("gateway_function_invocation_total{{code=\"{code}\",function_name=\"{name}\"}}"))
    }

    /// Instances of a function that are running.
    #[track_caller]
    pub(crate) fn busy(&self, name: &str) -> f64 {
        self.metric(&format!("bramble_pool_slots{{function_name=\"{name}\",state=\"busy\"}}"))
    }

    /// Invocations of a function that are admitted and have not ended.
    #[track_caller]
    pub(crate) fn inflight(&self, name: &str) -> f64 {
        self.metric(&format!("bramble_function_inflight{{function_name=\"{name}\"}}"))
    }

    /// Waits until no invocation of a function is left, and no slot taken.
    #[track_caller]
    pub(crate) fn idle(&self, name: &str) {
        wait::until("nothing runs", || self.inflight(name) == 0.0 && self.busy(name) == 0.0);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            tell(&self.log);
        }
    }
}

#[expect(clippy::print_stderr, reason = "a test that fails shows what the gateway logged")]
fn tell(log: &Path) {
    eprintln!("--- the gateway's log\n{}---", fs::read_to_string(log).unwrap_or_default());
}
