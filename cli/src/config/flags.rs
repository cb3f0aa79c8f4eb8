//! The flags of `gateway`, `up`, `config` and `down`, made from the table.

use std::path::{Path, PathBuf};

use clap::error::Error as ClapError;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::config::Settings;
use crate::config::table::{SETTINGS, Scope, Setting};

/// The settings that were given on the command line. `UP` adds those that only `up` has.
#[derive(Debug, Clone, Default)]
pub(crate) struct SettingFlags<const UP: bool> {
    values: Vec<(&'static str, String)>,
    config: Option<PathBuf>,
}

impl<const UP: bool> SettingFlags<UP> {
    /// The value of a flag, by the setting's key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.values.iter().find(|(found, _)| *found == key).map(|(_, value)| value.as_str())
    }

    /// The settings file that was named.
    pub(crate) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Flags of these keys and values, as if they had been typed.
    pub(crate) fn of(values: &[(&'static str, &str)]) -> Self {
        let values = values.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        Self { values, config: None }
    }

    /// The same, with a settings file named.
    pub(crate) fn with_config(mut self, config: Option<PathBuf>) -> Self {
        self.config = config;
        self
    }

    /// The same, with one more flag typed.
    pub(crate) fn with(mut self, key: &'static str, value: &str) -> Self {
        self.values.retain(|(found, _)| *found != key);
        self.values.push((key, value.to_owned()));
        self
    }

    /// The words that give another `bramble gateway` the same flags.
    pub(crate) fn gateway_arguments(&self) -> Vec<std::ffi::OsString> {
        let mut words = Vec::new();
        for setting in SETTINGS.iter().filter(|setting| setting.scope == Scope::Gateway) {
            if let Some(value) = self.get(setting.key) {
                words.push(format!("--{}={value}", setting.flag()).into());
            }
        }
        if let Some(config) = &self.config {
            words.extend(["--config".into(), config.into()]);
        }
        words
    }
}

fn in_scope(up: bool) -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(move |setting| up || setting.scope == Scope::Gateway)
}

fn argument(setting: &'static Setting) -> Arg {
    // The help shows a default below the data directory as what it is.
    let default = setting.get(&Settings::in_dir("DATA_DIR"));
    let default = match (setting.key, default.as_str()) {
        ("data_dir", _) => "~/.local/share/bramble",
        (_, "") => "none",
        (_, default) => default,
    };
    let names = setting.environment.join(", ");
    let argument = Arg::new(setting.key)
        .long(setting.flag())
        .value_name(setting.placeholder())
        .help(format!("{} [env: {names}] [default: {default}]", setting.help))
        .help_heading("Settings");
    match setting.is_switch() {
        // `--pagemap-scan` alone switches it on; a value needs `=`.
        true => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
        false => argument.allow_hyphen_values(true),
    }
}

impl<const UP: bool> Args for SettingFlags<UP> {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help(
                "Read settings from this file [env: BRAMBLE_CONFIG] \
                 [default: ./bramble.toml, else DATA_DIR/bramble.toml, where there is one]",
            )
            .help_heading("Settings");
        in_scope(UP).fold(command.arg(config), |command, setting| command.arg(argument(setting)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<const UP: bool> FromArgMatches for SettingFlags<UP> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, ClapError> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), ClapError> {
        self.values = in_scope(UP)
            .filter_map(|setting| Some((setting.key, matches.get_one::<String>(setting.key)?.clone())))
            .collect();
        self.config = matches.get_one::<PathBuf>("config").cloned();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<SettingFlags<true>, ClapError> {
        let command = SettingFlags::<true>::augment_args(Command::new("up").no_binary_name(true));
        SettingFlags::from_arg_matches(&command.try_get_matches_from(words)?)
    }

    #[test]
    fn every_setting_has_a_flag() {
        for setting in SETTINGS {
            let flags = parse(&[&format!("--{}=x", setting.flag())]).unwrap();
            assert_eq!(flags.get(setting.key), Some("x"));
        }
    }

    #[test]
    fn a_switch_needs_no_value() {
        assert_eq!(parse(&["--pagemap-scan"]).unwrap().get("pagemap_scan"), Some("true"));
        assert_eq!(parse(&["--pagemap-scan=false"]).unwrap().get("pagemap_scan"), Some("false"));
    }

    #[test]
    fn hands_its_flags_to_another_gateway() {
        let flags = parse(&["--listen", "[::1]:0", "--samples", "dir", "--config", "a b.toml"]).unwrap();
        assert_eq!(flags.gateway_arguments(), ["--listen=[::1]:0", "--config", "a b.toml"]);
    }
}
