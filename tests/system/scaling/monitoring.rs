//! Real Prometheus and Alertmanager processes, on the configuration that is shipped.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use parking_lot::Mutex;
use tempfile::TempDir;

use crate::support::{Gateway, wait};

/// One of the two. Dropping it ends it.
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
    home: TempDir,
}

/// What keeps addresses until they are used: others look for free ones too.
static HELD: Mutex<Vec<TcpListener>> = Mutex::new(Vec::new());

/// An address that is free, and held until a server starts there. These programs tell nobody what they got for
/// port 0.
pub(super) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    HELD.lock().push(listener);
    address
}

/// Gives an address up, right before somebody else listens there.
pub(super) fn release(address: SocketAddr) {
    HELD.lock().retain(|listener| listener.local_addr().unwrap() != address);
}

/// A file of `deploy/`, with other words in some places, all of which must be there.
fn shipped(name: &str, changes: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy").join(name);
    let mut text = fs::read_to_string(path).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from:?} is not in {name}");
        text = text.replace(from, to);
    }
    text
}

impl Server {
    /// A Prometheus that scrapes a gateway each second, and knows of an Alertmanager that may be there.
    #[track_caller]
    pub(super) fn prometheus(gateway: &Gateway, address: SocketAddr, alertmanager: SocketAddr) -> Self {
        let home = tempfile::tempdir().unwrap();
        let config = shipped(
            "prometheus.yml",
            &[
                ("gateway:8082", &gateway.metrics_address.to_string()),
                ("localhost:9090", &address.to_string()),
                ("alertmanager:9093", &alertmanager.to_string()),
                ("_interval: 5s", "_interval: 1s"),
            ],
        );
        fs::write(home.path().join("prometheus.yml"), config).unwrap();
        fs::write(home.path().join("alert.rules.yml"), shipped("alert.rules.yml", &[])).unwrap();
        let mut command = Command::new("prometheus");
        command.arg("--config.file=prometheus.yml").arg("--storage.tsdb.path=data");
        command.arg(format!("--web.listen-address={address}"));
        Self::start(command, home, address)
    }

    /// An Alertmanager that posts to a gateway.
    #[track_caller]
    pub(super) fn alertmanager(gateway: &Gateway, address: SocketAddr) -> Self {
        let home = tempfile::tempdir().unwrap();
        let config = shipped(
            "alertmanager.yml",
            &[
                ("gateway:8080", &gateway.address.to_string()),
                ("group_wait: 5s", "group_wait: 1s"),
                ("group_interval: 10s", "group_interval: 1s"),
                ("repeat_interval: 30s", "repeat_interval: 3s"),
            ],
        );
        fs::write(home.path().join("alertmanager.yml"), config).unwrap();
        let mut command = Command::new("prometheus-alertmanager");
        command.args(["--config.file=alertmanager.yml", "--storage.path=data", "--cluster.listen-address="]);
        command.arg(format!("--web.listen-address={address}"));
        Self::start(command, home, address)
    }

    #[track_caller]
    fn start(mut command: Command, home: TempDir, address: SocketAddr) -> Self {
        let log = File::create(home.path().join("log")).unwrap();
        command.current_dir(home.path()).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let program = command.get_program().to_owned();
        release(address);
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("cannot run {program:?} ({error}): type `scripts/setup.sh test`, and put ~/.cache/bramble/tools/usr/bin on the path")
        });
        let mut server = Self { child, address, home };
        wait::until("it is ready", || {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none(), "{program:?} ended: {}", server.log());
            std::net::TcpStream::connect(address).is_ok() && server.is_ready()
        });
        server
    }

    fn is_ready(&self) -> bool {
        let answer = ureq::get(format!("http://{}/-/ready", self.address)).call();
        answer.is_ok_and(|answer| answer.status() == 200)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// Ends it as a crash would.
    pub(super) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}
