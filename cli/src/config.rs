//! Where every value comes from: flag before environment before file before default.
//!
//! In: the environment (only this file reads it), the layers, and which of them won. Out: what
//! each setting means ([`table`]) and how the file is written ([`mod@file`]).
//! The property that must hold: a value that is not understood stops the command, naming its key,
//! itself and where it was found. Nothing is silently replaced by a default.

pub(crate) mod file;
pub(crate) mod flags;
pub(crate) mod table;
pub(crate) mod value;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use bramble_gateway::GatewayConfig;

use crate::error::CliError;
use crate::logins::Logins;
use bramble_provider::HttpUrl;
use bramble_provider::url::InvalidUrl;
use file::ConfigFile;
pub(crate) use flags::SettingFlags;
use table::{SETTINGS, Setting};
use value::LogFormat;

/// The gateway that the verbs talk to when nothing names one.
pub(crate) const DEFAULT_GATEWAY: &str = "http://127.0.0.1:8080";

/// The settings file's name, in the current directory or in the data directory.
pub(crate) const FILE_NAME: &str = "bramble.toml";

/// The variables of the process, read once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// Reads the environment of this process. Variables whose name is no UTF-8 are not ours.
    pub(crate) fn of_process() -> Self {
        Self(std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value))).collect())
    }

    /// The value of a variable. Empty is the same as unset, as compose files write it.
    ///
    /// # Errors
    /// [`CliError`] when the value is no UTF-8.
    pub(crate) fn get(&self, name: &str) -> Result<Option<&str>, CliError> {
        match self.0.get(name).filter(|value| !value.is_empty()) {
            None => Ok(None),
            Some(value) => value
                .to_str()
                .map(Some)
                .ok_or_else(|| CliError::usage(format!("the variable {name} is no valid UTF-8: {value:?}"))),
        }
    }

    /// The value of a variable for a file that refers to it: what is no UTF-8 is as good as unset, and
    /// an empty value is one.
    pub(crate) fn raw(&self, name: &str) -> Option<String> {
        self.0.get(name)?.to_str().map(str::to_owned)
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.0.get(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// Whether colours are unwanted (<https://no-color.org>).
    pub(crate) fn no_color(&self) -> bool {
        self.path("NO_COLOR").is_some()
    }

    /// The gateway that the verbs talk to: the flag, else `OPENFAAS_URL`, else [`DEFAULT_GATEWAY`].
    ///
    /// # Errors
    /// [`CliError`] when it is no URL that can be used.
    pub(crate) fn gateway_url(&self, flag: Option<&str>) -> Result<HttpUrl, CliError> {
        let (text, source) = match (flag, self.get("OPENFAAS_URL")?) {
            (Some(text), _) => (text, "--gateway"),
            (None, Some(text)) => (text, "OPENFAAS_URL"),
            (None, None) => (DEFAULT_GATEWAY, "the default"),
        };
        HttpUrl::with_or_without_tls(text).map_err(|reason: InvalidUrl| {
            CliError::usage(format!("the gateway's URL {text:?} (from {source}) {reason}"))
        })
    }

    /// Where the logins are, as `faas-cli` looks for them: `OPENFAAS_CONFIG`, or `.openfaas` in the home
    /// directory; in the current one where `CI` is `true`.
    pub(crate) fn logins(&self) -> Logins {
        let in_ci = self.path("CI").is_some_and(|ci| ci.as_os_str() == "true");
        let directory = match self.path("OPENFAAS_CONFIG") {
            Some(named) => Some(named),
            None if in_ci => Some(PathBuf::from(".openfaas")),
            None => self.path("HOME").map(|home| home.join(".openfaas")),
        };
        Logins::in_dir(directory)
    }

    /// `$XDG_DATA_HOME/bramble`, else `~/.local/share/bramble`.
    fn default_data_dir(&self) -> Option<PathBuf> {
        // The XDG specification says that a relative path is to be ignored.
        let data_home = self.path("XDG_DATA_HOME").filter(|path| path.is_absolute());
        let data_home = data_home.or_else(|| Some(self.path("HOME")?.join(".local/share")));
        Some(data_home?.join("bramble"))
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        Self(variables.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect())
    }
}

/// Everything that `gateway` and `up` can be told.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The gateway and, in it, the wasm host.
    pub(crate) gateway: GatewayConfig,
    /// How the log is written.
    pub(crate) log_format: LogFormat,
    /// Which events are logged: a level, or directives such as `info,bramble_host=debug`.
    pub(crate) log_level: String,
    /// The sample functions that `up` deploys.
    pub(crate) samples: Option<PathBuf>,
}

impl Settings {
    /// The defaults, with everything below `data_dir`.
    pub(crate) fn in_dir(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            gateway: GatewayConfig::in_dir(data_dir),
            log_format: LogFormat::Text,
            log_level: "info".to_owned(),
            samples: None,
        }
    }
}

