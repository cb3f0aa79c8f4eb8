//! Words of faas-cli that mean nothing here: whoever types one is told what to type instead.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Verbs that are not here.
const VERBS: &[(&str, &str)] = &[
    (
        "publish",
        "`bramble build -f FILE` and `bramble push -f FILE`; `platforms:` in the file names the platforms",
    ),
    ("plugin", "there are no plugins"),
    ("pro", "everything is in this command"),
    ("cloud", "`bramble generate -f FILE` prints what other tools take"),
    ("chart", "there is no Kubernetes here; `bramble generate --format compose` writes a stack for Swarm"),
    ("get", "the verb comes first: `bramble list`, `bramble describe NAME`"),
    ("ps", "`bramble list`"),
    ("delete", "`bramble remove NAME`"),
    ("apply", "`bramble secret create NAME --from-file FILE --replace` for each secret"),
    ("generate", "any password generator does: `openssl rand -hex 16 | bramble secret create NAME`"),
    ("store", "`bramble template pull ADDRESS` fetches a folder or a git repository"),
    ("seal", "secrets are kept by the gateway; see `bramble secret --help`"),
    ("unseal", "secrets are kept by the gateway; see `bramble secret --help`"),
    ("keygen", "secrets are kept by the gateway; see `bramble secret --help`"),
];

const NO_BROWSER: &str = "no browser is opened: `bramble login --token TOKEN` keeps a token that one got; without one: --grant client_credentials";

/// Flags that are not here; a verb of "" is any.
const FLAGS: &[(&str, &str, &str)] = &[
    (
        "",
        "--network",
        "all functions share the gateway's network, its setting functions_network: leave it out",
    ),
    (
        "",
        "--send-registry-auth",
        "the gateway reads ~/.docker/config.json itself: see `bramble registry-login`",
    ),
    ("", "--read-template", "a template's fprocess always counts: leave it out"),
    ("", "--disable-stack-pull", "nothing is pulled unless `bramble template pull` is typed: leave it out"),
    ("", "--squash", "Docker's builder has no layers to squash: leave it out"),
    ("", "--copy-extra", "write the folder into the stack file, below configuration.copy"),
    ("", "--build-label", "write it into the Dockerfile, as LABEL"),
    (
        "",
        "--dry-run",
        "`bramble generate -f FILE` prints what would be sent, `bramble diff -f FILE` what would change",
    ),
    ("", "--handler", "write a stack file: `bramble new --lang TEMPLATE NAME` makes one"),
    ("", "--lang", "write a stack file: `bramble new --lang TEMPLATE NAME` makes one"),
    ("", "--api", "there is no Kubernetes here; --format json or compose"),
    ("", "--from-store", "`bramble store inspect NAME` prints what a store says of a function"),
    ("", "--crd", "there is no Kubernetes here; --format json or compose"),
    ("", "--remote-builder", "images are built by the Docker of this machine; wasm needs none"),
    ("", "--payload-secret", "images are built by the Docker of this machine; wasm needs none"),
    ("", "--ecr", "--username AWS, with the output of `aws ecr get-login-password` on stdin"),
    ("auth", "--listen-port", NO_BROWSER),
    ("auth", "--launch-browser", NO_BROWSER),
    ("auth", "--redirect-host", NO_BROWSER),
    ("describe", "--verbose", "everything is printed always: leave it out"),
    ("describe", "-v", "everything is printed always: leave it out"),
    ("secret", "--verbose", "everything is printed always: leave it out"),
    ("store", "--verbose", "everything is printed always: leave it out; --all lists other platforms too"),
    ("store", "-v", "everything is printed always: leave it out; --all lists other platforms too"),
    (
        "invoke",
        "--sign",
        "put the signature into a header of your own with -H, made by `openssl dgst -sha256 -hmac KEY`",
    ),
    (
        "invoke",
        "--key",
        "put the signature into a header of your own with -H, made by `openssl dgst -sha256 -hmac KEY`",
    ),
    ("invoke", "--auth", "--token TOKEN shows a function its token"),
    ("logs", "--name", "-o keyvalue prints the name of the function with each line"),
    ("logs", "--time-format", "-o json prints the time as the gateway has it"),
    ("local-run", "--build", "it is built unless --no-build says otherwise: leave it out"),
    ("local-run", "--watch", "`bramble up -f FILE --watch` builds and deploys after each change"),
    ("local-run", "--print", "wasm runs in this process; there is no `docker run` to print"),
    ("completion", "--shell", "`bramble completion bash`"),
    ("login", "--timeout", "a gateway that does not answer within 10 s is given up: leave it out"),
    ("", "--timeout", "an upload has ten minutes, which is not set: leave it out"),
];

/// What to type instead of what the command line does not know.
pub(crate) fn hint(error: &clap::Error, verb: Option<&str>) -> Option<&'static str> {
    let (kind, of_verb) = match error.kind() {
        ErrorKind::UnknownArgument => (ContextKind::InvalidArg, false),
        ErrorKind::InvalidSubcommand => (ContextKind::InvalidSubcommand, true),
        _ => return None,
    };
    let Some(ContextValue::String(typed)) = error.get(kind) else { return None };
    if of_verb {
        return VERBS.iter().find(|(known, _)| known == typed).map(|(_, hint)| *hint);
    }
    let of = |known: &&(&str, &str, &str)| known.1 == typed && (known.0.is_empty() || Some(known.0) == verb);
    FLAGS.iter().find(of).map(|(_, _, hint)| *hint)
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;
    use clap::Parser;

    fn told(line: &str) -> Option<&'static str> {
        let words: Vec<&str> = line.split(' ').collect();
        hint(&Cli::try_parse_from(&words).unwrap_err(), words.get(1).copied())
    }

    #[test]
    fn whoever_comes_from_faas_cli_is_told_the_way() {
        for (line, part) in [
            ("bramble publish", "push"),
            ("bramble auth --launch-browser=false", "login --token"),
            ("bramble secret seal", "secret --help"),
            ("bramble deploy --image x --name y --network func_functions", "functions_network"),
            ("bramble describe -v fn", "leave it out"),
            ("bramble store deploy figlet --network x", "functions_network"),
            ("bramble logs fn --name", "keyvalue"),
        ] {
            assert!(told(line).is_some_and(|hint| hint.contains(part)), "{line}");
        }
        assert_eq!(told("bramble list --no-such-flag"), None);
        assert_eq!(told("bramble logs"), None);
    }

    /// A hint for what exists would never be seen.
    #[test]
    fn no_hint_is_for_what_is_there() {
        use clap::CommandFactory;
        let command = Cli::command();
        for (verb, flag, _) in FLAGS.iter().filter(|(verb, ..)| !verb.is_empty()) {
            let known = command.find_subcommand(verb).unwrap();
            let is = |arg: &clap::Arg| arg.get_long().is_some_and(|long| format!("--{long}") == *flag);
            assert!(!known.get_arguments().any(is), "{verb} has {flag}");
        }
    }
}
