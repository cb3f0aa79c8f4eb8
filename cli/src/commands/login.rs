//! `bramble login`

use std::io::IsTerminal;

use anyhow::Result;
use clap::Args;
use http::StatusCode;
use jiff::Timestamp;

use super::typed::read_text;
use super::{Connection, Context};
use crate::api::Api;
use crate::error::CliError;
use crate::logins::{Shown, basic, bearer};

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

/// What is kept for a gateway.
pub(super) enum Kept {
    /// A bearer token, and until when it is good, if that is known.
    Token(String, Option<Timestamp>),
    /// A user and a password.
    Password(String, String),
}

impl Login {
    /// Asks the gateway, and keeps what it took.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        let kept = match &self.connection.credentials.token {
            Some(token) => Kept::Token(token.clone(), None),
            None => Kept::Password(self.username.clone(), self.password()?),
        };
        kept.keep(&self.connection, context).await
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

impl Kept {
    /// Asks the gateway whether it takes this, and keeps it.
    ///
    /// # Errors
    /// When it does not.
    pub(super) async fn keep(&self, connection: &Connection, context: &Context) -> Result<()> {
        let shown = match self {
            Self::Token(token, expires) => Shown { header: bearer(token)?, expires: *expires },
            Self::Password(user, password) => basic(user, password)?.into(),
        };
        // Not what was kept before, which this is to replace.
        let client = connection.stranger(context)?;
        let url = client.url().clone();
        let answer = Api::new(client.clone().logged_in(Some(shown))).ask_for_functions().await?;
        match (answer.status, self) {
            (status, _) if status.is_success() => {}
            (StatusCode::UNAUTHORIZED, Self::Token(..)) => {
                return Err(CliError::failed(format!("{url} takes no such token")).into());
            }
            (StatusCode::UNAUTHORIZED, Self::Password(..)) => {
                return Err(CliError::failed(format!("{url} takes no such user and password")).into());
            }
            (status, _) => {
                let shown = answer.shown.as_ref();
                return Err(crate::api::failure(status, &answer.body, shown, "the login").into());
            }
        }
        if Api::new(client).ask_for_functions().await?.status.is_success() {
            context.output.warn(format!("{url} asks nobody for credentials, so these were not looked at"));
        }
        let logins = context.environment.logins();
        let (path, who) = match self {
            Self::Token(token, expires) => {
                let until = expires.map(|expires| format!(" until {expires:.0}")).unwrap_or_default();
                (logins.remember_token(&url, token, *expires)?, format!("with a token{until}"))
            }
            Self::Password(user, password) => (logins.remember(&url, user, password)?, format!("as {user}")),
        };
        context.output.line(format!("logged in to {url} {who}, kept in {}", path.display()))
    }
}
