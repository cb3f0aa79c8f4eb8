//! Writes text in large letters, line by line.

mod font;

use std::io::{self, Read, Write};

fn main() -> io::Result<()> {
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text)?;
    io::stdout().write_all(enlarge(&String::from_utf8_lossy(&text)).as_bytes())
}

/// Each line of `text` becomes [`font::ROWS`] lines. No line ends in spaces.
fn enlarge(text: &str) -> String {
    let mut output = String::new();
    for line in text.lines() {
        for row in 0..font::ROWS {
            for letter in line.chars() {
                output.push_str(font::glyph(letter)[row]);
                output.push(' ');
            }
            output.truncate(output.trim_end_matches(' ').len());
            output.push('\n');
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_stand_side_by_side() {
        let expected = "\
#   # ###
#   #  #
#####  #
#   #  #
#   # ###
";
        assert_eq!(enlarge("Hi"), expected);
        assert_eq!(enlarge("hi\n"), expected);
        assert_eq!(enlarge(""), "");
    }
}
