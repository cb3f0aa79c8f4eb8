//! `prefork`: start-up before the request, and its refusals.

use crate::dog::{Dog, wait_until};

/// Notes its start, and answers with its process id and its input.
const PROGRAM: &str = "sh -c 'echo $$ >> $dir/started; echo $$; cat'";
const PREFORK: [(&str, &str); 2] = [("prefork", "3"), ("cgi_headers", "false")];

fn started(dog: &Dog) -> Vec<String> {
    let text = std::fs::read_to_string(dog.file("started")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_request_gets_a_process_that_has_started_before() {
    let dog = Dog::running(PROGRAM, &PREFORK);
    let mut served: Vec<String> = Vec::new();
    for round in 0..10 {
        wait_until("three wait", || started(&dog).len() == 3 + round);
        let waiting = started(&dog);
        let reply = dog.post(b"body");
        let (pid, body) = reply.text().split_once('\n').unwrap();
        assert_eq!((reply.status, body), (200, "body"));
        assert!(waiting.contains(&pid.to_owned()), "{pid} had not started: {waiting:?}");
        assert!(!served.contains(&pid.to_owned()), "{pid} served two requests");
        served.push(pid.to_owned());
    }
}

#[test]
fn more_clients_than_processes_are_all_served() {
    let dog = Dog::running(PROGRAM, &PREFORK);
    std::thread::scope(|scope| {
        for client in 0..12 {
            let dog = &dog;
            scope.spawn(move || {
                let body = format!("{client}").repeat(10_000);
                for _ in 0..3 {
                    let reply = dog.post(body.as_bytes());
                    assert_eq!(reply.text().split_once('\n').unwrap().1, body);
                }
            });
        }
    });
    wait_until("three wait again", || dog.children().len() == 3);
}

#[test]
fn exec_timeout_counts_from_the_request() {
    let dog = Dog::running(
        "sh -c 'echo $$ >> $dir/started; cat; exec sleep 1000'",
        &[PREFORK[0], PREFORK[1], ("exec_timeout", "300ms")],
    );
    wait_until("three wait", || started(&dog).len() == 3);
    assert_eq!(dog.post(b"x").status, 408);
    assert_eq!(dog.post(b"x").status, 408);
}

#[test]
fn a_waiting_process_that_died_is_replaced() {
    let dog = Dog::running(PROGRAM, &PREFORK);
    wait_until("three wait", || started(&dog).len() == 3);
    let pid: i32 = started(&dog)[0].parse().unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    wait_until("it has died", || !crate::dog::is_running(pid));
    for _ in 0..3 {
        assert_eq!(dog.post(b"").status, 200);
    }
    dog.wait_for_log("a waiting process ended: signal: killed");
    wait_until("three wait again", || dog.children().len() == 3);
}

#[test]
fn a_program_that_does_not_wait_is_started_by_its_requests() {
    let dog = Dog::running("sh -c 'echo $$ >> $dir/started'", &PREFORK);
    wait_until("three have ended", || {
        started(&dog).iter().filter(|pid| !crate::dog::is_running(pid.parse().unwrap())).count() == 3
    });
    for round in 1..4 {
        assert_eq!(dog.post(b"").status, 200);
        assert_eq!(started(&dog).len(), 3 + round);
    }
    dog.wait_for_log("prefork is off");
}

#[test]
fn the_waiting_end_with_the_watchdog() {
    let mut dog = Dog::running(PROGRAM, &PREFORK);
    wait_until("three wait", || started(&dog).len() == 3);
    dog.signal(rustix::process::Signal::TERM);
    dog.wait_for_good_end();
    for pid in started(&dog) {
        wait_until("it has ended", || !crate::dog::is_running(pid.parse().unwrap()));
    }
}
