//! Stack files, good and bad.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::error::Exit;

fn lookup(name: &str) -> Option<String> {
    (name == "REG").then(|| "registry:5000".to_owned())
}

fn parse(text: &str) -> Result<Stack, CliError> {
    Stack::parse("s.yml", PathBuf::from("/s"), text, &lookup)
}

fn name(text: &str) -> FunctionName {
    FunctionName::parse(text).unwrap()
}

#[test]
fn reads_every_key_of_the_reference() {
    let stack = parse(
        "version: 1.0
provider: {name: openfaas, gateway: http://pi:8080}
functions:
  api:
    lang: dockerfile
    handler: ./api
    image: ${REG}/api:${TAG:-1.10}
    fprocess: node index.js
    namespace: dev
    environment: {port: 8080, debug: true, ratio: 1.10, empty: }
    secrets: [s1]
    labels: {com.openfaas.scale.min: 2}
    annotations: {topic: cron}
    constraints: ['node.role == worker']
    limits: {memory: 40Mi, cpu: 100m}
    requests: {memory: 20Mi}
    readonly_root_filesystem: true
    skip_build: true
    build_args: {A: 1}
    build_options: [dev]
    platforms: linux/arm64
configuration:
  templates: [{name: x, source: 'https://git.example/x#v1'}]
  copy: [./common]
",
    )
    .unwrap();
    assert_eq!(stack.warnings, [] as [&str; 0]);
    assert_eq!(stack.gateway.as_deref(), Some("http://pi:8080"));
    assert_eq!((stack.templates.len(), stack.copy.len()), (1, 1));
    let full = name("api.dev");
    let function = &stack.functions[&full];
    assert_eq!(function.image(), Some("registry:5000/api:1.10"));
    // What YAML takes for a number is the text that was written.
    let environment: Vec<_> = function.environment.values().map(String::as_str).collect();
    assert_eq!(environment, ["true", "", "8080", "1.10"]);
    let deployment = serde_json::to_value(stack.deployment(&full, function, "i").unwrap()).unwrap();
    assert_eq!(deployment["limits"], serde_json::json!({"memory": "40Mi", "cpu": "100m"}));
    assert_eq!(
        (&deployment["namespace"], &deployment["envProcess"]),
        (&"dev".into(), &"node index.js".into())
    );
    assert_eq!(deployment["labels"]["com.openfaas.scale.min"], "2");
}

#[test]
fn refuses_what_makes_no_sense_and_says_where() {
    for (text, parts) in [
        ("functions:\n\tx:\n", &["s.yml", "line 2"][..]),
        ("functions:\n  a:\n    image: [x\n", &["line"]),
        ("functions:\n  a:\n    image: {b: c}\n", &["functions.a.image", "line 3"]),
        ("functions: 7\n", &["functions", "line 1"]),
        ("provider: {name: openfaas}\n", &["no functions"]),
        ("functions:\n", &["no functions"]),
        ("", &["no functions"]),
        ("functions:\n  A_b: {image: x}\n", &["functions.A_b"]),
        ("functions:\n  a:\n", &["functions.a", "empty"]),
        ("functions:\n  a: {handler: ./x}\n", &["functions.a", "lang", "image"]),
        ("functions:\n  a: {image: x, limits: {memory: lots}}\n", &["functions.a", "limits.memory", "lots"]),
        ("functions:\n  a: {image: x, namespace: 'a b'}\n", &["functions.a", "a b"]),
        ("provider: {name: lambda}\nfunctions: {a: {image: x}}\n", &["provider.name", "lambda"]),
        ("version: 2.0\nfunctions: {a: {image: x}}\n", &["version", "2.0"]),
        ("functions:\n  a: {image: '${A'}\n", &["line 2", "}"]),
        ("functions:\n  a: {image: x}\n  a: {image: y}\n", &["a"]),
        ("functions:\n  a: {image: x, environment: {A: [1]}}\n", &["functions.a.environment.A", "line 2"]),
        ("functions:\n  a: {image: x, secrets: one}\n", &["functions.a.secrets", "line 2"]),
        ("functions:\n  a: {image: x, readonly_root_filesystem: maybe}\n", &["readonly_root_filesystem"]),
        ("functions:\n  a: {image: x, requests: {cpu: -1}}\n", &["functions.a", "requests.cpu", "-1"]),
        ("functions:\n  - a\n", &["functions", "line 2"]),
        ("functions:\n  a: 7\n", &["functions.a", "{image: NAME}", "line 2"]),
        ("- functions\n", &["expected a map with a key `functions`"]),
        ("functions:\n  a: *nobody\n", &["line 2"]),
        ("functions: &all\n  a: {image: x, labels: *all}\n", &["line"]),
        ("---\nfunctions: {a: {image: x}}\n---\nfunctions: {b: {image: x}}\n", &["s.yml"]),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage, "{text:?}");
        for part in parts {
            assert!(error.to_string().contains(part), "{part:?} is not in {error}, of {text:?}");
        }
    }
}

