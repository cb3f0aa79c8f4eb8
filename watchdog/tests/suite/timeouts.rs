//! Every limit of time, and that nothing survives it.

use crate::dog::{Dog, wait_until};

#[test]
fn exec_timeout_kills_the_process() {
    let dog = Dog::running("sh -c 'echo $$ > $dir/pid; exec sleep 1000'", &[("exec_timeout", "200ms")]);
    let reply = dog.post(b"");
    assert_eq!((reply.status, reply.text()), (408, "Killed process.\n"));
    dog.wait_for_end_of("pid");
}

#[test]
fn exec_timeout_kills_a_grandchild_that_holds_stdout() {
    let fprocess = "sh -c 'sleep 1000 & echo $! > $dir/pid; echo output; exit 0'";
    let dog = Dog::running(fprocess, &[("exec_timeout", "300ms")]);
    let reply = dog.post(b"");
    assert_eq!((reply.status, reply.text()), (408, "Killed process.\n"));
    dog.wait_for_end_of("pid");
}

#[test]
fn a_grandchild_without_stdout_does_not_hold_the_answer_up() {
    let dog = Dog::running("sh -c 'sleep 1000 >/dev/null 2>&1 & echo $! > $dir/pid; echo output'", &[]);
    assert_eq!(dog.post(b"").text(), "output\n");
    let pid = dog.wait_for_file("pid").parse().unwrap();
    assert!(crate::dog::is_running(pid));
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
}

#[test]
fn a_program_that_closes_its_output_is_still_waited_for() {
    let dog = Dog::running("sh -c 'echo early; exec >/dev/null 2>&1; read line; exit 7'", &[]);
    let mut connection = dog.connect();
    connection.send_head("POST", "/", &[("Content-Length", "5")]);
    dog.wait_for_log("Forking");
    connection.write(b"line\n").unwrap();
    let reply = connection.reply("POST").unwrap();
    assert_eq!((reply.status, reply.text()), (500, "exit status 7\nearly\n"));
}

#[test]
fn write_timeout_is_answered_and_kills_too() {
    let dog = Dog::running("sh -c 'echo $$ > $dir/pid; exec sleep 1000'", &[("write_timeout", "200ms")]);
    let reply = dog.post(b"");
    assert_eq!(reply.status, 504);
    assert!(reply.text().contains("write_timeout"), "{}", reply.text());
    dog.wait_for_end_of("pid");
}

#[test]
fn write_timeout_breaks_off_what_has_begun() {
    let fprocess = "sh -c 'echo $$ > $dir/pid; head -c 100000 /dev/zero; exec sleep 1000'";
    let dog = Dog::running(fprocess, &[("write_timeout", "500ms")]);
    let mut connection = dog.connect();
    connection.send("GET", "/", &[], b"");
    let head = connection.head().unwrap();
    assert_eq!(head.status, 200);
    let mut count = 0;
    assert!(connection.read_body(&head, |piece| count += piece.len()).is_err());
    assert!(count <= 100_000);
    dog.wait_for_end_of("pid");
}

#[test]
fn a_flood_on_stderr_does_not_stop_the_clock() {
    // Several, so that there is always something to read.
    let fprocess = "sh -c 'echo $$ > $dir/pid; yes >&2 & yes >&2 & yes >&2 & exec yes >&2'";
    let variables = [("mode", "streaming"), ("exec_timeout", "300ms")];
    let dog = Dog::running(fprocess, &variables);
    let reply = dog.post(b"");
    assert_eq!((reply.status, reply.text()), (504, "Killed process.\n"));
    dog.wait_for_end_of("pid");
}

#[test]
fn a_descendant_that_floods_stderr_does_not_hold_the_answer_up() {
    let fprocess = "sh -c 'yes >&2 & echo $! > $dir/pid; sleep 0.1; echo output'";
    let dog = Dog::running(fprocess, &[("combine_output", "false")]);
    assert_eq!(dog.post(b"").text(), "output\n");
    // Nobody reads what it writes any more.
    dog.wait_for_end_of("pid");
}

