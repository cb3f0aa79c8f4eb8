//! Functions on a Swarm of three nodes: what a gateway on one of them promises for the others.

mod load;

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use self::load::{CLIENTS, Served, under_load};
use crate::support::docker::CONFORM;
use crate::support::nodes::{NODES, Nodes};
use crate::support::{Gateway, wait};

/// The function that the clients call: it tells its container.
const NAME: &str = "everywhere";
/// One on the nodes that are not the gateway's.
const FAR: &str = "far";
/// Another name of the image.
const OTHER: &str = "bramble/conform:other";
const REPLICAS: u64 = 6;
/// Latest that a request on a lost node is told so.
const LOST_WITHIN: Duration = Duration::from_secs(2);
/// Longest that a request takes when the way to other nodes breaks: far less than the limit on requests.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(10);
/// Latest that a gateway knows what happened on another node.
const KNOWN_WITHIN: Duration = Duration::from_millis(100);

#[test]
fn a_gateway_on_a_manager_serves_all_nodes() {
    let nodes = Nodes::up();
    let gateway = nodes.process();
    serves_all_nodes(&nodes, &gateway);
    outlives_its_managers_daemon(&nodes, &gateway);
}

#[test]
fn the_stacks_gateway_serves_all_nodes() {
    let nodes = Nodes::up();
    let gateway = nodes.stack();
    assert_eq!(gateway.containers()["reach"], "network");
    serves_all_nodes(&nodes, &gateway);
}

fn serves_all_nodes(nodes: &Nodes, gateway: &Gateway) {
    let clock = Instant::now();
    for (what, check) in [
        ("all replicas answer", all_replicas_answer as fn(&Nodes, &Gateway)),
        ("pauses and wakes on other nodes", pauses_and_wakes_on_other_nodes),
        ("scales by the processor time of other nodes", scales_by_the_processor_time_of_other_nodes),
        ("knows at once what happens on other nodes", knows_at_once_what_happens_on_other_nodes),
        ("an update fails no request", an_update_fails_no_request),
        ("a drained node fails no request", a_drained_node_fails_no_request),
        ("a lost node fails what it had", a_lost_node_fails_what_it_had),
    ] {
        check(nodes, gateway);
        told(what, &format!("done after {:.1?}", clock.elapsed()));
    }
}

fn scales_by_the_processor_time_of_other_nodes(nodes: &Nodes, gateway: &Gateway) {
    let labels = json!({
        "com.openfaas.scale.max": "2",
        "com.openfaas.scale.type": "cpu",
        "com.openfaas.scale.target": "20",
    });
    let far = json!({"labels": labels, "constraints": ["node.role==worker"]});
    gateway.conform("spins", "/conform spin 20", far);
    gateway.has_replicas("spins", 1);
    wait::until("its replicas follow their processor time", || {
        gateway.invoke("spins", "").expect(200);
        gateway.describe("spins")["replicas"] == 2
    });
    assert!(nodes.containers(1, "spins").is_empty());
    gateway.remove("spins");
}

/// Labels that ask for so many replicas, whatever the load.
fn replicas(count: u64) -> Value {
    let count = count.to_string();
    json!({"com.openfaas.scale.min": count, "com.openfaas.scale.max": count})
}

fn all_replicas_answer(nodes: &Nodes, gateway: &Gateway) {
    let labels = replicas(REPLICAS);
    gateway.conform(NAME, "/conform hostname", json!({"labels": labels}));
    gateway.has_replicas(NAME, REPLICAS);
    let there: BTreeSet<_> = NODES.iter().flat_map(|node| hosts(nodes, *node)).collect();
    for node in NODES {
        assert_eq!(hosts(nodes, node).len(), 2, "replicas are not spread evenly: node {node}");
    }
    let mut answered = BTreeSet::new();
    wait::until("every replica answers", || {
        answered.insert(gateway.invoke(NAME, "").expect(200).text().trim().to_owned());
        answered.len() >= there.len()
    });
    assert_eq!(answered, there);
}

/// The host names of a function's replicas on a node: Docker takes them from the containers' ids.
fn hosts(nodes: &Nodes, node: u8) -> Vec<String> {
    nodes.containers(node, NAME).into_iter().map(|id| id[..12].to_owned()).collect()
}

