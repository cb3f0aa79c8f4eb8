//! Variables in a stack file: `${NAME}` and its forms, before the file is read as YAML.
//!
//! As in OpenFaaS stacks only the form in braces is one: `$NAME` stays as it is, `$$` is `$`.

/// How deep defaults may be nested in each other.
const MAX_DEPTH: usize = 16;

/// A text with its variables replaced.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Substituted {
    /// The text.
    pub(crate) text: String,
    /// Variables that are not set and have no default, with their line (from 1). They are empty.
    pub(crate) unset: Vec<(String, usize)>,
}

/// A `${…}` that cannot be understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadVariable {
    /// Its line, from 1.
    pub(crate) line: usize,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// Replaces variables by what `lookup` says.
///
/// Understood are `${V}`, a default `${V:-text}` (for an empty variable too) or `${V-text}`, and as
/// changes `${V^^}`, `${V,,}`, `${V/part/other}` (the first) and `${V//part/other}` (all).
///
/// # Errors
/// [`BadVariable`] for another form and for braces that do not end.
pub(crate) fn substitute(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Substituted, BadVariable> {
    let mut unset = Vec::new();
    let mut line = 1;
    let text = replace(text, &mut line, 0, lookup, &mut unset)?;
    Ok(Substituted { text, unset })
}

fn replace(
    text: &str,
    line: &mut usize,
    depth: usize,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut Vec<(String, usize)>,
) -> Result<String, BadVariable> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, found) = rest.split_at(at);
        *line += before.matches('\n').count();
        out.push_str(before);
        if let Some(after) = found.strip_prefix("$$") {
            out.push('$');
            rest = after;
        } else if let Some(after) = found.strip_prefix("${") {
            let refused = |reason: String| BadVariable { line: *line, reason };
            let end = closing(after).ok_or_else(|| refused("`${` has no `}`".to_owned()))?;
            if depth == MAX_DEPTH {
                return Err(refused(format!("defaults are nested more than {MAX_DEPTH} deep")));
            }
            let inside = &after[..end];
            let start = *line;
            let commented = out.rsplit('\n').next().is_some_and(|line| line.trim_start().starts_with('#'));
            let mut missing = Vec::new();
            out.push_str(&value(inside, line, depth, lookup, &mut missing)?);
            if !commented {
                unset.append(&mut missing);
            }
            *line = start + inside.matches('\n').count();
            rest = &after[end + 1..];
        } else {
            out.push('$');
            rest = &found[1..];
        }
    }
    *line += rest.matches('\n').count();
    out.push_str(rest);
    Ok(out)
}

/// Where the brace is that ends what begins here; those of variables inside are theirs.
fn closing(text: &str) -> Option<usize> {
    let (mut open, mut dollar) = (1_usize, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' if dollar => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        dollar = byte == b'$';
        if open == 0 {
            return Some(at);
        }
    }
    None
}

fn value(
    inside: &str,
    line: &mut usize,
    depth: usize,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut Vec<(String, usize)>,
) -> Result<String, BadVariable> {
    let named = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (name, form) = inside.split_at(inside.find(|c| !named(c)).unwrap_or(inside.len()));
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        let reason = format!("`${{{inside}}}` names no variable; write `$$` for a dollar sign");
        return Err(BadVariable { line: *line, reason });
    }
    let found = lookup(name);
    let default = |with_empty: bool| found.clone().filter(|value| !(with_empty && value.is_empty()));
    for (operator, with_empty) in [(":-", true), (":=", true), ("-", false), ("=", false)] {
        if let Some(otherwise) = form.strip_prefix(operator) {
            return match default(with_empty) {
                Some(value) => Ok(value),
                None => replace(otherwise, line, depth + 1, lookup, unset),
            };
        }
    }
    let value = found.unwrap_or_else(|| {
        unset.push((name.to_owned(), *line));
        String::new()
    });
    let parts = |form: &str| {
        let (part, other) = form.split_once('/').unwrap_or((form, ""));
        (!part.is_empty()).then(|| (part.to_owned(), other.to_owned()))
    };
    match form {
        "" => Ok(value),
        "^^" => Ok(value.to_uppercase()),
        ",," => Ok(value.to_lowercase()),
        _ => {
            let all = form.strip_prefix("//").and_then(parts);
            let first = form.strip_prefix('/').and_then(parts);
            match (all, first) {
                (Some((part, other)), _) => Ok(value.replace(&part, &other)),
                (None, Some((part, other))) => Ok(value.replacen(&part, &other, 1)),
                (None, None) => {
                    let reason = format!(
                        "`${{{inside}}}` is not understood: write ${{{name}}} or ${{{name}:-default}}"
                    );
                    Err(BadVariable { line: *line, reason })
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            "PATH_LIKE" => Some("a/b/a".to_owned()),
            _ => None,
        }
    }

    fn text(of: &str) -> String {
        substitute(of, &lookup).unwrap().text
    }

    #[test]
    fn replaces_the_forms() {
        for (written, meant) in [
            ("x: ${A}", "x: one"),
            ("$A $$A $ $", "$A $A $ $"),
            ("${A:-d}${NO:-d}${EMPTY:-d}${EMPTY-d}${NO-d}", "oneddd"),
            ("${NO:-}", ""),
            ("${NO:-${ALSO:-${A}}}", "one"),
            ("${A^^} ${A,,}", "ONE one"),
            ("${A/o/0} ${PATH_LIKE//a/c}", "0ne c/b/c"),
            ("${NO:-a b: c}", "a b: c"),
        ] {
            assert_eq!(text(written), meant, "{written}");
        }
    }

    #[test]
    fn names_what_is_not_set_and_where() {
        let found = substitute("a: 1\nb: ${NO}\n# ${COMMENT}\nc: ${NO_TOO}${FINE:-x}", &lookup).unwrap();
        assert_eq!(found.unset, [("NO".to_owned(), 2), ("NO_TOO".to_owned(), 4)]);
        assert_eq!(found.text, "a: 1\nb: \n# \nc: x");
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for (written, line) in [("\n${A", 2), ("${}", 1), ("${1}", 1), ("a\n\n${A:1:2}", 3), ("${A b}", 1)] {
            assert_eq!(substitute(written, &lookup).unwrap_err().line, line, "{written}");
        }
        let deep = format!("{}x{}", "${NO:-".repeat(40), "}".repeat(40));
        assert!(substitute(&deep, &lookup).is_err());
    }

    proptest! {
        /// Whatever is written: an answer and no panic.
        #[test]
        fn any_text_has_an_answer(written in "(\\$|\\{|\\}|:-|/|A|é|\n|[ -~]){0,40}") {
            let _ = substitute(&written, &lookup);
        }

        /// A text without a dollar sign means itself, and doubling each quotes any text.
        #[test]
        fn quoting_gives_back_the_text(written in "(\\$|\\{|\\}|[a-zA-Z_:\n-]){0,40}") {
            prop_assert_eq!(text(&written.replace('$', "$$")), written);
        }

        /// Lines are counted, wherever a variable is.
        #[test]
        fn the_line_is_right(before in "([a-z]|\n|\\$\\{A\\}){0,20}") {
            let found = substitute(&format!("{before}\nx${{NO}}"), &lookup).unwrap();
            let line = before.matches('\n').count() + 2;
            prop_assert_eq!(found.unset, [("NO".to_owned(), line)]);
        }
    }
}
