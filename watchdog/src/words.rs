//! Cutting a command line into words, as a shell would, without a shell.

/// Why a command line cannot be cut into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WordsError {
    /// There is no word in it.
    #[error("is empty")]
    Empty,
    /// A quote is opened and not closed.
    #[error("has an opening {0} without a closing one")]
    OpenQuote(char),
    /// It ends with the backslash that should quote something.
    #[error("ends with a backslash that quotes nothing")]
    TrailingBackslash,
}

/// Cuts `text` into words at white space.
///
/// Single quotes keep everything; double quotes keep everything but `\"` and `\\`; outside of quotes
/// a backslash keeps the next character. Nothing is expanded: for variables, globs or pipes, write
/// `sh -c '…'`.
///
/// # Errors
/// [`WordsError`] for no word at all, an open quote, or a trailing backslash.
pub(crate) fn split_words(text: &str) -> Result<Vec<String>, WordsError> {
    let mut words = Vec::new();
    // `None` between words: an empty pair of quotes is a word, white space is not.
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                take_quoted(&mut chars, word, '\'')?;
            }
            '"' => {
                let word = word.get_or_insert_default();
                take_quoted(&mut chars, word, '"')?;
            }
            '\\' => {
                let kept = chars.next().ok_or(WordsError::TrailingBackslash)?;
                word.get_or_insert_default().push(kept);
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if words.is_empty() { Err(WordsError::Empty) } else { Ok(words) }
}

fn take_quoted(chars: &mut std::str::Chars<'_>, word: &mut String, quote: char) -> Result<(), WordsError> {
    loop {
        match chars.next().ok_or(WordsError::OpenQuote(quote))? {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => match chars.next().ok_or(WordsError::OpenQuote(quote))? {
                c @ ('"' | '\\') => word.push(c),
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cuts_words_like_a_shell() {
        for (text, words) in [
            ("cat", &["cat"][..]),
            ("  wc   -l ", &["wc", "-l"]),
            ("sh -c 'echo \"a b\" | wc'", &["sh", "-c", "echo \"a b\" | wc"]),
            (r#"echo "a \"b\" \\ \n $x""#, &["echo", r#"a "b" \ \n $x"#]),
            (r"echo a\ b \'c\'", &["echo", "a b", "'c'"]),
            ("env x='' \"\"", &["env", "x=", ""]),
            ("a'b'\"c\"d", &["abcd"]),
            ("echo # not a comment", &["echo", "#", "not", "a", "comment"]),
        ] {
            assert_eq!(split_words(text).unwrap(), words, "{text}");
        }
    }

    #[test]
    fn refuses_what_has_no_meaning() {
        assert_eq!(split_words(" \t"), Err(WordsError::Empty));
        assert_eq!(split_words("echo 'a"), Err(WordsError::OpenQuote('\'')));
        assert_eq!(split_words("echo \"a\\"), Err(WordsError::OpenQuote('"')));
        assert_eq!(split_words("echo a\\"), Err(WordsError::TrailingBackslash));
    }

    proptest! {
        #[test]
        fn a_quoted_word_comes_back(word in "\\PC{0,30}") {
            let quoted = format!("x '{}'", word.replace('\'', r"'\''"));
            prop_assert_eq!(split_words(&quoted).unwrap(), vec!["x".to_owned(), word]);
        }

        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            let _ = split_words(&text);
        }
    }
}
