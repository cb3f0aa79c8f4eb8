//! Counts lines, words and bytes, as `wc` does.

use std::io::{self, BufRead};

fn main() -> io::Result<()> {
    let Count { lines, words, bytes } = count(io::stdin().lock())?;
    println!("{lines} {words} {bytes}");
    Ok(())
}

#[derive(Debug, Default, PartialEq)]
struct Count {
    lines: u64,
    words: u64,
    bytes: u64,
}

/// Counts with a fixed buffer, whatever the length of the input or of a line.
fn count(mut input: impl BufRead) -> io::Result<Count> {
    let mut count = Count::default();
    let mut in_word = false;
    loop {
        let piece = input.fill_buf()?;
        if piece.is_empty() {
            return Ok(count);
        }
        for byte in piece {
            count.lines += u64::from(*byte == b'\n');
            let is_space = byte.is_ascii_whitespace();
            count.words += u64::from(!is_space && !in_word);
            in_word = !is_space;
        }
        let length = piece.len();
        count.bytes += length as u64;
        input.consume(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, lines: u64, words: u64) {
        let expected = Count { lines, words, bytes: text.len() as u64 };
        assert_eq!(count(text.as_bytes()).unwrap(), expected, "{text:?}");
        let tiny_pieces = io::BufReader::with_capacity(1, text.as_bytes());
        assert_eq!(count(tiny_pieces).unwrap(), expected, "{text:?} byte by byte");
    }

    #[test]
    fn counts_as_wc() {
        check("", 0, 0);
        check("one", 0, 1);
        check("one two\nthree\n", 2, 3);
        check("  \t\n\n x ", 2, 1);
    }
}
