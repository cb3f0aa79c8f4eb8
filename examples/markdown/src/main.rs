//! Turns Markdown, with tables and strikethrough, into an HTML fragment.
//!
//! HTML in the Markdown is passed on as it is: do not show the result of a stranger's text unfiltered.

use std::io::{self, Read, Write};

use pulldown_cmark::{Options, Parser, html};

fn main() -> io::Result<()> {
    let mut markdown = String::new();
    io::stdin().read_to_string(&mut markdown)?;
    io::stdout().write_all(render(&markdown).as_bytes())
}

fn render(markdown: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut page = String::with_capacity(markdown.len() * 3 / 2);
    html::push_html(&mut page, Parser::new_ext(markdown, options));
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_the_common_things() {
        assert_eq!(render("# Hi\n\n*x* ~~y~~"), "<h1>Hi</h1>\n<p><em>x</em> <del>y</del></p>\n");
        assert!(render("|a|\n|-|\n|b|").contains("<td>b</td>"));
    }
}
