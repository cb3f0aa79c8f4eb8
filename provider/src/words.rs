//! The words of `envProcess`, with quotes as a shell has them.

/// Why a text could not be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWords {
    /// A quote is opened and not closed.
    #[error("a quote ({0}) is not closed")]
    OpenQuote(char),
    /// It ends with the backslash that should keep something.
    #[error("it ends with a backslash")]
    OpenEscape,
}

/// Splits at white space. Single quotes keep all they hold; double quotes keep all but `\"` and
/// `\\`; outside quotes a backslash keeps the next character. Nothing is expanded.
///
/// # Errors
/// [`InvalidWords`] for what is left open.
pub fn split(text: &str) -> Result<Vec<String>, InvalidWords> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(next) = chars.next() {
        match next {
            _ if next.is_whitespace() => words.extend(word.take()),
            '\'' | '"' => quoted(&mut chars, next, word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().push(chars.next().ok_or(InvalidWords::OpenEscape)?),
            _ => word.get_or_insert_default().push(next),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(chars: &mut std::str::Chars<'_>, quote: char, word: &mut String) -> Result<(), InvalidWords> {
    loop {
        match chars.next().ok_or(InvalidWords::OpenQuote(quote))? {
            end if end == quote => return Ok(()),
            '\\' if quote == '"' => match chars.next().ok_or(InvalidWords::OpenQuote(quote))? {
                kept @ ('"' | '\\') => word.push(kept),
                other => word.extend(['\\', other]),
            },
            other => word.push(other),
        }
    }
}

/// Writes words so that [`split`] reads them back.
pub fn join(words: &[String]) -> String {
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

fn quote(word: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !matches!(c, '\'' | '"' | '\\');
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn splits_as_a_shell_does() {
        for (text, words) in [
            ("", &[] as &[&str]),
            ("  cat ", &["cat"]),
            ("base64 -d", &["base64", "-d"]),
            (r#"sh -c "echo hi; cat""#, &["sh", "-c", "echo hi; cat"]),
            (r"a 'b  c'd e\ f", &["a", "b  cd", "e f"]),
            (r#"'' "" x"#, &["", "", "x"]),
            (r#""a\"b\\c\n" 'a\b'"#, &["a\"b\\c\\n", "a\\b"]),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_left_open() {
        assert_eq!(split("a 'b"), Err(InvalidWords::OpenQuote('\'')));
        assert_eq!(split("a \"b\\"), Err(InvalidWords::OpenQuote('"')));
        assert_eq!(split("a\\"), Err(InvalidWords::OpenEscape));
    }

    proptest! {
        #[test]
        fn joined_words_split_again(words in proptest::collection::vec("\\PC{0,12}|[ \\t'\"\\\\]{0,6}", 0..6)) {
            prop_assert_eq!(split(&join(&words)).unwrap(), words);
        }
    }
}