#[test]
fn an_endless_answer_that_nobody_reads_is_killed() {
    let dog = Dog::running("sh -c 'echo $$ > $dir/pid; exec yes'", &[("exec_timeout", "300ms")]);
    assert_eq!(dog.request("HEAD", "/", &[], b"").status, 408);
    dog.wait_for_end_of("pid");
}

#[test]
fn a_body_that_does_not_arrive_is_given_up() {
    // By the defaults the two end at the same instant too.
    let variables = [("read_timeout", "300ms"), ("write_timeout", "300ms")];
    let dog = Dog::running("sh -c 'echo $$ > $dir/pid; cat'", &variables);
    let mut connection = dog.connect();
    connection.send_head("POST", "/", &[("Content-Length", "100")]);
    connection.write(b"part").unwrap();
    let reply = connection.reply("POST").unwrap();
    assert_eq!(reply.status, 408);
    assert!(reply.text().contains("read_timeout"), "{}", reply.text());
    dog.wait_for_end_of("pid");
}

#[test]
fn an_idle_connection_is_closed_after_read_timeout() {
    let dog = Dog::running("cat", &[("read_timeout", "200ms")]);
    let mut connection = dog.connect();
    connection.send("POST", "/", &[], b"x");
    assert_eq!(connection.reply("POST").unwrap().status, 200);
    assert!(connection.is_closed());
}

#[test]
fn a_client_that_leaves_takes_its_process_group_along() {
    let fprocess = "sh -c 'sleep 1000 & echo $! > $dir/grandchild; echo $$ > $dir/child; wait'";
    let dog = Dog::running(fprocess, &[]);
    let mut connection = dog.connect();
    connection.send("POST", "/", &[], b"x");
    dog.wait_for_file("child");
    drop(connection);
    dog.wait_for_end_of("child");
    dog.wait_for_end_of("grandchild");
    wait_until("it is counted", || {
        crate::metrics::scrape(&dog).contains(r#"http_requests_total{code="499",method="post"} 1"#)
    });
    wait_until("nothing of it is left", || dog.children().is_empty());
}

#[test]
fn a_client_that_leaves_while_it_is_answered_ends_the_process() {
    let dog = Dog::running("sh -c 'echo $$ > $dir/pid; exec cat /dev/zero'", &[("write_timeout", "0")]);
    let mut connection = dog.connect();
    connection.send("GET", "/", &[], b"");
    assert_eq!(connection.head().unwrap().status, 200);
    assert!(connection.chunk().unwrap().is_some());
    drop(connection);
    dog.wait_for_end_of("pid");
    dog.wait_for_log("the client left");
}

#[test]
fn a_client_that_leaves_in_its_body_ends_the_process() {
    let dog = Dog::running("sh -c 'echo $$ > $dir/pid; cat > /dev/null; exec sleep 1000'", &[]);
    let mut connection = dog.connect();
    connection.send_head("POST", "/", &[("Content-Length", "1000")]);
    connection.write(b"part").unwrap();
    dog.wait_for_file("pid");
    drop(connection);
    dog.wait_for_end_of("pid");
}

#[test]
fn orphans_are_reaped() {
    // Two outlive their parent and then are nobody's but the watchdog's; one has left its group and session.
    let fprocess = "sh -c 'test $Http_Path = /leave || exit 0; mkfifo $dir/go
        (read line < $dir/go) >/dev/null 2>&1 & echo $! >> $dir/pids
        setsid sh -c \"read line < $dir/go\" >/dev/null 2>&1 & echo $! >> $dir/pids'";
    let dog = Dog::running(fprocess, &[]);
    assert_eq!(dog.get("/leave").status, 200);
    let pids: Vec<i32> = dog.wait_for_file("pids").lines().map(|pid| pid.parse().unwrap()).collect();
    wait_until("both are adopted", || pids.iter().all(|pid| dog.children().contains(pid)));
    wait_until("both have ended", || {
        // Each writing lets at least one reader go.
        if pids.iter().any(|pid| crate::dog::is_running(*pid)) {
            std::fs::write(dog.file("go"), "go\ngo\n").unwrap();
        }
        pids.iter().all(|pid| !crate::dog::is_running(*pid))
    });
    wait_until("both are reaped", || dog.children().is_empty());
}