/// Where a value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// On the command line.
    Flag(String),
    /// In this variable.
    Environment(&'static str),
    /// In this file.
    File(PathBuf),
    /// Nowhere.
    Default,
}

impl Source {
    /// The word for the kind of source, for JSON.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Flag(_) => "flag",
            Self::Environment(_) => "environment",
            Self::File(_) => "file",
            Self::Default => "default",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Environment(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The settings, and for each row of the table where its value was found.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The values.
    pub(crate) settings: Settings,
    /// One source for each of [`SETTINGS`], in that order.
    pub(crate) sources: Vec<(&'static Setting, Source)>,
}

/// Puts the layers together. Reads the settings file; `directory` is where `./bramble.toml` is
/// looked for.
///
/// # Errors
/// [`CliError`] for a file that cannot be read or has an unknown key in it, and for a value that
/// cannot be understood.
pub(crate) fn resolve<const UP: bool>(
    flags: &SettingFlags<UP>,
    environment: &Environment,
    directory: &Path,
) -> Result<Resolved, CliError> {
    let (file, data_dir) = find_file(flags, environment, directory)?;
    let mut settings = Settings::in_dir(data_dir);
    settings.gateway.containers.docker_config = environment.path("HOME").map(|home| home.join(".docker"));
    let mut sources = Vec::with_capacity(SETTINGS.len());
    for setting in SETTINGS {
        let Some((value, source)) = lookup(setting, flags, environment, file.as_ref())? else {
            sources.push((setting, Source::Default));
            continue;
        };
        setting.set(&mut settings, &value).map_err(|reason| {
            CliError::usage(format!("{} = {value:?} (from {source}): {reason}", setting.key))
        })?;
        sources.push((setting, source));
    }
    Ok(Resolved { settings, sources })
}

/// The value of a setting in the highest layer that has one.
fn lookup<const UP: bool>(
    setting: &'static Setting,
    flags: &SettingFlags<UP>,
    environment: &Environment,
    file: Option<&ConfigFile>,
) -> Result<Option<(String, Source)>, CliError> {
    if let Some(value) = flags.get(setting.key) {
        return Ok(Some((value.to_owned(), Source::Flag(format!("--{}", setting.flag())))));
    }
    for name in setting.environment {
        if let Some(value) = environment.get(name)? {
            return Ok(Some((value.to_owned(), Source::Environment(name))));
        }
    }
    let found = file.and_then(|file| Some((file.get(setting)?, Source::File(file.path().to_owned()))));
    Ok(found)
}

/// The settings file, if there is one, and the data directory.
///
/// Each can name the other: a file that was named or is in the current directory may set the data
/// directory; else the data directory may hold the file.
fn find_file<const UP: bool>(
    flags: &SettingFlags<UP>,
    environment: &Environment,
    directory: &Path,
) -> Result<(Option<ConfigFile>, PathBuf), CliError> {
    let named = match flags.config() {
        Some(path) => Some(path.to_owned()),
        None => environment.get("BRAMBLE_CONFIG")?.map(PathBuf::from),
    };
    let mut file = match named {
        Some(path) => Some(ConfigFile::read(&path)?),
        None => ConfigFile::read_if_there(&directory.join(FILE_NAME))?,
    };
    let setting = table::find("data_dir").expect("the table has a row for the data directory");
    let data_dir = match lookup(setting, flags, environment, file.as_ref())? {
        Some((value, _)) => PathBuf::from(value),
        None => environment.default_data_dir().ok_or_else(|| {
            CliError::usage("there is no data directory: neither BRAMBLE_DATA_DIR nor HOME is set")
                .hint("name one with --data-dir DIR")
        })?,
    };
    if file.is_none() {
        file = ConfigFile::read_if_there(&data_dir.join(FILE_NAME))?;
        if let Some(file) = file.as_ref().filter(|file| file.get(setting).is_some()) {
            let path = file.path().display();
            return Err(CliError::usage(format!(
                "data_dir is set in {path}, a file that was found by its data directory; remove it there"
            )));
        }
    }
    Ok((file, data_dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(values: &[(&'static str, &str)]) -> SettingFlags<true> {
        SettingFlags::of(values)
    }

    fn check(
        values: &[(&'static str, &str)],
        environment: impl Into<Environment>,
        file: &str,
    ) -> Result<Resolved, CliError> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE_NAME), file).unwrap();
        let mut environment = environment.into();
        environment.0.insert("HOME".to_owned(), directory.path().into());
        resolve(&flags(values), &environment, directory.path())
    }

    fn source<'a>(resolved: &'a Resolved, key: &str) -> &'a Source {
        &resolved.sources.iter().find(|(setting, _)| setting.key == key).unwrap().1
    }

    #[test]
    fn flag_wins_over_environment_over_file_over_default() {
        let listen = |resolved: &Resolved| resolved.settings.gateway.listen.port();
        let environment = [("BRAMBLE_LISTEN", "127.0.0.1:2")];
        let file = "listen = '127.0.0.1:3'";
        let flag = [("listen", "127.0.0.1:1")];

        let all = check(&flag, environment, file).unwrap();
        assert_eq!((listen(&all), source(&all, "listen").kind()), (1, "flag"));
        let two = check(&[], environment, file).unwrap();
        assert_eq!((listen(&two), source(&two, "listen")), (2, &Source::Environment("BRAMBLE_LISTEN")));
        let one = check(&[], [], file).unwrap();
        assert_eq!((listen(&one), source(&one, "listen").kind()), (3, "file"));
        let none = check(&[], [], "").unwrap();
        assert_eq!((listen(&none), source(&none, "listen")), (8080, &Source::Default));
    }

    #[test]
    fn takes_the_originals_variable_after_our_own() {
        let seconds = |resolved: Resolved| resolved.settings.gateway.upstream_timeout.as_secs();
        assert_eq!(seconds(check(&[], [("upstream_timeout", "7")], "").unwrap()), 7);
        let both = [("upstream_timeout", "7"), ("BRAMBLE_UPSTREAM_TIMEOUT", "1m")];
        assert_eq!(seconds(check(&[], both, "").unwrap()), 60);
    }

    #[test]
    fn an_empty_variable_is_an_unset_one() {
        let resolved = check(&[], [("BRAMBLE_LISTEN", "")], "").unwrap();
        assert_eq!(source(&resolved, "listen"), &Source::Default);
    }

    #[test]
    fn refuses_a_bad_value_by_key_value_and_source() {
        let bad = [
            check(&[("max_body_size", "12Q")], [], ""),
            check(&[], [("BRAMBLE_MAX_BODY_SIZE", "12Q")], ""),
            check(&[], [], "max_body_size = '12Q'"),
        ];
        for (result, source) in bad.into_iter().zip(["--max-body-size", "BRAMBLE_MAX_BODY_SIZE", FILE_NAME]) {
            let message = result.unwrap_err().to_string();
            for part in ["max_body_size", "12Q", source] {
                assert!(message.contains(part), "{part:?} is not in {message:?}");
            }
        }
    }

    #[test]
    fn follows_the_data_directory() {
        let resolved = check(&[("data_dir", "/tmp/here")], [], "").unwrap();
        assert_eq!(resolved.settings.gateway.wasm.secrets_dir, Path::new("/tmp/here/secrets"));
        let resolved = check(&[], [("XDG_DATA_HOME", "/xdg")], "").unwrap();
        assert_eq!(resolved.settings.gateway.data_dir, Path::new("/xdg/bramble"));
        let resolved = check(&[], [("XDG_DATA_HOME", "relative")], "").unwrap();
        assert!(resolved.settings.gateway.data_dir.ends_with(".local/share/bramble"));
    }

    #[test]
    fn reads_the_file_in_the_data_directory_when_there_is_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("data");
        std::fs::create_dir(&data_dir).unwrap();
        let text = data_dir.to_str().unwrap();
        let read = |content: &str| {
            std::fs::write(data_dir.join(FILE_NAME), content).unwrap();
            resolve(&flags(&[("data_dir", text)]), &Environment::default(), directory.path())
        };
        assert_eq!(read("pool_slots = 9").unwrap().settings.gateway.wasm.pool_slots, 9);
        assert!(read("data_dir = '/elsewhere'").is_err());
    }

    #[test]
    fn a_path_in_the_file_is_relative_to_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("settings.toml");
        std::fs::write(&path, "data_dir = 'data'").unwrap();
        let environment = Environment::from([("BRAMBLE_CONFIG", path.to_str().unwrap())]);
        let resolved = resolve(&flags(&[]), &environment, Path::new("/nowhere")).unwrap();
        assert_eq!(resolved.settings.gateway.data_dir, directory.path().join("data"));
    }

    #[test]
    fn finds_the_gateway_for_the_verbs() {
        let url = |flag, environment: Environment| environment.gateway_url(flag).map(|url| url.to_string());
        assert_eq!(url(None, Environment::default()).unwrap(), DEFAULT_GATEWAY);
        let environment = Environment::from([("OPENFAAS_URL", "http://pi:8080/")]);
        assert_eq!(url(None, environment.clone()).unwrap(), "http://pi:8080");
        assert_eq!(url(Some("http://other"), environment).unwrap(), "http://other");
        assert!(url(Some("ftp://other"), Environment::default()).is_err());
    }
}
