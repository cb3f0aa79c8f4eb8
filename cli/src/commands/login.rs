//! `bramble login`

use std::io::IsTerminal;

use anyhow::Result;
use clap::Args;
use http::StatusCode;

use super::typed::read_text;
use super::{Connection, Context};
use crate::api::Api;
use crate::error::CliError;
use crate::logins::{basic, bearer};

/// Longest password.
const MAX_PASSWORD_BYTES: u64 = 4_096;

/// Keep a user and a password for a gateway; every verb shows them from then on
#[derive(Debug, Args)]
#[command(after_help = "\
The gateway is asked whether it takes them before they are kept, in ~/.openfaas/config.yml (in
OPENFAAS_CONFIG if that is set), which faas-cli uses too. Nobody else can read that file.

Examples:
  bramble login --password-stdin < password.txt
  docker exec GATEWAY cat /run/secrets/basic-auth-password | bramble login -g https://pi:8080 -s
  bramble login -g https://far --token \"$TOKEN\"        where a proxy before the gateway asks for one")]
pub(crate) struct Login {
    /// The user
    #[arg(short, long, default_value = "admin")]
    username: String,
    /// The password; others on this machine may see it while the command runs
    #[arg(short, long, conflicts_with_all = ["password_stdin", "token"])]
    password: Option<String>,
    /// Read the password from stdin
    #[arg(short = 's', long, conflicts_with = "token")]
    password_stdin: bool,
    #[command(flatten)]
    connection: Connection,
}

/// What is kept for the gateway.
enum Kept<'a> {
    Token(&'a str),
    Password(String),
}

impl Login {
    /// Asks the gateway, and keeps what it took.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        let kept = match &self.connection.credentials.token {
            Some(token) => Kept::Token(token),
            None => Kept::Password(self.password()?),
        };
        let shown = match &kept {
            Kept::Token(token) => bearer(token)?,
            Kept::Password(password) => basic(&self.username, password)?,
        };
        let api = Api::new(self.connection.client(context)?.logged_in(Some(shown)));
        let url = api.client().url().clone();
        let answer = api.ask_for_functions().await?;
        match answer.status {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED => {
                let what = if matches!(kept, Kept::Token(_)) { "token" } else { "user and password" };
                return Err(CliError::failed(format!("{url} takes no such {what}")).into());
            }
            status => return Err(crate::api::failure(status, &answer.body, "the login").into()),
        }
        let nobody = Api::new(self.connection.client(context)?.logged_in(None));
        if nobody.ask_for_functions().await?.status.is_success() {
            context.output.warn(format!("{url} asks nobody for credentials, so these were not looked at"));
        }
        let logins = context.environment.logins();
        let (path, who) = match kept {
            Kept::Token(token) => (logins.remember_token(&url, token)?, "with a token".to_owned()),
            Kept::Password(password) => {
                (logins.remember(&url, &self.username, &password)?, format!("as {}", self.username))
            }
        };
        context.output.line(format!("logged in to {url} {who}, kept in {}", path.display()))
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
