//! Derives a key from a password: PBKDF2 with HMAC-SHA-256, 32 bytes, in hexadecimal digits.
//!
//! The variables `iterations` (10,000 unless set) and `salt` are its settings.

use std::env;
use std::io::{self, Read};
use std::process::ExitCode;

use pbkdf2::pbkdf2_hmac_array;
use sha2::Sha256;

const ITERATIONS: u32 = 10_000;

fn main() -> io::Result<ExitCode> {
    let iterations = match env::var("iterations") {
        Err(_) => ITERATIONS,
        Ok(text) => match text.parse() {
            Ok(iterations) if iterations > 0 => iterations,
            _ => {
                eprintln!("iterations={text}: a whole number above 0 is needed");
                return Ok(ExitCode::FAILURE);
            }
        },
    };
    let mut password = Vec::new();
    io::stdin().read_to_end(&mut password)?;
    println!("{}", key(&password, env::var("salt").unwrap_or_default().as_bytes(), iterations));
    Ok(ExitCode::SUCCESS)
}

fn key(password: &[u8], salt: &[u8], iterations: u32) -> String {
    let key: [u8; 32] = pbkdf2_hmac_array::<Sha256, 32>(password, salt, iterations);
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vectors of RFC 6070, as published for SHA-256.
    #[test]
    fn derives_what_others_do() {
        for (iterations, expected) in [
            (1, "120fb6cffcf8b32c43e7225256c4f837a86548c92ccc35480805987cb70be17b"),
            (4096, "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a"),
        ] {
            assert_eq!(key(b"password", b"salt", iterations), expected);
        }
    }
}