fn pauses_and_wakes_on_other_nodes(nodes: &Nodes, gateway: &Gateway) {
    let far = json!({
        "labels": replicas(2),
        "constraints": ["node.role==worker"],
    });
    gateway.conform(FAR, "/conform hostname", far);
    gateway.has_replicas(FAR, 2);
    let paused = || nodes.paused(2, FAR).len() + nodes.paused(3, FAR).len();
    // The agents may have come only now.
    wait::until("both are frozen", || {
        gateway.json("POST", &format!("/system/freeze-function/{FAR}"), &Value::Null);
        gateway.describe(FAR)["frozenReplicas"] == 2
    });
    assert_eq!(paused(), 2);
    let asked = Instant::now();
    let first = gateway.invoke(FAR, "").expect(200).text();
    told("a frozen replica of another node answers after", &format!("{:.1?}", asked.elapsed()));
    assert_eq!(paused(), 1);
    // It stays awake, and is asked first.
    gateway.invoke(FAR, "").says(200, &first);
    let (served, ()) = under_load(gateway, FAR, || wait::until("load wakes the other", || paused() == 0));
    served.without_failures();
    assert_eq!(served.answers.len(), 2);
    gateway.remove(FAR);
}

fn knows_at_once_what_happens_on_other_nodes(nodes: &Nodes, gateway: &Gateway) {
    let (mut gone, mut back) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        gateway.has_replicas(NAME, REPLICAS);
        let killed = nodes.containers(2, NAME).swap_remove(0);
        let before = now();
        let known = std::thread::scope(|scope| {
            // Docker answers later than it tells of it.
            scope.spawn(|| nodes.kill_container(2, &killed));
            gateway.has_replicas(NAME, REPLICAS - 1);
            now()
        });
        gone.push(known - event(nodes, "die", before..known));
        gateway.has_replicas(NAME, REPLICAS);
        let known = now();
        back.push(known - event(nodes, "start", before..known));
    }
    told("the end of a replica on another node is known after", &format!("{gone:.1?}"));
    told("its successor, wherever it is, takes requests after", &format!("{back:.1?}"));
    // The best of them: the machine may be busy with the other nodes. Without agents none is as fast.
    assert!(gone.iter().min() <= Some(&KNOWN_WITHIN), "{gone:?}");
    assert!(back.iter().min() <= Some(&KNOWN_WITHIN), "{back:?}");
}

