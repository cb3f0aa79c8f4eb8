//! `bramble scaler`

use std::sync::Arc;

use anyhow::Result;
use bramble_scaler::{Journal, Scaler as Loop, ScalerMetrics};
use clap::Args;

use super::{Connection, Context};
use crate::config::{Environment, Settings, Source, table};
use crate::error::CliError;
use crate::remote::RemoteTarget;
use crate::serve;

/// Scale the functions of a gateway from outside it, in the foreground
#[derive(Debug, Args)]
#[command(after_help = "\
`bramble up` and `bramble gateway` run a scaler inside, so this is for a gateway that was started with
--scaler=off. One scaler writes at a time: it holds a lease at the gateway, and another one says so and
stands by until the lease ends. Ctrl-C and SIGTERM stop it and give the lease back.

Examples:
  bramble gateway --scaler=off
  bramble scaler --gateway http://127.0.0.1:8080 --prometheus-url http://127.0.0.1:9090
  bramble scaler --dry-run")]
pub(crate) struct Scaler {
    #[command(flatten)]
    connection: Connection,
    /// Scale by what this Prometheus has; by the gateway's counters if not set [env: BRAMBLE_PROMETHEUS_URL]
    #[arg(long, value_name = "URL")]
    prometheus_url: Option<String>,
    /// The series of this gateway in it: cluster="home" [env: BRAMBLE_PROMETHEUS_SELECTOR]
    #[arg(long, value_name = "MATCHERS")]
    prometheus_selector: Option<String>,
    /// How old its samples may be; more than two scrape intervals [env: BRAMBLE_PROMETHEUS_WINDOW]
    /// [default: 60s]
    #[arg(long, value_name = "DURATION")]
    prometheus_window: Option<String>,
    /// Time from one look to the next [env: BRAMBLE_SCALE_INTERVAL] [default: 1s]
    #[arg(long, value_name = "DURATION")]
    scale_interval: Option<String>,
    /// How long fewer replicas must be enough before they go [env: BRAMBLE_SCALE_DOWN_WINDOW]
    #[arg(long, value_name = "DURATION")]
    scale_down_window: Option<String>,
    /// Log what would be scaled, and scale nothing [env: BRAMBLE_SCALE_DRY_RUN]
    #[arg(long, visible_alias = "scale-dry-run")]
    dry_run: bool,
    /// Write the log as lines or as JSON [env: BRAMBLE_LOG_FORMAT] [default: text]
    #[arg(long, value_name = "text|json")]
    log_format: Option<String>,
    /// What is logged [env: BRAMBLE_LOG_LEVEL, RUST_LOG] [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl Scaler {
    /// Runs until it is told to stop.
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let settings = self.settings(&context.environment)?;
        let client = self.connection.client(context)?;
        serve::start_log(&settings, context.output)?;
        let scaling = &settings.gateway.scaling;
        // One thread: it waits nearly always.
        super::client_runtime()?.block_on(async {
            let stop = serve::Stop::listen()?;
            tracing::info!(gateway = %client.url(), source = ?scaling.prometheus_url.as_ref().map(ToString::to_string), "scaler");
            let journal = Arc::<Journal>::default();
            let target = Arc::new(RemoteTarget::new(client, journal.clone()));
            let scaler = Loop::new(
                scaling.source(),
                target.clone(),
                scaling.scaler(),
                ScalerMetrics::detached(),
                journal,
            );
            tokio::select! {
                () = scaler.run() => {}
                () = stop.requested() => {}
            }
            target.give_back().await;
            Ok(())
        })
    }

    /// The settings it shares with the gateway, read as the gateway reads them.
    fn settings(&self, environment: &Environment) -> Result<Settings, CliError> {
        let mut settings = Settings::in_dir("");
        let dry_run = self.dry_run.then(|| "true".to_owned());
        for (key, flag) in [
            ("prometheus_url", &self.prometheus_url),
            ("prometheus_selector", &self.prometheus_selector),
            ("prometheus_window", &self.prometheus_window),
            ("scale_interval", &self.scale_interval),
            ("scale_down_window", &self.scale_down_window),
            ("scale_dry_run", &dry_run),
            ("log_format", &self.log_format),
            ("log_level", &self.log_level),
        ] {
            let setting = table::find(key).expect("the table has a row for each of these");
            let mut found = flag.clone().map(|text| (text, Source::Flag("the command line".to_owned())));
            for name in setting.environment {
                if found.is_some() {
                    break;
                }
                found = environment.get(name)?.map(|text| (text.to_owned(), Source::Environment(name)));
            }
            let Some((text, source)) = found else { continue };
            setting
                .set(&mut settings, &text)
                .map_err(|reason| CliError::usage(format!("{key} = {text:?} (from {source}): {reason}")))?;
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{FromArgMatches, Parser};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        scaler: Scaler,
    }

    fn settings(words: &[&str], environment: Environment) -> Result<Settings, CliError> {
        let command = <Line as clap::CommandFactory>::command().no_binary_name(true);
        let line = Line::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap();
        line.scaler.settings(&environment)
    }

    #[test]
    fn flag_wins_over_environment_over_default() {
        let environment = || Environment::from([("BRAMBLE_SCALE_INTERVAL", "7s")]);
        let seconds = |settings: Settings| settings.gateway.scaling.interval.as_secs();
        assert_eq!(seconds(settings(&["--scale-interval", "9s"], environment()).unwrap()), 9);
        assert_eq!(seconds(settings(&[], environment()).unwrap()), 7);
        assert_eq!(seconds(settings(&[], Environment::default()).unwrap()), 1);
        assert!(settings(&["--dry-run"], Environment::default()).unwrap().gateway.scaling.dry_run);
    }

    #[test]
    fn a_bad_value_is_named_with_its_source() {
        let environment = Environment::from([("BRAMBLE_PROMETHEUS_URL", "prom:x")]);
        let said = settings(&[], environment).unwrap_err().to_string();
        assert!(said.contains("prometheus_url") && said.contains("BRAMBLE_PROMETHEUS_URL"), "{said}");
    }
}
