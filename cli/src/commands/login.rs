//! `bramble login`

use std::io::IsTerminal;

use anyhow::Result;
use clap::Args;
use http::StatusCode;

use super::typed::read_text;
use super::{Connection, Context};
use crate::api::Api;
use crate::error::CliError;
use crate::logins::basic;

/// Longest password.
const MAX_PASSWORD_BYTES: u64 = 4_096;

/// Keep a user and a password for a gateway; every verb shows them from then on
#[derive(Debug, Args)]
#[command(after_help = "\
The gateway is asked whether it takes them before they are kept, in ~/.openfaas/config.yml (in
OPENFAAS_CONFIG if that is set), which faas-cli uses too. Nobody else can read that file.

Examples:
  bramble login --password-stdin < password.txt
  docker exec GATEWAY cat /run/secrets/basic-auth-password | bramble login -g https://pi:8080 -s")]
pub(crate) struct Login {
    /// The user
    #[arg(short, long, default_value = "admin")]
    username: String,
    /// The password; others on this machine may see it while the command runs
    #[arg(short, long, conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Read the password from stdin
    #[arg(short = 's', long)]
    password_stdin: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Login {
    /// Asks the gateway, and keeps what it took.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        let password = self.password()?;
        let api = self.connection.api(context)?;
        let api = Api::new(api.client().clone().logged_in(Some(basic(&self.username, &password)?)));
        let url = api.client().url().clone();
        let answer = api.ask_for_functions().await?;
        match answer.status {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED => {
                return Err(CliError::failed(format!("{url} takes no such user and password")).into());
            }
            status => return Err(crate::api::failure(status, &answer.body, "the login").into()),
        }
        let path =
            context.environment.logins().remember(&url, &self.username, &password)?.display().to_string();
        context.output.line(format!("logged in to {url} as {}, kept in {path}", self.username))
    }

    fn password(&self) -> Result<String> {
        if let Some(password) = &self.password {
            return Ok(password.clone());
        }
        let stdin = std::io::stdin();
        if !self.password_stdin || stdin.is_terminal() {
            let error = CliError::usage("there is no password");
            return Err(error.hint("pipe it in with --password-stdin, or give it with --password").into());
        }
        let password = read_text(stdin, MAX_PASSWORD_BYTES, "the password")?;
        let password = password.trim();
        if password.is_empty() {
            Err(CliError::usage("the password is empty").into())
        } else {
            Ok(password.into())
        }
    }
}
