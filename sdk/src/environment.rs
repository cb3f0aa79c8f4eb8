//! The variables that describe a request.

use std::env;

/// Where the variables come from.
#[derive(Debug)]
pub(crate) enum Environment {
    /// This process: read when asked, so that a handler that asks nothing costs nothing.
    Process,
    /// A request made by hand.
    Given(Vec<(String, String)>),
}

impl Environment {
    /// The value of a variable. Bytes that are no UTF-8 become U+FFFD.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        match self {
            Self::Process => process_variable(name),
            Self::Given(variables) => {
                variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
            }
        }
    }

    /// All variables, in no order.
    pub(crate) fn all(&self) -> Vec<(String, String)> {
        match self {
            Self::Process => env::vars_os()
                .map(|(name, value)| {
                    (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
                })
                .collect(),
            Self::Given(variables) => variables.clone(),
        }
    }
}

/// The value of one of this process's variables.
pub(crate) fn process_variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "a function's request is its environment")]
    let value = env::var_os(name)?;
    Some(value.into_string().unwrap_or_else(|bytes| bytes.to_string_lossy().into_owned()))
}

/// The variable of a header: `x-call-id` is `Http_X_Call_Id`, as Go spells header names.
pub(crate) fn header_variable(header: &str) -> String {
    let mut variable = String::with_capacity("Http_".len() + header.len());
    variable.push_str("Http");
    for word in header.split('-') {
        variable.push('_');
        let mut letters = word.chars();
        variable.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        variable.extend(letters.map(|letter| letter.to_ascii_lowercase()));
    }
    variable
}

/// The header of a variable, with hyphens; `None` for a variable that is none.
pub(crate) fn variable_header(variable: &str) -> Option<String> {
    match variable.strip_prefix("Http_")? {
        "Method" | "Path" | "Query" | "ContentLength" => None,
        header => Some(header.replace('_', "-")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_variables_map_both_ways() {
        for (header, variable) in [
            ("x-call-id", "Http_X_Call_Id"),
            ("Content-Type", "Http_Content_Type"),
            ("ACCEPT", "Http_Accept"),
            ("www-authenticate", "Http_Www_Authenticate"),
        ] {
            assert_eq!(header_variable(header), variable);
            assert!(variable_header(variable).unwrap().eq_ignore_ascii_case(header));
        }
        for other in ["Http_Method", "Http_ContentLength", "PATH", "HTTP_PROXY"] {
            assert_eq!(variable_header(other), None, "{other}");
        }
    }
}