/// Each line means the one before it ten times.
#[test]
fn a_file_that_means_more_than_it_says_is_refused() {
    let mut text = String::from("x-0: &x0 [a, a, a, a, a, a, a, a, a, a]\n");
    for at in 1..12 {
        let before = format!("*x{}", at - 1);
        text += &format!("x-{at}: &x{at} [{}]\n", vec![before; 10].join(", "));
    }
    text += "functions: {a: {image: x}}\n";
    let error = parse(&text).unwrap_err();
    assert!(error.to_string().contains("repetition limit"), "{error}");
    // A cycle cannot be written out at all.
    assert!(parse("x-a: &a [*a]\nfunctions: {a: {image: x}}\n").is_err());
}

#[test]
fn a_megabyte_is_taken_as_a_value_and_told_in_a_line() {
    let large = "x".repeat(1 << 20);
    let stack = parse(&format!("functions: {{a: {{image: x, environment: {{A: {large}}}}}}}")).unwrap();
    assert_eq!(stack.functions[&name("a")].environment["A"], large);
    for text in [
        format!("functions: {{{large}: {{image: x}}}}"),
        format!("functions: {{a: {{image: x, limits: {large}}}}}"),
        format!("functions: {{a: {{image: x, limits: {{memory: {large}}}}}}}"),
        format!("functions: {{a: {{image: '${{{large}:1:2}}'}}}}"),
        format!("version: {large}\nfunctions: {{a: {{image: x}}}}"),
    ] {
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.len() < 2_000, "{} bytes", error.len());
    }
    // A key of a kilobyte is the longest that YAML has.
    let key = "k".repeat(1_000);
    let stack =
        parse(&format!("functions: {{a: {{image: x, {key}: 1, labels: {{A: '${{{large}}}'}}}}}}")).unwrap();
    assert_eq!(stack.warnings.len(), 2);
    assert!(stack.warnings.iter().all(|warning| warning.len() < 2_000));
}

#[test]
fn a_tab_is_called_by_its_name() {
    let error = parse("functions:\n  a:\n\t\timage: x\n").unwrap_err();
    assert!(error.hint_text().unwrap().contains("line 3"), "{error} {:?}", error.hint_text());
}

#[test]
fn tells_unknown_keys_and_unset_variables() {
    let stack = parse(
        "functions:\n  a:\n    image: x/${NO_SUCH}\n    enviroment: {A: b}\n    limits: {memroy: 1Mi}\n    x-mine: 1\nprovder: 1\n",
    )
    .unwrap();
    let warnings = stack.warnings.join("\n");
    for part in [
        "line 3: the variable NO_SUCH",
        "line 4",
        "functions.a.enviroment",
        "did you mean environment?",
        "functions.a.limits.memroy",
        "did you mean memory?",
        "provder",
        "did you mean provider?",
    ] {
        assert!(warnings.contains(part), "{part:?} is not in {warnings}");
    }
    assert_eq!(stack.warnings.len(), 4);
}