/// When a container of the function started or died, as Docker tells it.
fn event(nodes: &Nodes, event: &str, within: Range<Duration>) -> Duration {
    let seconds = |at: Duration| format!("{}.{:09}", at.as_secs(), at.subsec_nanos());
    let (since, until) = (seconds(within.start), seconds(within.end));
    let filters = [format!("event={event}"), format!("label=bramble.function={NAME}")];
    let events = NODES.iter().flat_map(|node| {
        let mut words = vec!["events", "--since", &since, "--until", &until, "--format", "{{.TimeNano}}"];
        filters.iter().for_each(|filter| words.extend(["--filter", filter]));
        let times = nodes.docker(*node, &words);
        times.lines().map(|nanos| Duration::from_nanos(nanos.parse().unwrap())).collect::<Vec<_>>()
    });
    events.max().expect("Docker told of it, or the gateway could not know")
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn an_update_fails_no_request(nodes: &Nodes, gateway: &Gateway) {
    NODES.iter().for_each(|node| drop(nodes.docker(*node, &["tag", CONFORM, OTHER])));
    let labels = replicas(REPLICAS);
    let (served, ()) = under_load(gateway, NAME, || {
        let other = json!({"labels": labels, "image": OTHER, "envVars": {"updated": "yes"}});
        gateway.update(NAME, "/conform env updated", other);
        update_ended(nodes);
    });
    report("an update", &served);
    served.without_failures();
    assert!(served.answers.contains("yes"), "{:?}", served.answers);
    for _ in 0..3 * REPLICAS {
        gateway.invoke(NAME, "").says(200, "yes\n");
    }
    gateway.has_replicas(NAME, REPLICAS);
}

fn update_ended(nodes: &Nodes) {
    let format = "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}";
    wait::until("the update has ended", || {
        let state = nodes.docker(1, &["service", "inspect", "--format", format, NAME]);
        assert!(!state.contains("rollback") && !state.contains("paused"), "the update is {state}");
        state == "completed"
    });
}

fn a_drained_node_fails_no_request(nodes: &Nodes, gateway: &Gateway) {
    let (served, ()) = under_load(gateway, NAME, || {
        nodes.docker(1, &["node", "update", "--availability", "drain", "node2"]);
        wait::until("nothing runs there", || nodes.containers(2, NAME).is_empty());
        gateway.has_replicas(NAME, REPLICAS);
    });
    report("a drain", &served);
    served.without_failures();
    nodes.docker(1, &["node", "update", "--availability", "active", "node2"]);
    rebalance(nodes, gateway);
}

/// The Swarm moves nothing to a node that came back, but starts what is new there.
fn rebalance(nodes: &Nodes, gateway: &Gateway) {
    gateway.scale(NAME, 1);
    wait::until("one is left", || NODES.iter().map(|node| hosts(nodes, *node).len()).sum::<usize>() == 1);
    gateway.scale(NAME, 6);
    gateway.has_replicas(NAME, REPLICAS);
    assert!(NODES.iter().all(|node| hosts(nodes, *node).len() == 2), "not spread over all nodes again");
}

fn a_lost_node_fails_what_it_had(nodes: &Nodes, gateway: &Gateway) {
    let (served, cut) = under_load(gateway, NAME, || {
        let cut = Instant::now();
        nodes.script(&["kill", "3"]);
        let noticed = || gateway.describe(NAME)["availableReplicas"].as_u64() < Some(REPLICAS);
        wait::until("the gateway knows", noticed);
        told("a lost node is known after", &format!("{:.1?}", cut.elapsed()));
        wait::until("its replicas are elsewhere", || hosts(nodes, 1).len() + hosts(nodes, 2).len() == 6);
        gateway.has_replicas(NAME, REPLICAS);
        told("its replicas are elsewhere after", &format!("{:.1?}", cut.elapsed()));
        cut
    });
    report("a node's loss", &served);
    let late: Vec<_> =
        served.failures.iter().map(|failure| failure.at.saturating_duration_since(cut)).collect();
    told("failures after", &format!("{late:.1?}"));
    assert!(served.failures.len() <= CLIENTS, "of {}: {:#?}", served.count, served.failures);
    assert_eq!(served.unavailable, 0);
    assert!(late.iter().all(|after| *after <= LOST_WITHIN), "{late:?} {:#?}", served.failures);
    assert!(served.slowest <= LOST_WITHIN + Duration::from_secs(1), "a request took {:?}", served.slowest);
    nodes.script(&["start", "3"]);
}

fn outlives_its_managers_daemon(nodes: &Nodes, gateway: &Gateway) {
    let late = json!({"envProcess": "/conform word late"});
    let (served, ()) = under_load(gateway, NAME, || {
        nodes.script(&["kill-daemon", "1"]);
        wait::until("it is missed", || gateway.containers()["available"] == false);
        gateway.create("late", CONFORM, late.clone()).refused(503, "unavailable", "Docker");
    });
    report("the daemon's absence", &served);
    served.without_failures();
    let (served, ()) = under_load(gateway, NAME, || {
        nodes.script(&["start", "1"]);
        gateway.connected();
        gateway.create("late", CONFORM, late).expect(202);
        gateway.has_replicas("late", 1);
        gateway.has_replicas(NAME, REPLICAS);
    });
    report("the daemon's return", &served);
    // A daemon that starts ends the containers of the one before, and what runs on them; and then, with the
    // agent, the way to other nodes, and what is on it. Nobody else is to lose anything.
    assert!(served.failures.len() <= 2 * CLIENTS, "of {}: {:#?}", served.count, served.failures);
    assert!(served.slowest <= GIVEN_UP_WITHIN, "a request took {:?}", served.slowest);
    gateway.invoke("late", "").says(200, "late\n");
}

fn report(what: &str, served: &Served) {
    let Served { count, failures, unavailable, slowest, .. } = served;
    let failed = failures.len();
    told(
        what,
        &format!("{count} served, {failed} failed, {unavailable} refused, the slowest took {slowest:.1?}"),
    );
}

#[expect(clippy::print_stderr, reason = "figures for who reads the test's output")]
fn told(what: &str, figure: &str) {
    eprintln!("{what}: {figure}");
}
