//! The digest by which a module is known.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A SHA-256 digest, written `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// A text that is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("digest {0:?} is invalid: it must be `sha256:` and 64 lower-case hexadecimal digits")]
pub struct InvalidDigest(String);

impl Digest {
    /// The text before the hexadecimal digits.
    pub const PREFIX: &'static str = "sha256:";

    /// Wraps the 32 bytes of a SHA-256 hash.
    pub const fn from_sha256(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 64 hexadecimal digits, without [`Digest::PREFIX`]: a safe file name.
    pub fn hex(&self) -> String {
        self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(hex_digit).collect()
    }

    /// The first byte: as good as random, for spreading work over shards.
    pub const fn first_byte(&self) -> u8 {
        self.0[0]
    }

    /// Parses the written form.
    ///
    /// # Errors
    /// [`InvalidDigest`] with the refused text.
    pub fn parse(text: &str) -> Result<Self, InvalidDigest> {
        let refuse = || InvalidDigest(crate::name::shortened(text));
        let hex = text.strip_prefix(Self::PREFIX).ok_or_else(refuse)?.as_bytes();
        if hex.len() != 64 {
            return Err(refuse());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let (high, low) = (hex_value(pair[0]), hex_value(pair[1]));
            *byte = high.zip(low).map(|(high, low)| high << 4 | low).ok_or_else(refuse)?;
        }
        Ok(Self(bytes))
    }
}

fn hex_digit(value: u8) -> char {
    char::from(if value < 10 { b'0' + value } else { b'a' + value - 10 })
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PREFIX, self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;
    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        Self::parse(text)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_is_no_digest() {
        let good = Digest::from_sha256([0xab; 32]).to_string();
        assert!(Digest::parse(&good).is_ok());
        let upper = good.to_uppercase();
        for bad in [
            "",
            "sha256:",
            "sha256:abcd",
            &good[..70],
            &format!("{good}0"),
            &upper,
            &good.replace("sha256", "md5"),
        ] {
            assert!(Digest::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn prints_and_parses_back(bytes in any::<[u8; 32]>()) {
            let digest = Digest::from_sha256(bytes);
            prop_assert_eq!(Digest::parse(&digest.to_string()).unwrap(), digest);
        }
    }
}
