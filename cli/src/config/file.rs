//! `bramble.toml`: a flat table, one key for each setting.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::config::table::{self, SETTINGS, Setting};
use crate::error::CliError;

/// A settings file whose keys are all known and whose values are all plain.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    values: Vec<(&'static Setting, String)>,
}

impl ConfigFile {
    /// Reads a file that must be there.
    ///
    /// # Errors
    /// [`CliError`] when it cannot be read, is no TOML, or has an unknown key or a nested value in it.
    pub(crate) fn read(path: &Path) -> Result<Self, CliError> {
        let text = std::fs::read_to_string(path).map_err(|error| refused(path, &error.to_string()))?;
        Self::parse(path, &text)
    }

    /// Reads a file that may be missing.
    ///
    /// # Errors
    /// As [`Self::read`]. A file that is there and cannot be read is an error, not a missing file.
    pub(crate) fn read_if_there(path: &Path) -> Result<Option<Self>, CliError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text).map(Some),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(refused(path, &error.to_string())),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, CliError> {
        let table: toml::Table =
            text.parse().map_err(|error: toml::de::Error| refused(path, error.to_string().trim_end()))?;
        let mut values = Vec::with_capacity(table.len());
        for (key, value) in table {
            let setting = table::find(&key).ok_or_else(|| unknown_key(path, &key))?;
            let text = plain(&value).ok_or_else(|| {
                refused(path, &format!("{key} must be one value, not {}", value.type_str()))
            })?;
            values.push((setting, text));
        }
        Ok(Self { path: path.to_owned(), values })
    }

    /// The file's path, as it was given.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The value of a setting, as text. A path is taken relative to the file, wherever the command
    /// was started.
    pub(crate) fn get(&self, setting: &Setting) -> Option<String> {
        let (_, value) = self.values.iter().find(|(found, _)| found.key == setting.key)?;
        if !setting.is_path() {
            return Some(value.clone());
        }
        let path = self.path.parent().unwrap_or(Path::new("")).join(value);
        // The value was text and the file's path was printed before: only an odd path is lossy.
        Some(path.to_string_lossy().into_owned())
    }
}

fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(switch) => Some(switch.to_string()),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}

fn refused(path: &Path, reason: &str) -> CliError {
    CliError::usage(format!("cannot use the settings in {}: {reason}", path.display()))
}

fn unknown_key(path: &Path, key: &str) -> CliError {
    let error = CliError::usage(format!("unknown key `{key}` in {}", path.display()));
    match nearest(key) {
        Some(known) => error.hint(format!("did you mean `{known}`?")),
        None => error.hint("`bramble config` lists the keys"),
    }
}

/// The known key that is most like `key`, when one is like it.
fn nearest(key: &str) -> Option<&'static str> {
    /// Below this likeness a suggestion is a guess; the value is what clap uses for flags.
    const LEAST_LIKENESS: f64 = 0.7;
    let key = key.replace('-', "_").to_lowercase();
    SETTINGS
        .iter()
        .map(|setting| (strsim::jaro(&key, setting.key), setting.key))
        .filter(|(likeness, _)| *likeness > LEAST_LIKENESS)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigFile, CliError> {
        ConfigFile::parse(Path::new("bramble.toml"), text)
    }

    #[test]
    fn takes_text_numbers_and_switches() {
        let file =
            parse("listen = '[::1]:80'\npool_slots = 7\npagemap_scan = true\nread_timeout = 1").unwrap();
        let get = |key| file.get(table::find(key).unwrap()).unwrap();
        assert_eq!([get("listen"), get("pool_slots"), get("pagemap_scan")], ["[::1]:80", "7", "true"]);
    }

    #[test]
    fn refuses_an_unknown_key_and_names_the_nearest() {
        for (key, known) in
            [("lisen", "listen"), ("max-body-size", "max_body_size"), ("data_dri", "data_dir")]
        {
            let error = parse(&format!("{key} = 'x'")).unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
            assert!(error.hint_text().unwrap().contains(&format!("`{known}`")), "{:?}", error.hint_text());
        }
        assert_eq!(nearest("qqqq"), None);
    }

    #[test]
    fn refuses_what_is_no_flat_table() {
        for text in ["listen = ['a']", "[listen]\na = 1", "listen", "listen = 'a'\nlisten = 'b'"] {
            assert!(parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
