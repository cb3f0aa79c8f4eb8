//! Builds functions: a template and a handler become a wasm file or a container image.
//!
//! In: the folder of the build, running what the template says, what went wrong. Out: which functions
//! and templates ([`crate::stack`], [`crate::templates`]). Nothing is installed: a build that lacks a
//! tool says how to get it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use bramble_provider::FunctionName;

use crate::error::CliError;
use crate::stack::{Build, Function, Makes, Stack};
use crate::templates::{read_folder, sync};

/// The exit code by which a build script says that a tool is missing (`EX_UNAVAILABLE`).
const TOOL_IS_MISSING: i32 = 69;

/// How a wasm file begins.
const MAGIC: &[u8] = b"\0asm";

/// Last lines of a build that failed which are shown.
const SHOWN_LINES: usize = 40;

/// One build that is to run.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    name: FunctionName,
    build: Build,
    folder: PathBuf,
    /// The folder of all builds of the stack, which no source is taken from.
    builds: PathBuf,
    sources: Vec<PathBuf>,
    docker: Vec<String>,
}

/// What can be asked of every build.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// Make images from nothing.
    pub(crate) no_cache: bool,
    /// Look for newer base images.
    pub(crate) pull: bool,
    /// Only write what is built from.
    pub(crate) shrinkwrap: bool,
}

impl Job {
    /// The build of a function of a stack.
    ///
    /// # Errors
    /// [`CliError`] for options that the template does not have.
    pub(crate) fn new(
        stack: &Stack,
        name: &FunctionName,
        function: &Function,
        build: Build,
        options: Options,
    ) -> Result<Self, CliError> {
        let builds = stack.build_folder();
        let folder = builds.join(name.name());
        let docker = docker_words(name, function, &build, options, stack)?;
        let sources = stack.copy.iter().map(|folder| stack.path(folder)).collect();
        Ok(Self { name: name.clone(), build, folder, builds, sources, docker })
    }

    /// The function.
    pub(crate) fn name(&self) -> &FunctionName {
        &self.name
    }

    /// Builds, and tells each line of the build. Blocks until it is done; what was made before stays
    /// when it fails.
    ///
    /// # Errors
    /// [`CliError`] that names the function, with the end of what its build said.
    pub(crate) fn run(&self, options: Options, say: &mut dyn FnMut(&str)) -> Result<String> {
        self.write_folder()?;
        if options.shrinkwrap {
            return Ok(self.folder.display().to_string());
        }
        match &self.build.makes {
            Makes::Module(output) => {
                self.module(output, say)?;
                Ok(output.display().to_string())
            }
            Makes::Image(image) => {
                self.image(say)?;
                Ok(image.clone())
            }
        }
    }

    /// The template's files, with the handler where the template has it.
    fn write_folder(&self) -> Result<()> {
        let handler = &self.build.handler;
        if !handler.is_dir() {
            return Err(CliError::usage(format!(
                "functions.{}: the handler {} is no folder",
                self.name,
                handler.display()
            ))
            .into());
        }
        let below = self.build.template.handler_folder();
        let mut files = self.build.template.build_files()?;
        for source in &self.sources {
            let name = source.file_name().map(PathBuf::from).unwrap_or_default();
            let source = read_folder(source, Some(&self.builds))?;
            files.extend(source.into_iter().map(|file| file.onto(&below.join(&name))));
        }
        files.extend(read_folder(handler, Some(&self.builds))?.into_iter().map(|file| file.onto(&below)));
        std::fs::create_dir_all(&self.folder)
            .with_context(|| format!("creating {}", self.folder.display()))?;
        sync(&files, &self.folder)
    }

    fn module(&self, output: &Path, say: &mut dyn FnMut(&str)) -> Result<()> {
        let made = self.folder.join("function.wasm");
        // What an earlier build made must not be taken for this one's.
        let _ = std::fs::remove_file(&made);
        let script = self.build.template.build_script().unwrap_or("build.sh");
        let mut shell = Command::new("sh");
        // One stream, so that its lines are told in their order.
        shell.args(["-c", "exec sh \"$0\" 2>&1", script]);
        shell.env("BRAMBLE_OUTPUT", &made).env("BRAMBLE_FUNCTION", self.name.name());
        // Where packages are that were installed beside the source, which are not copied.
        let handler = std::path::absolute(&self.build.handler).context("finding the handler")?;
        shell.env("BRAMBLE_HANDLER", handler);
        self.command(shell, "sh", say)?;
        let wasm = std::fs::read(&made)
            .map_err(|error| self.failed(&format!("it made no {}: {error}", made.display())))?;
        if !wasm.starts_with(MAGIC) {
            return Err(self.failed(&format!("{} is no WebAssembly file", made.display())).into());
        }
        let write = || {
            if let Some(parent) = output.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::rename(&made, output)
        };
        write().with_context(|| format!("writing {}", output.display()))
    }

    fn image(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        let mut docker = Command::new("docker");
        docker.args(&self.docker).arg(&self.folder);
        let Err(error) = self.command(docker, "docker", say) else { return Ok(()) };
        let dockerfile = std::fs::read_to_string(self.folder.join("Dockerfile")).unwrap_or_default();
        // Looked for only now: a registry of somebody's may have them.
        match images_of_ours(&dockerfile, &self.docker).into_iter().find(|image| is_not_here(image)) {
            Some(image) => Err(error.downcast::<CliError>()?.hint(hint_for(&image)).into()),
            None => Err(error),
        }
    }

