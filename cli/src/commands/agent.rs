//! `bramble agent`

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, Result};
use bramble_swarm::{AgentConfig, DockerHost, serve_agent};
use clap::Args;

use super::Context;
use crate::config::{Environment, Settings, Source, table};
use crate::error::CliError;
use crate::serve;

const DEFAULT_LISTEN: &str = "0.0.0.0:8084";
const DEFAULT_DOCKER: &str = "unix:///var/run/docker.sock";
const DEFAULT_TOKEN_FILE: &str = "/run/secrets/bramble-agent-token";
const DEFAULT_NETWORK: &str = "functions";

/// Run a node's agent: tell gateways of its containers, and freeze and thaw them
#[derive(Debug, Args)]
#[command(after_help = "\
A Docker daemon tells of its own node's containers only, and only it can pause them. An agent on
every node makes a gateway know at once what starts and ends there, and lets it freeze idle replicas
on all nodes. It serves who shows its token, and touches no containers but those of functions.

You need not start it yourself: `bramble gateway --agent-image IMAGE` makes the Swarm service
`bramble-agent`, with a token of its own (DATA_DIR/agent-token). To run it otherwise, put one token
of at least 32 characters into that file and into every agent's --token-file; give its containers
and service the label bramble.agent=true, and port 8084 on the functions' network.

Ctrl-C and SIGTERM stop it. While Docker is away it answers 503 and goes on trying.

Examples:
  bramble gateway --agent-image registry.example.com/bramble:1
  bramble agent --listen 127.0.0.1:8084 --token-file ./agent-token
  curl -N -H \"Authorization: Bearer $(cat agent-token)\" http://127.0.0.1:8084/v1/events")]
pub(crate) struct Agent {
    /// Serve gateways here [env: BRAMBLE_AGENT_LISTEN] [default: 0.0.0.0:8084]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// The Docker daemon of this node [env: BRAMBLE_DOCKER_HOST, DOCKER_HOST]
    /// [default: unix:///var/run/docker.sock]
    #[arg(long, value_name = "URL")]
    docker_host: Option<String>,
    /// Holds the token that gateways show [env: BRAMBLE_AGENT_TOKEN_FILE]
    /// [default: /run/secrets/bramble-agent-token]
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// The overlay network of container functions [env: BRAMBLE_FUNCTIONS_NETWORK]
    /// [default: functions]
    #[arg(long, value_name = "NAME")]
    functions_network: Option<String>,
    /// Write the log as lines or as JSON [env: BRAMBLE_LOG_FORMAT] [default: text]
    #[arg(long, value_name = "text|json")]
    log_format: Option<String>,
    /// What is logged [env: BRAMBLE_LOG_LEVEL, RUST_LOG] [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl Agent {
    /// Runs until it is told to stop.
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let environment = &context.environment;
        let log = self.log(environment)?;
        let config = self.config(environment)?;
        serve::start_log(&log, context.output)?;
        let listen = config.listen;
        // One thread: it waits nearly always, and the node's memory is for functions.
        super::client_runtime()?.block_on(async {
            let stop = serve::Stop::listen()?;
            tracing::info!(%listen, "agent");
            let served = serve_agent(config, stop.requested()).await;
            served.context("the agent cannot run")
        })
    }

    fn config(&self, environment: &Environment) -> Result<AgentConfig, CliError> {
        let value = |flag: &Option<String>, names: &[&'static str], default| -> Result<_, CliError> {
            let found = find(flag.as_deref(), names, environment)?;
            Ok(found.unwrap_or_else(|| (String::from(default), Source::Default)))
        };
        let listen = value(&self.listen, &["BRAMBLE_AGENT_LISTEN"], DEFAULT_LISTEN)?;
        let docker = value(&self.docker_host, &["BRAMBLE_DOCKER_HOST", "DOCKER_HOST"], DEFAULT_DOCKER)?;
        let token_file = value(&self.token_file, &["BRAMBLE_AGENT_TOKEN_FILE"], DEFAULT_TOKEN_FILE)?;
        let network = value(&self.functions_network, &["BRAMBLE_FUNCTIONS_NETWORK"], DEFAULT_NETWORK)?;
        Ok(AgentConfig {
            listen: parse::<SocketAddr>("listen", &listen)?,
            docker: parse::<DockerHost>("docker_host", &docker)?,
            token_file: PathBuf::from(token_file.0),
            network: network.0,
        })
    }

    /// How it logs, as the gateway reads it.
    fn log(&self, environment: &Environment) -> Result<Settings, CliError> {
        let mut settings = Settings::in_dir("");
        for (key, flag) in [("log_format", &self.log_format), ("log_level", &self.log_level)] {
            let setting = table::find(key).expect("the table has a row for the log");
            if let Some(found) = find(flag.as_deref(), setting.environment, environment)? {
                setting.set(&mut settings, &found.0).map_err(|reason| refused(key, &found, &reason))?;
            }
        }
        Ok(settings)
    }
}

/// The value of the flag, else of the first variable that is set.
fn find(
    flag: Option<&str>,
    names: &[&'static str],
    environment: &Environment,
) -> Result<Option<(String, Source)>, CliError> {
    if let Some(text) = flag {
        return Ok(Some((text.to_owned(), Source::Flag("the command line".to_owned()))));
    }
    for name in names {
        if let Some(text) = environment.get(name)? {
            return Ok(Some((text.to_owned(), Source::Environment(name))));
        }
    }
    Ok(None)
}

fn parse<T: FromStr<Err: Display>>(key: &str, found: &(String, Source)) -> Result<T, CliError> {
    found.0.parse().map_err(|error: T::Err| refused(key, found, &error))
}

fn refused(key: &str, (text, source): &(String, Source), reason: &dyn Display) -> CliError {
    CliError::usage(format!("{key} = {text:?} (from {source}): {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(listen: Option<&str>) -> Agent {
        Agent {
            listen: listen.map(str::to_owned),
            docker_host: None,
            token_file: None,
            functions_network: None,
            log_format: None,
            log_level: None,
        }
    }

    #[test]
    fn flag_wins_over_environment_over_default() {
        let environment =
            Environment::from([("BRAMBLE_AGENT_LISTEN", "127.0.0.1:2"), ("DOCKER_HOST", "tcp://pi")]);
        let config = agent(Some("127.0.0.1:1")).config(&environment).unwrap();
        assert_eq!((config.listen.port(), config.docker.to_string().as_str()), (1, "tcp://pi:2375"));
        assert_eq!(agent(None).config(&environment).unwrap().listen.port(), 2);
        let config = agent(None).config(&Environment::default()).unwrap();
        assert_eq!(
            (config.listen.to_string().as_str(), config.network.as_str()),
            (DEFAULT_LISTEN, "functions")
        );
        assert_eq!(config.docker, DockerHost::local());
    }

    #[test]
    fn a_bad_value_is_named_with_its_source() {
        let environment =
            Environment::from([("BRAMBLE_AGENT_LISTEN", "nowhere"), ("BRAMBLE_LOG_LEVEL", "inof")]);
        let listen = agent(None).config(&environment).unwrap_err().to_string();
        let level = agent(None).log(&environment).unwrap_err().to_string();
        assert!(listen.contains("nowhere") && listen.contains("BRAMBLE_AGENT_LISTEN"), "{listen}");
        assert!(level.contains("inof") && level.contains("BRAMBLE_LOG_LEVEL"), "{level}");
    }
}
