//! The settings' defaults and refusals, as tables.

use super::*;

fn fork_of(env: &Env) -> ForkSettings {
    match Config::read(env).unwrap().mode {
        Mode::Fork(fork) => fork,
        other => panic!("{other:?}"),
    }
}

#[test]
fn defaults_are_the_classic_watchdogs() {
    let env = Env::from([("fprocess", "cat -u")]);
    let config = Config::read(&env).unwrap();
    assert_eq!((config.port, config.metrics_port), (8080, 8081));
    assert_eq!(config.timeouts.read, Some(Duration::from_secs(30)));
    assert_eq!(config.timeouts.write, Some(Duration::from_secs(30)));
    assert_eq!(config.timeouts.exec, None);
    assert_eq!(config.healthcheck_interval, Duration::from_secs(30));
    assert_eq!(config.lock, Some(PathBuf::from("/tmp/.lock")));
    assert_eq!(config.max_inflight, None);
    let fork = fork_of(&env);
    assert_eq!(fork.words, ["cat", "-u"]);
    assert_eq!(fork.style, ForkStyle::Classic);
    assert!(fork.combine_output && fork.cgi_headers);
    assert!(!fork.write_debug && !fork.marshal_request && !fork.cgi_output);
    assert_eq!(fork.line_style, LineStyle { prefixed: true, limit_bytes: 65_536 });
}

#[test]
fn the_other_modes_limit_execution_and_keep_stderr_apart() {
    for mode in ["streaming", "serializing"] {
        let env = Env::from([("fprocess", "cat"), ("mode", mode)]);
        assert_eq!(Config::read(&env).unwrap().timeouts.exec, Some(Duration::from_secs(30)));
        assert!(!fork_of(&env).combine_output);
    }
    let unlimited = Env::from([("fprocess", "cat"), ("mode", "streaming"), ("exec_timeout", "0")]);
    assert_eq!(Config::read(&unlimited).unwrap().timeouts.exec, None);
}

#[test]
fn cgi_output_is_switched_by_either_name() {
    assert!(fork_of(&Env::from([("fprocess", "x"), ("output", "cgi")])).cgi_output);
    assert!(fork_of(&Env::from([("fprocess", "x"), ("BRAMBLE_OUTPUT", "cgi")])).cgi_output);
    assert!(!fork_of(&Env::from([("fprocess", "x"), ("output", "json")])).cgi_output);
    assert!(
        !fork_of(&Env::from([("fprocess", "x"), ("output", "cgi"), ("BRAMBLE_OUTPUT", "body")])).cgi_output
    );
    assert!(!fork_of(&Env::from([("fprocess", "x"), ("output", "cgi")])).combine_output);
}

#[test]
fn a_value_without_meaning_is_refused_by_name() {
    for (name, value) in [
        ("fprocess", "echo 'a"),
        ("port", "eighty"),
        ("metrics_port", "70000"),
        ("read_timeout", "-1"),
        ("write_timeout", "soon"),
        ("exec_timeout", "1 s"),
        ("healthcheck_interval", "x"),
        ("max_inflight", "-1"),
        ("write_debug", "yes"),
        ("combine_output", "no"),
        ("cgi_headers", "TRUE"),
        ("marshal_request", "2"),
        ("content_type", "a\nb"),
        ("suppress_lock", "on"),
        ("debug_headers", "x"),
        ("ready_path", "ready"),
        ("prefix_logs", "x"),
        ("log_buffer_size", "-2"),
        ("mode", "afterburn"),
        ("mode", "fast"),
        ("BRAMBLE_OUTPUT", "CGI"),
        ("jwt_auth", "true"),
        ("prefork", "4"),
        ("prefork", "many"),
    ] {
        let mut pairs = vec![(name, value)];
        if name != "fprocess" {
            pairs.push(("fprocess", "cat"));
        }
        let env = if let [one, two] = pairs[..] { Env::from([one, two]) } else { Env::from([pairs[0]]) };
        match Config::read(&env) {
            Err(ConfigError::Invalid { name: named, value: shown, .. }) => {
                assert_eq!((named.as_str(), shown.as_str()), (name, value));
            }
            other => panic!("{name}={value}: {other:?}"),
        }
    }
}

#[test]
fn what_a_mode_needs_is_named() {
    let missing = |env| match Config::read(&env) {
        Err(ConfigError::Missing { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(missing(Env::default()), "fprocess");
    assert_eq!(missing(Env::from([("fprocess", "")])), "fprocess");
    assert_eq!(missing(Env::from([("mode", "http"), ("fprocess", "x")])), "upstream_url");
    assert_eq!(missing(Env::from([("mode", "http"), ("upstream_url", "http://127.0.0.1:1")])), "fprocess");
    assert!(Config::read(&Env::from([("mode", "static")])).is_ok());
}

#[test]
fn prefork_is_taken_only_without_request_variables() {
    let fork = fork_of(&Env::from([("fprocess", "cat"), ("prefork", "4"), ("cgi_headers", "false")]));
    assert_eq!(fork.prefork, 4);
    let refused = Config::read(&Env::from([("fprocess", "cat"), ("prefork", "4")])).unwrap_err().to_string();
    assert!(refused.contains("cgi_headers=false"), "{refused}");
}

#[test]
fn old_names_still_work() {
    let env = Env::from([
        ("mode", "http"),
        ("function_process", "node index.js"),
        ("http_upstream_url", "http://localhost:3000/base"),
        ("buffer_http", "1"),
    ]);
    match Config::read(&env).unwrap().mode {
        Mode::Http(http) => {
            assert_eq!(http.words, ["node", "index.js"]);
            assert_eq!(http.upstream_url.port_u16(), Some(3000));
            assert!(http.buffer_request);
        }
        other => panic!("{other:?}"),
    }
}
