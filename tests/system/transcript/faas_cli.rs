//! What somebody types who comes from faas-cli: the same flags in the same forms, or a word on what to type here.

use serde_json::Value;

use super::{Desk, contains};
use crate::support::guest;

const STACK: &str = "\
provider: {name: openfaas}
functions:
  cat: {lang: wasm, image: cat.wasm}
  env: {lang: wasm, image: env.wasm, environment: {FROM: file}}
";

fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("cat.wasm", guest::cat());
    desk.write("env.wasm", guest::tells_environment());
    desk
}

#[test]
fn an_image_is_deployed_under_a_name_into_a_namespace() {
    let desk = desk();
    let digest = desk.gateway.upload(&guest::cat());
    let deploy = format!("deploy --image={digest} --name=copy -n team -e A=b -l team=blue --annotation x=y");
    contains(&desk.types(&deploy, 0), &["deployed copy.team"]);
    desk.types("ready copy -n team --attempts 3 --interval 100ms", 0);
    assert_eq!(desk.pipes("hi", "invoke copy --namespace team -m PUT", 0), "hi");
    contains(&desk.types("describe copy -n team", 0), &["A=b", "team=blue", "x=y"]);
    contains(&desk.types("list -n team -q", 0), &["copy.team"]);
    desk.types("logs copy -n team --tail=false --lines=-1", 0);
    desk.types("logs copy -n team -t=false --since-time 2026-01-01T00:00:00Z -o keyvalue", 0);
    desk.types("scale copy 3 -n team", 0);
    contains(&desk.types("namespaces", 0), &["openfaas-fn", "team"]);
    contains(&desk.types(&format!("deploy other --image {digest} --name copy"), 2), &["other", "copy"]);
    contains(&desk.types(&format!("deploy --image {digest}"), 2), &["--name"]);
    desk.types("remove copy --namespace=team", 0);
}

#[test]
fn the_stack_file_that_is_here_need_not_be_named() {
    let desk = desk();
    contains(&desk.types("deploy", 2), &["no FILE", "stack.yml"]);
    desk.write("stack.yml", STACK);
    contains(&desk.types("deploy -n team --filter c*", 0), &["deployed cat.team"]);
    contains(&desk.types("deploy --env FROM=flag", 0), &["deployed cat ", "deployed env "]);
    contains(&desk.types("invoke env", 0), &["FROM=flag"]);
    contains(&desk.types("up --regex ^env$", 0), &["deployed env "]);
    contains(&desk.types("invoke env", 0), &["FROM=file"]);
    contains(&desk.types("deploy --name one", 2), &["--filter"]);
    contains(&desk.types("up --env A=b --data-dir data", 2), &["-f stack.yml"]);
    contains(&desk.types("generate -n team", 0), &["\"namespace\": \"team\""]);
    contains(&desk.types("remove --filter c* -n team", 0), &["removed cat.team"]);
    contains(&desk.types("list --all-namespaces -q", 0), &["cat\nenv\n"]);
}

#[test]
fn what_is_there_is_updated_replaced_or_left_alone() {
    let desk = desk();
    desk.types("deploy cat.wasm --name one", 0);
    contains(
        &desk.types("deploy env.wasm --name one --update=false", 1),
        &["one", "already", "--update=false"],
    );
    assert_eq!(desk.pipes("hi", "invoke one", 0), "hi");
    desk.types("deploy env.wasm --name one --replace --update=false", 0);
    contains(&desk.types("invoke one -X GET", 0), &["Http_Method=GET"]);
    desk.types("deploy cat.wasm --name two --replace=true", 0);
    desk.types("deploy env.wasm --name two", 0);
    contains(&desk.types("list --sort creation -q", 0), &["two\none\n"]);
    contains(&desk.types("list --sort invocations -q", 0), &["one\ntwo\n"]);
}

#[test]
fn a_token_reaches_the_function_it_is_typed_for_and_a_login_does_not() {
    let desk = desk();
    desk.types("deploy env.wasm", 0);
    contains(&desk.types("invoke env -k open-sesame", 0), &["Http_Authorization=Bearer open-sesame"]);
    contains(&desk.types("login --token kept", 0), &["with a token"]);
    assert!(!desk.types("invoke env", 0).contains("kept"));
    contains(&desk.types("list --token \u{7f}", 2), &["--token"]);
    let id = desk.types("invoke -a env", 0);
    assert!(!id.trim().is_empty());
    desk.types("logout", 0);
}

#[test]
fn a_store_function_takes_the_options_of_a_deployment() {
    let desk = desk();
    desk.write("samples/echo.wasm", guest::tells_environment());
    desk.types("store deploy echo --samples samples --name mine -n team -e A=b --label c=d", 0);
    contains(&desk.types("invoke mine.team", 0), &["A=b"]);
    contains(&desk.types("describe mine.team", 0), &["c=d"]);
}

#[test]
fn a_tag_says_which_commit_was_built() {
    let desk = desk();
    desk.write("it/Dockerfile", "FROM scratch\n");
    desk.write(
        "stack.yml",
        "functions:\n  it: {lang: dockerfile, handler: it, image: 'reg:5000/it'}\n  no: {image: other}\n",
    );
    contains(&desk.types("generate --tag sha", 2), &["--tag"]);
    let git = |words: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]).args(words);
        let output = git.current_dir(desk.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "--quiet"]);
    git(&["commit", "--quiet", "--allow-empty", "-m", "one"]);
    let commit = git(&["rev-parse", "--short", "HEAD"]);
    let image = |words: &str, at: usize| -> String {
        let generated: Value = serde_json::from_str(&desk.types(words, 0)).unwrap();
        generated[at]["image"].as_str().unwrap().to_owned()
    };
    assert_eq!(image("generate --tag sha", 0), format!("reg:5000/it:latest-{commit}"));
    assert_eq!(image("generate --tag branch", 0), format!("reg:5000/it:latest-main-{commit}"));
    assert_eq!(image("generate --tag sha", 1), "other");
    desk.write("stack.yml", "functions: {it: {image: x, environment: {A: '${NO}'}}}");
    contains(&desk.types("generate --envsubst=false", 0), &["${NO}"]);
}

#[test]
fn functions_are_chained_and_mistakes_are_told() {
    let desk = desk();
    desk.types("deploy cat.wasm", 0);
    desk.types("deploy cat.wasm --name other -n team", 0);
    assert_eq!(desk.pipes("through both", "invoke cat|other.team", 0), "through both");
    contains(&desk.types("invoke cat|nobody", 4), &["nobody"]);
    desk.write("stack.yml", STACK);
    contains(&desk.types("deploy stack.yml", 2), &["-f stack.yml"]);
    contains(&desk.types("new x", 2), &["--lang", "new --list"]);
    contains(&desk.types("secret create s --from-literal v", 0), &["created"]);
    contains(&desk.types("secret create s --from-literal w", 1), &["exists already", "--replace"]);
    contains(&desk.types("login -p any", 0), &["asks nobody"]);
    desk.types("logout", 0);
}

#[test]
fn what_means_nothing_here_says_what_does() {
    let desk = Desk::new();
    for (words, part) in [
        ("publish -f stack.yml", "bramble push"),
        ("deploy --image x --name y --network func_functions", "functions_network"),
        ("deploy --dry-run", "bramble generate"),
        ("describe -v x", "leave it out"),
        ("generate --api openfaas.com/v1", "--format"),
    ] {
        contains(&desk.types(words, 2), &["hint:", part]);
    }
}
