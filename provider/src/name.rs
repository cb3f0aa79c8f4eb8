//! Function and secret names: parsed once at the edge, valid ever after.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The namespace of a function that names none. `faas-cli` adds it to every invocation.
pub const DEFAULT_NAMESPACE: &str = "openfaas-fn";

/// Longest DNS label, and so the longest function name and the longest namespace (RFC 1123).
pub const MAX_LABEL_BYTES: usize = 63;

/// Longest secret name, a DNS subdomain (RFC 1123).
pub const MAX_SECRET_NAME_BYTES: usize = 253;

/// Longest name of a file, on every file system that a gateway is likely to have (`NAME_MAX`).
const MAX_FILE_NAME_BYTES: usize = 255;

/// A function's name, with its namespace when that is not [`DEFAULT_NAMESPACE`].
///
/// Both parts are DNS labels (RFC 1123: lower-case letters, digits and inner hyphens, at most 63
/// bytes). The written form is `name`, or `name.namespace`; `name.openfaas-fn` parses to `name`,
/// so one function has one value. Cloning copies a pointer.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionName(Arc<str>);

impl FunctionName {
    /// Parses `name` or `name.namespace`.
    ///
    /// # Errors
    /// [`InvalidName`] with the text that was refused.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        match text.split_once('.') {
            None => Self::new(text, DEFAULT_NAMESPACE),
            // `name.` names an empty namespace, which is not the same as naming none.
            Some((_, "")) => {
                Err(InvalidName { kind: "function name", text: shortened(text), rule: LABEL_RULE })
            }
            Some((name, namespace)) => Self::new(name, namespace),
        }
    }

    /// Makes the name of function `name` in `namespace`; an empty namespace means the default one.
    ///
    /// # Errors
    /// [`InvalidName`] when either part is no DNS label.
    pub fn new(name: &str, namespace: &str) -> Result<Self, InvalidName> {
        let refuse =
            |text: &str| Err(InvalidName { kind: "function name", text: shortened(text), rule: LABEL_RULE });
        if !is_label(name) {
            return refuse(name);
        }
        match namespace {
            "" | DEFAULT_NAMESPACE => Ok(Self(name.into())),
            other if is_label(other) => Ok(Self(format!("{name}.{other}").into())),
            other => Err(InvalidName { kind: "namespace", text: shortened(other), rule: LABEL_RULE }),
        }
    }

    /// The written form, which is also the key in maps and the metrics' `function_name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the namespace.
    pub fn name(&self) -> &str {
        self.0.split_once('.').map_or(&*self.0, |(name, _)| name)
    }

    /// The namespace, [`DEFAULT_NAMESPACE`] unless another was named.
    pub fn namespace(&self) -> &str {
        self.0.split_once('.').map_or(DEFAULT_NAMESPACE, |(_, namespace)| namespace)
    }
}

/// A secret's name: a DNS subdomain (RFC 1123), so it is a safe file name too.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretName(Arc<str>);

impl SecretName {
    /// Parses a secret's name.
    ///
    /// # Errors
    /// [`InvalidName`] with the text that was refused.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        if text.len() <= MAX_SECRET_NAME_BYTES && text.split('.').all(is_label) {
            return Ok(Self(text.into()));
        }
        Err(InvalidName { kind: "secret name", text: shortened(text), rule: SUBDOMAIN_RULE })
    }

    /// The written form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a file can be called as it is in a namespace: with the namespace it may be too long for one.
    pub fn fits(&self, namespace: &str) -> bool {
        self.in_namespace(namespace).len() <= MAX_FILE_NAME_BYTES
    }

    /// What it is called among the secrets of all namespaces, as a file or in a Swarm: the name itself in
    /// [`DEFAULT_NAMESPACE`], else `name_namespace`. No name has an underscore, so no two are called alike.
    pub fn in_namespace(&self, namespace: &str) -> String {
        match namespace {
            "" | DEFAULT_NAMESPACE => self.0.to_string(),
            other => format!("{}_{other}", self.0),
        }
    }
}

