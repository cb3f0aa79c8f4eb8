//! What a function's code is, and what has to be built for it.

use std::path::PathBuf;

use bramble_provider::spec::MODULE_ANNOTATION;
use bramble_provider::{Digest, FunctionName};

use super::{Function, Stack};
use crate::error::CliError;
use crate::templates::{Kind, Template, Templates};

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Code {
    /// A wasm file, which is uploaded.
    Module(PathBuf),
    /// A container image, or a module that is stored already.
    Image(String),
    /// Both: the module answers at once, the container takes what it cannot.
    Hybrid {
        /// The container image.
        image: String,
        /// The wasm file.
        module: PathBuf,
    },
}

/// A build that makes a function's code.
#[derive(Debug, Clone)]
pub(crate) struct Build {
    /// How it is built.
    pub(crate) template: Template,
    /// Its source.
    pub(crate) handler: PathBuf,
    /// Where the module goes, or the image's name.
    pub(crate) makes: Makes,
}

/// What a build makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Makes {
    /// A wasm file.
    Module(PathBuf),
    /// A container image.
    Image(String),
}

/// A function with all that is to be done for it.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// What runs.
    pub(crate) code: Code,
    /// How it is made; `None` when it is there already.
    pub(crate) build: Option<Build>,
    /// The template's command, for a function that says none.
    pub(crate) fprocess: Option<String>,
}

/// Where a stack's functions are built, beside the stack file.
const BUILD_FOLDER: &str = "build";

impl Stack {
    /// The folder that its functions are built in; nobody's source, also of a handler that holds it.
    pub(crate) fn build_folder(&self) -> PathBuf {
        self.directory.join(BUILD_FOLDER)
    }

    /// What is to be done for one of its functions.
    ///
    /// # Errors
    /// [`CliError`] that names the function and what it lacks: a template, a handler, an image.
    pub(crate) fn plan(&self, name: &FunctionName, function: &Function) -> Result<Plan, CliError> {
        let refused =
            |reason: String| CliError::usage(format!("{}: functions.{name}: {reason}", self.source));
        let image = function.image();
        let file = image.filter(|image| image.ends_with(".wasm")).map(|image| self.directory.join(image));
        let template = match function.lang() {
            None => None,
            Some(lang) => Templates::beside(&self.directory)
                .find(lang)
                .map_err(|error| refused(format!("{error:#}")))?,
        };
        let Some(template) = template else {
            let code = match (file, image) {
                (Some(file), _) => Code::Module(file),
                (None, Some(image)) => self.beside(image, function),
                // Only a lang says nothing about what runs.
                (None, None) => return Err(self.no_template(name, function)),
            };
            return Ok(Plan { code, build: None, fprocess: None });
        };
        let fprocess = template.fprocess().map(str::to_owned);
        let is_digest = image.is_some_and(|image| Digest::parse(image).is_ok());
        let code = match (template.kind(), image) {
            (Kind::Wasm, Some(image)) if is_digest => Code::Image(image.to_owned()),
            (Kind::Wasm, Some(image)) if file.is_none() => {
                Code::Hybrid { image: image.to_owned(), module: self.built_module(name) }
            }
            (Kind::Wasm, _) => Code::Module(file.unwrap_or_else(|| self.built_module(name))),
            (Kind::Image, Some(image)) if file.is_none() => self.beside(image, function),
            (Kind::Image, _) => {
                return Err(refused(format!(
                    "{} builds a container image: give its name as image",
                    template.name()
                )));
            }
        };
        if function.skip_build || is_digest {
            return Ok(Plan { code, build: None, fprocess });
        }
        let handler = function.handler.as_ref().filter(|handler| !handler.as_os_str().is_empty());
        let handler =
            handler.ok_or_else(|| refused("it has no handler: the folder of its source".to_owned()))?;
        let makes = match (&code, template.kind()) {
            (Code::Module(path) | Code::Hybrid { module: path, .. }, Kind::Wasm) => {
                Makes::Module(path.clone())
            }
            (Code::Image(image) | Code::Hybrid { image, .. }, _) => Makes::Image(image.clone()),
            (Code::Module(_), Kind::Image) => return Err(refused("an image is no .wasm file".to_owned())),
        };
        Ok(Plan {
            code,
            build: Some(Build { template, handler: self.directory.join(handler), makes }),
            fprocess,
        })
    }

    /// An image, with the module beside it that the annotation names as a file.
    fn beside(&self, image: &str, function: &Function) -> Code {
        match function.annotations.get(MODULE_ANNOTATION).filter(|text| text.ends_with(".wasm")) {
            Some(module) => Code::Hybrid { image: image.to_owned(), module: self.directory.join(module) },
            None => Code::Image(image.to_owned()),
        }
    }

    fn built_module(&self, name: &FunctionName) -> PathBuf {
        self.build_folder().join(format!("{}.wasm", name.name()))
    }

    fn no_template(&self, name: &FunctionName, function: &Function) -> CliError {
        let lang = function.lang().unwrap_or_default();
        let message = format!("{}: functions.{name}: there is no template {lang:?}", self.source);
        match Templates::beside(&self.directory).like(lang) {
            Some(like) => CliError::usage(message).hint(format!("did you mean {like}?")),
            None => CliError::usage(message)
                .hint("`bramble new --list` names those there are, `bramble template pull` fetches more"),
        }
    }
}
