//! What `up` says when everything runs.

use std::path::Path;

use anyhow::Result;
use bramble_gateway::auth::Credentials;
use bramble_provider::DEFAULT_NAMESPACE;

use crate::api::{Api, FunctionStatus, read};
use crate::config::DEFAULT_GATEWAY;
use crate::output::{Output, Style};

/// Functions that show best what this is about, the best first.
const SHOW_CASES: [&str; 4] = ["wordcount", "figlet", "echo", "hello"];

/// A user and a password that were made here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made<'a> {
    pub(super) user: &'a str,
    /// Where they are.
    pub(super) folder: &'a Path,
    /// Whether other verbs of this user show them by themselves.
    pub(super) is_kept: bool,
}

/// The URL and three commands to try.
#[derive(Debug)]
pub(super) struct Greeting {
    url: String,
    commands: [String; 3],
}

impl Greeting {
    /// Suggests commands for what is deployed on a gateway. `program` is this command as it was typed.
    pub(super) async fn of(api: &Api, program: &str) -> Self {
        let functions: Vec<FunctionStatus> =
            api.functions(DEFAULT_NAMESPACE).await.and_then(|answer| read(&answer)).unwrap_or_default();
        let names: Vec<_> = functions.iter().map(crate::commands::full_name).collect();
        let url = api.client().url().to_string();
        Self { commands: commands(&names, program, &url), url }
    }

    /// Prints it to stdout.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(super) fn print(&self, data_dir: &Path, made: Option<Made<'_>>, output: Output) -> Result<()> {
        if let Some(Made { user, folder, is_kept }) = made {
            let path = folder.join(Credentials::PASSWORD_FILE);
            let path = path.display();
            let state = match is_kept {
                true => "you are logged in.".to_owned(),
                false => format!("log in by `bramble login -g {} -s < {path}`.", self.url),
            };
            output.line(format!("\nIts API asks for the user {user} and the password in {path}; {state}"))?;
        }
        let url = output.paint(Style::Green, &self.url);
        let commands = self.commands.join("\n  ");
        output
            .line(format!("\nbramble is up at {url}, data in {}\n\nTry:\n  {commands}\n", data_dir.display()))
    }
}

fn commands(functions: &[String], program: &str, url: &str) -> [String; 3] {
    let gateway = if url == DEFAULT_GATEWAY { String::new() } else { format!(" -g {url}") };
    let known = |name: &&str| functions.iter().any(|function| function == name);
    let show_case = SHOW_CASES.into_iter().find(known).or(functions.first().map(String::as_str));
    match show_case {
        Some(name) => [
            format!("{program} list{gateway}"),
            format!("echo 'a bramble of small machines' | {program} invoke{gateway} {name}"),
            format!("curl -d 'a bramble of small machines' {url}/function/{name}"),
        ],
        None => [
            format!("{program} deploy{gateway} ./hello.wasm"),
            format!("echo hi | {program} invoke{gateway} hello"),
            format!("curl -d hi {url}/function/hello"),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_is_deployed() {
        let functions = ["base64", "echo"].map(str::to_owned);
        let [list, invoke, curl] = commands(&functions, "bramble", DEFAULT_GATEWAY);
        assert_eq!(list, "bramble list");
        assert!(invoke.ends_with("| bramble invoke echo") && curl.ends_with("/function/echo"));
    }

    #[test]
    fn names_the_gateway_when_it_is_not_the_default_one() {
        let [deploy, ..] = commands(&[], "./bramble", "http://127.0.0.1:1");
        assert_eq!(deploy, "./bramble deploy -g http://127.0.0.1:1 ./hello.wasm");
    }
}
