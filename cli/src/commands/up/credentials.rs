//! The user and the password of a gateway that `up` starts where others reach it.
//!
//! They are made at its first start, in the data directory, and this user is logged in. Whoever brings
//! other credentials (`--secret-mount-path`) or wants none (`--no-auth`) is left alone.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use bramble_gateway::auth::{AuthConfig, Credentials};
use http::HeaderValue;

use crate::config::{Resolved, SettingFlags, Source};
use crate::logins::basic;

/// The directory with the files, in the data directory.
const DIRECTORY: &str = "auth";

/// The user that is made.
const USER: &str = "admin";

/// Random bytes in a password; it has two digits for each.
const RANDOM_BYTES: usize = 24;

/// A user and a password.
pub(super) struct Login {
    pub(super) user: String,
    password: String,
    /// Where they were made, if here.
    pub(super) made_in: Option<PathBuf>,
}

impl Login {
    /// What goes into `Authorization`.
    pub(super) fn header(&self) -> Result<HeaderValue> {
        Ok(basic(&self.user, &self.password)?)
    }

    /// The password, to be kept for this user.
    pub(super) fn password(&self) -> &str {
        &self.password
    }
}

/// The flags with which the gateway asks for credentials, if it has to.
///
/// # Errors
/// When the files cannot be made.
pub(super) fn provide(flags: SettingFlags<true>, resolved: &Resolved) -> Result<SettingFlags<true>> {
    let gateway = &resolved.settings.gateway;
    let AuthConfig { basic_auth, no_auth, .. } = gateway.auth;
    if no_auth || !(basic_auth || gateway.auth.is_needed(gateway.listen)) {
        return Ok(flags);
    }
    let flags = flags.with("basic_auth", "true");
    let is_named = |(setting, source): &(&crate::config::table::Setting, Source)| {
        setting.key == "secret_mount_path" && *source != Source::Default
    };
    if resolved.sources.iter().any(is_named) {
        return Ok(flags);
    }
    let directory = std::path::absolute(gateway.data_dir.join(DIRECTORY))?;
    make(&directory).with_context(|| format!("making a password in {}", directory.display()))?;
    Ok(flags.with("secret_mount_path", &directory.to_string_lossy()))
}

/// The credentials that the settings name, if they ask for any.
///
/// # Errors
/// When the files cannot be read.
pub(super) fn read(resolved: &Resolved) -> Result<Option<Login>> {
    let gateway = &resolved.settings.gateway;
    if !gateway.auth.basic_auth {
        return Ok(None);
    }
    let directory = &gateway.auth.secret_mount_path;
    let read = |name: &str| {
        let path = directory.join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok::<_, anyhow::Error>(text.trim().to_owned())
    };
    let (user, password) = (read(Credentials::USER_FILE)?, read(Credentials::PASSWORD_FILE)?);
    let made_in = std::path::absolute(gateway.data_dir.join(DIRECTORY))?;
    Ok(Some(Login { user, password, made_in: Some(made_in).filter(|made| made == directory) }))
}

/// Makes both files, unless they are there.
fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut random = [0; RANDOM_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let password: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    for (name, text) in [(Credentials::PASSWORD_FILE, password.as_str()), (Credentials::USER_FILE, USER)] {
        let path = directory.join(name);
        if path.exists() {
            continue;
        }
        // Whole or not at all: an empty password would keep the gateway from starting.
        let part = path.with_extension("part");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        fs::rename(&part, &path)?;
    }
    Ok(())
}