    fn command(&self, mut command: Command, program: &str, say: &mut dyn FnMut(&str)) -> Result<()> {
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(Stdio::piped());
        // Docker's builder writes what it does to stderr; it is read with the rest.
        let (reader, writer) = std::io::pipe().context("making a pipe")?;
        let started = command.stdout(writer.try_clone()?).stderr(writer).spawn();
        let mut child = started.map_err(|error| {
            CliError::failed(format!("cannot build {}: {program} does not start: {error}", self.name))
                .hint(format!("install {program}; functions of a wasm template need no Docker"))
        })?;
        // The child has the only writers now, so its end is the end of the pipe.
        drop(command);
        let mut last = std::collections::VecDeque::new();
        let mut log = std::fs::File::create(self.folder.with_extension("log")).ok();
        for line in BufReader::new(reader).split(b'\n') {
            let line = line.context("reading what the build says")?;
            let line = String::from_utf8_lossy(&line).into_owned();
            if let Some(log) = &mut log {
                let _ = writeln!(log, "{line}");
            }
            say(&line);
            if last.len() == SHOWN_LINES {
                last.pop_front();
            }
            last.push_back(line);
        }
        let status = child.wait().context("waiting for the build")?;
        if status.success() {
            return Ok(());
        }
        let said = last.into_iter().collect::<Vec<_>>().join("\n");
        if status.code() == Some(TOOL_IS_MISSING) {
            return Err(self.failed(said.trim()).into());
        }
        Err(self.failed(&format!("{status}\n{}", said.trim_end())).into())
    }

    fn failed(&self, reason: &str) -> CliError {
        CliError::failed(format!("cannot build {}: {reason}", self.name))
    }
}

/// The words of `docker build`, without the folder.
fn docker_words(
    name: &FunctionName,
    function: &Function,
    build: &Build,
    options: Options,
    stack: &Stack,
) -> Result<Vec<String>, CliError> {
    let Makes::Image(image) = &build.makes else { return Ok(Vec::new()) };
    let mut words = vec!["build".to_owned(), "--tag".to_owned(), image.clone()];
    if options.no_cache {
        words.push("--no-cache".to_owned());
    }
    if options.pull {
        words.push("--pull".to_owned());
    }
    if let Some(platforms) = function.platforms.as_deref().filter(|text| !text.is_empty()) {
        words.extend(["--platform".to_owned(), platforms.to_owned()]);
    }
    let mut packages = Vec::new();
    for option in &function.build_options {
        let known = build.template.packages(option).ok_or_else(|| {
            let template = build.template.name();
            CliError::usage(format!(
                "functions.{name}.build_options: template {template} has no option {option:?}"
            ))
        })?;
        packages.extend_from_slice(known);
    }
    let packages = Some(packages.join(" ")).filter(|packages| !packages.is_empty());
    let packages = packages.map(|packages| ("ADDITIONAL_PACKAGE".to_owned(), packages));
    for (key, value) in function.build_args.clone().into_iter().chain(packages) {
        words.extend(["--build-arg".to_owned(), format!("{key}={value}")]);
    }
    for (id, path) in &function.build_secrets {
        words.extend(["--secret".to_owned(), format!("id={id},src={}", stack.path(path).display())]);
    }
    Ok(words)
}

/// How the images of Bramble's own begin, which are made on each machine.
const OURS: &str = "bramble/";

/// The images of ours that a Dockerfile builds upon, by what it says and by the build's arguments.
fn images_of_ours(dockerfile: &str, docker: &[String]) -> Vec<String> {
    let given: Vec<_> = docker.iter().filter_map(|word| word.split_once('=')).collect();
    let is_given = |line: &str| {
        let name = line.strip_prefix("ARG ").and_then(|argument| argument.split('=').next());
        name.is_some_and(|name| given.iter().any(|(known, _)| *known == name.trim()))
    };
    let lines = dockerfile.lines().map(str::trim).filter(|line| !line.starts_with('#') && !is_given(line));
    let words = lines.flat_map(|line| line.split(|letter: char| letter.is_whitespace() || letter == '='));
    let words = words.chain(given.iter().map(|(_, value)| *value));
    words
        .map(|word| word.trim_matches('"'))
        .filter(|word| word.starts_with(OURS))
        .map(str::to_owned)
        .collect()
}

/// Whether Docker says that it has no such image.
fn is_not_here(image: &str) -> bool {
    let asked = Command::new("docker").args(["image", "inspect", image]).stdin(Stdio::null()).output();
    asked.is_ok_and(|said| String::from_utf8_lossy(&said.stderr).contains("No such image"))
}

fn hint_for(image: &str) -> String {
    let name = image.trim_start_matches(OURS).split([':', '@']).next().unwrap_or_default();
    format!(
        "there is no image {image} here, and Bramble's own are in no registry: type `make images` in its sources, or \
         `scripts/images.sh {name}` for this one; or build upon another image, named in the Dockerfile or by --build-arg"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_images_of_ours() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let template = include_str!("../templates/dockerfile/function/Dockerfile");
        for (dockerfile, docker, images) in [
            (template, "build --tag bramble/mine:1", &["bramble/fwatchdog:latest"][..]),
            (template, "build --build-arg WATCHDOG=other/dog:1", &[]),
            (template, "build --build-arg WATCHDOG=bramble/echoit", &["bramble/echoit"]),
            (
                "FROM bramble/cc AS build\nCOPY --from=\"bramble/x:1\" /a /b",
                "build",
                &["bramble/cc", "bramble/x:1"],
            ),
            ("# FROM bramble/cc\nFROM scratch\nCOPY bramble /bramble/x\n", "build", &[]),
        ] {
            assert_eq!(images_of_ours(dockerfile, &words(docker)), images, "{dockerfile} {docker}");
        }
        assert!(hint_for("bramble/fwatchdog:latest").contains("scripts/images.sh fwatchdog`"));
    }
}