#[test]
fn plans_what_runs_and_what_is_built() {
    let stack = parse(
        "functions:
  file: {lang: wasm, image: ./x.wasm}
  rust: {lang: rust, handler: ./h}
  named: {lang: rust, handler: ./h, image: out/n.wasm}
  both: {lang: c, handler: ./h, image: reg/both:1}
  beside: {image: 'reg/b:1', annotations: {bramble.module: m.wasm}}
  stored: {image: 'sha256:0000000000000000000000000000000000000000000000000000000000000000'}
  classic: {lang: dockerfile, handler: ./h, image: reg/c:1}
  elsewhere: {lang: python3-flask, handler: ./h, image: reg/p:1}
  skipped: {lang: rust, handler: ./h, skip_build: true}
  no-handler: {lang: rust}
  no-template: {lang: rsut, handler: ./h}
  no-image: {lang: dockerfile, handler: ./h}
",
    )
    .unwrap();
    let plan = |text: &str| {
        let name = name(text);
        stack.plan(&name, &stack.functions[&name])
    };
    let built = |path: &str| Code::Module(PathBuf::from(path));
    let code = |text: &str| plan(text).unwrap().code;
    assert_eq!(code("file"), built("/s/./x.wasm"));
    assert_eq!(code("rust"), built("/s/build/rust.wasm"));
    assert_eq!(code("named"), built("/s/out/n.wasm"));
    let both = Code::Hybrid { image: "reg/both:1".into(), module: "/s/build/both.wasm".into() };
    assert_eq!(code("both"), both);
    assert_eq!(code("beside"), Code::Hybrid { image: "reg/b:1".into(), module: "/s/m.wasm".into() });
    assert_eq!(code("classic"), Code::Image("reg/c:1".into()));
    assert_eq!(code("elsewhere"), Code::Image("reg/p:1".into()));
    for (name, is_built) in [
        ("file", false),
        ("rust", true),
        ("named", true),
        ("both", true),
        ("stored", false),
        ("classic", true),
        ("elsewhere", false),
        ("skipped", false),
    ] {
        assert_eq!(plan(name).unwrap().build.is_some(), is_built, "{name}");
    }
    for (name, part) in [("no-handler", "handler"), ("no-template", "rsut"), ("no-image", "image")] {
        let error = plan(name).unwrap_err();
        assert!(error.to_string().contains(part) && error.to_string().contains(name), "{error}");
    }
    assert_eq!(plan("no-template").unwrap_err().hint_text(), Some("did you mean rust?"));
}

#[test]
fn the_examples_load() {
    let text = include_str!("../../../examples/stack.yml");
    let stack = parse(text).unwrap();
    assert_eq!(stack.warnings, [] as [&str; 0]);
    assert!(stack.functions.len() > 5);
    for (name, function) in &stack.functions {
        assert!(matches!(stack.plan(name, function).unwrap().code, Code::Module(_)), "{name}");
    }
}

#[test]
fn a_later_environment_file_wins() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("1.yml"), "environment: {A: one, B: one}").unwrap();
    std::fs::write(directory.path().join("2.yml"), "environment: {B: two}").unwrap();
    let text =
        "functions: {a: {image: x, environment: {A: zero, C: zero}, environment_file: [1.yml, 2.yml]}}";
    let stack = Stack::parse("s.yml", directory.path().to_owned(), text, &lookup).unwrap();
    let deployment = |stack: &Stack| stack.deployment(&name("a"), &stack.functions[&name("a")], "x");
    let environment: Vec<_> = deployment(&stack).unwrap().env_vars.into_iter().collect();
    let expected = [("A", "one"), ("B", "two"), ("C", "zero")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(environment, expected);
    std::fs::remove_file(directory.path().join("2.yml")).unwrap();
    let error = deployment(&stack).unwrap_err();
    assert!(error.to_string().contains("2.yml"), "{error}");
}

proptest! {
    /// Whatever is written: a stack or a reason, and no panic.
    #[test]
    fn any_text_has_an_answer(text in "(functions|provider|image|lang|a|:|-|\\{|\\}|\\[|\\]|&x|\\*x|!|\\$|\n|\t| |'|\"|é){0,60}") {
        let _ = parse(&text);
    }

    /// What is written as an environment arrives as it was written, whatever YAML might take it for.
    #[test]
    fn values_arrive_as_they_are(value in "[ -~]{0,30}") {
        let quoted = value.replace('\'', "''").replace('$', "$$");
        let text = format!("functions: {{a: {{image: x, environment: {{K: '{quoted}'}}}}}}");
        let stack = parse(&text).unwrap();
        prop_assert_eq!(&stack.functions[&name("a")].environment["K"], &value);
    }
}
