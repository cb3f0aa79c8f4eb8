//! `--tag`: what git says of the stack's folder, behind the tags of the images that are built.

use std::path::Path;
use std::process::{Command, Stdio};

use bramble_provider::Digest;
use clap::ValueEnum;

use super::{Function, Stack};
use crate::error::CliError;

/// What is added to a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tag {
    /// Nothing
    Latest,
    /// The commit, as in 1.0-3f1c0a5
    Sha,
    /// The branch and the commit
    Branch,
    /// What `git describe --tags --always` says
    Describe,
}

/// Gives every image that is built its new tag; one that has none gets `latest` first.
///
/// # Errors
/// [`CliError`] when git does not know the folder.
pub(super) fn apply(stack: &mut Stack, tag: Tag) -> Result<(), CliError> {
    let said = |words: &[&str]| git(&stack.directory, words);
    let commit = ["rev-parse", "--short", "HEAD"];
    let suffix = match tag {
        Tag::Latest => String::new(),
        Tag::Sha => format!("-{}", said(&commit)?),
        Tag::Branch => format!("-{}-{}", said(&["rev-parse", "--abbrev-ref", "HEAD"])?, said(&commit)?),
        Tag::Describe => format!("-{}", said(&["describe", "--tags", "--always"])?),
    };
    // A branch may be called feature/x.
    let suffix = suffix.replace(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c), "-");
    for function in stack.functions.values_mut() {
        if let Some(image) = built_image(function) {
            function.image = Some(tagged(image, &suffix));
        }
    }
    Ok(())
}

/// The container image that a function's build makes.
fn built_image(function: &Function) -> Option<&str> {
    let image = function.image().filter(|_| function.lang().is_some() && !function.skip_build)?;
    (!image.ends_with(".wasm") && Digest::parse(image).is_err()).then_some(image)
}

fn tagged(image: &str, suffix: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    let latest = if name.contains(':') { "" } else { ":latest" };
    format!("{image}{latest}{suffix}")
}

fn git(directory: &Path, words: &[&str]) -> Result<String, CliError> {
    // The stack file may be beside the current folder, whose path is empty then.
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let mut git = Command::new("git");
    git.arg("-C").arg(directory).args(words).stdin(Stdio::null());
    let refused = |reason: &str| CliError::usage(format!("--tag: git {}: {reason}", words.join(" ")));
    let output = git.output().map_err(|error| refused(&error.to_string()))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(refused(String::from_utf8_lossy(&output.stderr).trim())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_tag() {
        for (image, expected) in [
            ("me/fn:1.0", "me/fn:1.0-abc"),
            ("fn", "fn:latest-abc"),
            ("registry:5000/me/fn", "registry:5000/me/fn:latest-abc"),
            ("registry:5000/me/fn:2", "registry:5000/me/fn:2-abc"),
        ] {
            assert_eq!(tagged(image, "-abc"), expected);
        }
    }
}
