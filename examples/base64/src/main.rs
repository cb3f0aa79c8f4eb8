//! Encodes the request's body as base64, or decodes it with the argument `-d`.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use codec::prelude::{BASE64_STANDARD, Engine};

fn main() -> io::Result<ExitCode> {
    let mut input = Vec::new();
    io::stdin().read_to_end(&mut input)?;
    let output = if std::env::args().skip(1).any(|argument| argument == "-d") {
        match decode(input) {
            Ok(bytes) => bytes,
            Err(error) => {
                eprintln!("this is not base64: {error}");
                return Ok(ExitCode::FAILURE);
            }
        }
    } else {
        encode(&input)
    };
    io::stdout().write_all(&output)?;
    Ok(ExitCode::SUCCESS)
}

/// One line, with its end.
fn encode(bytes: &[u8]) -> Vec<u8> {
    let mut text = BASE64_STANDARD.encode(bytes);
    text.push('\n');
    text.into_bytes()
}

/// Line breaks and spaces may be anywhere.
fn decode(mut text: Vec<u8>) -> Result<Vec<u8>, codec::DecodeError> {
    text.retain(|byte| !byte.is_ascii_whitespace());
    BASE64_STANDARD.decode(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_it_encodes() {
        for bytes in [&b""[..], b"a", b"ab", b"abc", &[0, 255, 10]] {
            assert_eq!(decode(encode(bytes)).unwrap(), bytes);
        }
        assert_eq!(encode(b"bramble"), b"YnJhbWJsZQ==\n");
        assert_eq!(decode(b"YnJh\nbWJs ZQ==".to_vec()).unwrap(), b"bramble");
        assert!(decode(b"YnJhb".to_vec()).is_err());
    }
}
