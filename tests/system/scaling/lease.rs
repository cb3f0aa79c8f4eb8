//! One scaler writes at a time.

use std::fs::{self, File};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

use super::{desired, follows, naps, quick, until_desired};
use crate::containers::load::under_load;
use crate::support::answer::Answer;
use crate::support::{Gateway, Start, wait};

/// `bramble scaler`. Dropping it kills it.
struct Scaler {
    child: Child,
    home: TempDir,
}

impl Scaler {
    fn start(gateway: &Gateway) -> Self {
        Self::start_with(gateway, &[])
    }

    fn start_with(gateway: &Gateway, flags: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut command = gateway.cli(&["scaler", "--scale-interval", "100ms", "--scale-down-window", "2s"]);
        command.args(flags);
        let log = File::create(home.path().join("log")).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { child, home }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap()
    }

    #[track_caller]
    fn says(&self, text: &str) {
        wait::until(&format!("the scaler says {text:?}"), || self.log().contains(text));
    }

    fn stop(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = wait::value("the scaler has ended", || self.child.try_wait().unwrap());
        assert!(status.success(), "{}", self.log());
    }
}

impl Drop for Scaler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn climbs(gateway: &Gateway) {
    under_load(gateway, "naps", 8, || until_desired(gateway, "naps", |replicas| replicas == 4));
    until_desired(gateway, "naps", |replicas| replicas == 1);
}

/// That it is refused because of this leader.
#[track_caller]
fn leads(leader: &str, answer: &Answer) {
    let error = &answer.json()["error"];
    assert_eq!((answer.status.as_u16(), &error["code"]), (409, &json!("scaler_lease_held")));
    assert_eq!(error["leader"], leader);
}

#[test]
fn a_dry_run_beside_it_tells_and_leaves_the_lease_alone() {
    let gateway = quick().start();
    gateway.deploy_with("naps", &naps(), follows(1, 4));
    let dry = Scaler::start_with(&gateway, &["--dry-run"]);
    under_load(&gateway, "naps", 8, || {
        dry.says("would scale");
        until_desired(&gateway, "naps", |replicas| replicas == 4);
    });
    assert!(!dry.log().contains("stands by") && !gateway.log().contains("stands by"), "{}", dry.log());
}

#[test]
fn a_second_scaler_stands_by_until_the_first_is_gone() {
    let gateway = Start::new().flag("--scaler", "off").start();
    gateway.deploy_with("naps", &naps(), follows(1, 4));
    let mut first = Scaler::start(&gateway);
    climbs(&gateway);
    let mut second = Scaler::start(&gateway);
    second.says("stands by");
    second.says(&format!("process {}", first.child.id()));
    let told = gateway.get("/system/scale-function/naps").expect(200).json();
    assert_eq!((&told["source"], &told["policy"]["max"]), (&json!("gateway"), &json!(4)), "{told}");
    assert!(told["last_change"]["why"].is_string(), "the scaler tells it from where it runs: {told}");
    let made_up = json!({"holder": "me", "name": "naps", "explained": {}});
    let refused = gateway.json("PUT", "/system/scaler/explanation", &made_up);
    let leader = refused.json()["error"]["leader"].as_str().unwrap().to_owned();
    assert!(leader.starts_with("`bramble scaler` on"), "{leader}");
    leads(&leader, &refused);
    // Without a word: its lease has to end by itself.
    first.child.kill().unwrap();
    let told = gateway.get("/system/scale-function/naps").expect(200).json();
    assert!(told["why"].as_str().unwrap().contains("told nothing"), "{told}");
    second.says("leads now");
    climbs(&gateway);
    // With one: the next need not wait for its end.
    second.stop();
    let third = Scaler::start(&gateway);
    climbs(&gateway);
    assert!(!third.log().contains("stands by"), "{}", third.log());
}

#[test]
fn a_scaler_beside_the_gateways_own_stands_by() {
    let gateway = quick().start();
    gateway.deploy_with("naps", &naps(), follows(1, 4));
    let scaler = Scaler::start(&gateway);
    scaler.says("the gateway's own scaler");
    climbs(&gateway);
    let change = json!({"holder": "me", "name": "naps", "action": "scale", "from": 1, "to": 4});
    leads("the gateway's own scaler", &gateway.json("POST", "/system/scaler/changes", &change));
}

#[test]
fn a_change_of_what_changed_meanwhile_is_not_made() {
    let gateway = Start::new().flag("--scaler", "off").start();
    gateway.deploy_with("naps", &naps(), follows(1, 4));
    let change = |name: &str, from: u32, to: u32| {
        let document = json!({"holder": "me", "name": name, "action": "scale", "from": from, "to": to});
        gateway.json("POST", "/system/scaler/changes", &document).expect(202).json()["changed"].clone()
    };
    let early = json!({"holder": "me", "name": "naps", "action": "scale", "from": 1, "to": 3});
    gateway.json("POST", "/system/scaler/changes", &early).refused(409, "scaler_lease_held", "nobody");
    let granted = gateway.json("PUT", "/system/scaler-lease", &json!({"holder": "me", "seconds": 3600}));
    assert_eq!(granted.expect(200).json()["seconds"], 300.0, "no more than there is");
    assert_eq!(change("naps", 1, 3), true);
    assert_eq!((change("naps", 1, 4), change("nobody", 1, 4)), (json!(false), json!(false)));
    assert_eq!(desired(&gateway, "naps"), 3);
    for (holder, seconds) in [("", json!(1)), ("me", json!(0)), ("me", json!(-1)), ("me", json!("soon"))] {
        let document = json!({"holder": holder, "seconds": seconds});
        gateway.json("PUT", "/system/scaler-lease", &document).expect(400);
    }
    let document = json!({"holder": "other", "seconds": 1});
    leads("me", &gateway.json("PUT", "/system/scaler-lease", &document));
}

#[test]
fn a_gateway_that_is_not_there_is_told_once_and_waited_for() {
    let gateway = Start::new().flag("--scaler", "off").start();
    gateway.deploy_with("naps", &naps(), follows(1, 4));
    let scaler = Scaler::start(&gateway);
    climbs(&gateway);
    let address = gateway.address.to_string();
    let start = gateway.kill();
    scaler.says("cannot scale");
    let gateway = start.flag("--listen", &address).start();
    climbs(&gateway);
    assert_eq!(scaler.log().matches("cannot scale").count(), 1, "{}", scaler.log());
}
