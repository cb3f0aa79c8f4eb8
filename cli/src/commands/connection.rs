//! Which gateway a verb speaks to, and what it is shown there.

use std::path::PathBuf;

use anyhow::Result;
use bramble_provider::HttpUrl;
use clap::Args;

use super::Context;
use crate::api::Api;
use crate::client::{Client, Trust};
use crate::config::DEFAULT_GATEWAY;
use crate::error::CliError;
use crate::logins::{Shown, bearer};
use crate::stack::Stack;

/// Which gateway a verb speaks to.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Connection {
    /// The gateway [env: OPENFAAS_URL] [default: http://127.0.0.1:8080]
    #[arg(short = 'g', long = "gateway", value_name = "URL")]
    gateway: Option<String>,
    /// Trust the certificate authorities in this file (PEM) instead of those of this machine
    #[arg(long, value_name = "FILE", conflicts_with = "tls_no_verify")]
    tls_ca: Option<PathBuf>,
    /// Take any certificate of the gateway, also that of somebody in between
    #[arg(long)]
    tls_no_verify: bool,
    #[command(flatten)]
    pub(super) credentials: Credentials,
}

/// What a gateway is shown.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Credentials {
    /// Show this bearer token instead of what `bramble login` kept for the gateway
    #[arg(short = 'k', long, value_name = "TOKEN")]
    pub(super) token: Option<String>,
}

impl Credentials {
    /// What the API of this gateway is shown, if anything.
    pub(super) fn of(&self, url: &HttpUrl, context: &Context) -> Result<Option<Shown>, CliError> {
        match &self.token {
            Some(token) => Ok(Some(bearer(token)?.into())),
            None => context.environment.logins().of(url),
        }
    }
}

impl Connection {
    /// The API of that gateway.
    pub(super) fn api(&self, context: &Context) -> Result<Api> {
        Ok(Api::new(self.client(context)?))
    }

    /// The API of the gateway that a verb with a stack file speaks to: the flag, else what the file names
    /// unless that is the default, as files come with it; else as every verb.
    pub(super) fn of_stack(&self, context: &Context, stack: &Stack) -> Result<Api> {
        let named = stack.gateway.clone();
        let named = named.filter(|url| url.trim_end_matches('/') != DEFAULT_GATEWAY);
        Self { gateway: self.gateway.clone().or(named), ..self.clone() }.api(context)
    }

    /// The gateway.
    pub(super) fn url(&self, context: &Context) -> Result<HttpUrl, CliError> {
        context.environment.gateway_url(self.gateway.as_deref())
    }

    /// A client that shows the token that was given, else what this user logged in with.
    pub(super) fn client(&self, context: &Context) -> Result<Client, CliError> {
        let client = self.stranger(context)?;
        let login = self.credentials.of(client.url(), context)?;
        Ok(client.logged_in(login))
    }

    /// A client that shows nothing.
    pub(super) fn stranger(&self, context: &Context) -> Result<Client, CliError> {
        let trust = match &self.tls_ca {
            _ if self.tls_no_verify => Trust::Anyone,
            Some(path) => Trust::Authorities(path.clone()),
            None => Trust::System,
        };
        Client::trusting(self.url(context)?, &trust)
    }
}