/// Whether a text can be a namespace: a DNS label (RFC 1123).
///
/// # Errors
/// [`InvalidName`] with the text that was refused.
pub fn check_namespace(text: &str) -> Result<(), InvalidName> {
    if is_label(text) {
        return Ok(());
    }
    Err(InvalidName { kind: "namespace", text: shortened(text), rule: LABEL_RULE })
}

/// A name that is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {text:?} is invalid: {rule}")]
pub struct InvalidName {
    /// What was being named: `function name`, `namespace` or `secret name`.
    pub kind: &'static str,
    /// The refused text, shortened to a length that fits a message.
    pub text: String,
    /// What a valid one looks like.
    pub rule: &'static str,
}

const LABEL_RULE: &str =
    "it must be a valid DNS label: at most 63 lower-case letters, digits and inner hyphens";
const SUBDOMAIN_RULE: &str =
    "it must be a valid DNS subdomain: lower-case letters, digits, inner hyphens and inner dots";

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    bytes.len() <= MAX_LABEL_BYTES
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// At most 80 characters of client text for a message.
pub(crate) fn shortened(text: &str) -> String {
    const MAX_CHARS: usize = 80;
    if text.chars().count() <= MAX_CHARS {
        return text.to_owned();
    }
    text.chars().take(MAX_CHARS).chain("…".chars()).collect()
}

macro_rules! text_newtype {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::parse(text)
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}
text_newtype!(FunctionName);
text_newtype!(SecretName);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parses_names_with_and_without_a_namespace() {
        let plain = FunctionName::parse("hello").unwrap();
        assert_eq!((plain.name(), plain.namespace()), ("hello", DEFAULT_NAMESPACE));
        assert_eq!(FunctionName::parse("hello.openfaas-fn").unwrap(), plain);
        let other = FunctionName::parse("hello.team-a").unwrap();
        assert_eq!((other.name(), other.namespace(), other.as_str()), ("hello", "team-a", "hello.team-a"));
    }

    #[test]
    fn refuses_what_is_no_dns_label() {
        let long = "a".repeat(64);
        for bad in
            ["", "-a", "a-", "A", "a_b", "../a", "a/b", "a..b", "a.", ".a", "a.b.c", "ä", "a b", "a\0", &long]
        {
            assert!(FunctionName::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(FunctionName::parse(&"a".repeat(63)).is_ok());
    }

    #[test]
    fn a_refusal_names_the_text_and_stays_short() {
        let error = FunctionName::parse(&"X".repeat(1 << 20)).unwrap_err();
        assert!(error.to_string().len() < 300);
        assert!(error.to_string().contains("XXX"));
    }

    #[test]
    fn secrets_of_two_namespaces_are_called_differently() {
        let name = SecretName::parse("db").unwrap();
        assert_eq!((name.in_namespace(DEFAULT_NAMESPACE), name.in_namespace("")), ("db".into(), "db".into()));
        assert_eq!(name.in_namespace("team"), "db_team");
        assert!(SecretName::parse("db_team").is_err());
    }

    #[test]
    fn a_secrets_name_fits_with_its_namespace() {
        let longest = [63, 63, 63, 61].map(|length| "a".repeat(length)).join(".");
        let name = SecretName::parse(&longest).unwrap();
        assert!(name.fits(DEFAULT_NAMESPACE) && name.fits("b") && !name.fits("bb"));
    }

    #[test]
    fn secret_names_may_have_dots_but_no_path() {
        assert!(SecretName::parse("db-password.txt").is_ok());
        for bad in ["", ".", "..", "../x", "a/b", ".hidden", "a.", "A"] {
            assert!(SecretName::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn a_parsed_name_prints_and_parses_back(text in "\\PC{0,70}") {
            if let Ok(name) = FunctionName::parse(&text) {
                prop_assert_eq!(&FunctionName::parse(name.as_str()).unwrap(), &name);
                prop_assert_eq!(FunctionName::new(name.name(), name.namespace()).unwrap(), name);
            }
        }

        #[test]
        fn labels_are_accepted(text in "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?") {
            prop_assert!(FunctionName::parse(&text).is_ok());
        }
    }
}
