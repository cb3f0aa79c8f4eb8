//! Splits numbers into their prime factors, by a table of 50 MiB: the smallest factor of each number.
//!
//! Filling the table takes a tenth of a second, looking numbers up takes microseconds. A program that
//! starts for each request fills it each time; a module that is pre-initialised carries it.

use std::fmt::Write;
use std::io::{self, Read};
use std::process::ExitCode;
use std::sync::OnceLock;

/// Numbers below this are in the table; four bytes for each are 50 MiB.
const LIMIT: u32 = 13_107_200;

static TABLE: OnceLock<Box<[u32]>> = OnceLock::new();

fn main() -> io::Result<ExitCode> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let mut answer = String::new();
    for word in text.split_whitespace() {
        match word.parse() {
            Ok(number) if (2..LIMIT).contains(&number) => {
                let factors = factors(number).map(|factor| factor.to_string()).collect::<Vec<_>>();
                writeln!(answer, "{number} = {}", factors.join(" * ")).expect("a string takes all");
            }
            _ => {
                eprintln!("{word:?} is no whole number from 2 to {}", LIMIT - 1);
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    print!("{answer}");
    Ok(ExitCode::SUCCESS)
}

/// What pre-initialising runs.
#[cfg(target_os = "wasi")]
#[expect(unsafe_code, reason = "only so can an export have a name with a hyphen; nothing else has this one")]
#[unsafe(export_name = "wizer-initialize")]
extern "C" fn initialise() {
    table();
}

fn table() -> &'static [u32] {
    TABLE.get_or_init(|| {
        let mut smallest: Box<[u32]> = (0..LIMIT).collect();
        for prime in (2..).take_while(|number| number * number < LIMIT) {
            if smallest[prime as usize] < prime {
                continue;
            }
            for multiple in (prime * prime..LIMIT).step_by(prime as usize) {
                let factor = &mut smallest[multiple as usize];
                *factor = (*factor).min(prime);
            }
        }
        smallest
    })
}

fn factors(mut number: u32) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let factor = *table().get(number as usize).filter(|factor| **factor > 1)?;
        number /= factor;
        Some(factor)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_factor() {
        for number in [2, 3, 4, 97, 360, 13_107_199, 3_571 * 3_571, 1 << 23] {
            let found: Vec<u32> = factors(number).collect();
            assert_eq!(found.iter().product::<u32>(), number);
            assert!(
                found.iter().all(|factor| (2..*factor).all(|divisor| factor % divisor != 0)),
                "{found:?}"
            );
            assert!(found.is_sorted());
        }
    }
}
