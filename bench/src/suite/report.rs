//! The report of a run: one page that stands alone, and its plots as files beside it.
//!
//! In: results, nothing else, so a page can be made again at any time. Out: HTML without scripts and
//! without anything from a network. The property that must hold: what was not measured is not on the
//! page, or the page says why.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use super::read;
use super::results::Results;
use page::{Page, Section};

mod about;
mod budgets;
pub(crate) mod cold;
mod headlines;
mod memory;
pub(crate) mod names;
mod page;
mod peers;
#[cfg(test)]
pub(crate) mod sample;
mod timeline;
mod warm;

/// The page's file.
const PAGE: &str = "index.html";

/// Makes the page and plots of a run again from its results
#[derive(Debug, Clone, Args)]
pub(crate) struct Render {
    /// The directory of the run, or its results.json
    dir: PathBuf,
}

impl Render {
    /// Writes the page beside the results.
    ///
    /// # Errors
    /// When the results cannot be read or the page not written.
    pub(crate) fn run(&self) -> Result<()> {
        let page = self.page()?;
        // The page is there, whoever reads this.
        let _ = writeln!(io::stdout(), "{}", page.display());
        Ok(())
    }

    fn page(&self) -> Result<PathBuf> {
        let results = read::read(&self.dir)?;
        let path = read::path(&self.dir);
        write(path.parent().unwrap_or(Path::new(".")), &results)
    }
}

/// Writes the page and its plots into a directory, and gives back the path of the page.
///
/// Links on the page are to `results.json` in the same directory, which is the caller's to write.
///
/// # Errors
/// When a file cannot be written.
pub fn write(dir: &Path, results: &Results) -> Result<PathBuf> {
    let page = page(results);
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let put = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok::<_, anyhow::Error>(path)
    };
    page.files().try_for_each(|(name, text)| put(name, text).map(drop))?;
    put(PAGE, &page.html()?)
}

fn page(results: &Results) -> Page {
    let sections: [Option<Section>; 9] = [
        budgets::section(results),
        cold::section(results),
        warm::section(results),
        memory::section(results),
        timeline::section(results),
        memory::deploy(results),
        peers::section(results),
        about::skipped(results),
        Some(about::method(results)),
    ];
    Page {
        title: "Bramble benchmark",
        subject: headlines::subject(results),
        lead: headlines::lead(results),
        warnings: about::warnings(results),
        facts: about::facts(results),
        headlines: headlines::headlines(results),
        sections: sections.into_iter().flatten().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::FILE;
    use super::*;

    /// Tags that have no end in HTML.
    const VOID: [&str; 2] = ["meta", "!doctype"];

    /// Fails unless every tag that begins also ends, in order; gives back how many there are.
    fn check_nesting(text: &str) -> usize {
        let mut open: Vec<&str> = Vec::new();
        let mut tags = 0;
        for piece in text.split('<').skip(1) {
            let (tag, _) = piece.split_once('>').unwrap_or_else(|| panic!("a tag without end: {piece}"));
            let name = tag.trim_start_matches('/').split(|c: char| c.is_whitespace()).next().unwrap();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "what ends is what began last");
            } else if !tag.ends_with('/') && !VOID.contains(&name) {
                open.push(name);
            }
            tags += 1;
        }
        assert!(open.is_empty(), "open at the end: {open:?}");
        tags
    }

    fn attributes<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
        let before = format!(" {name}=\"");
        text.split(&before).skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn a_full_run_makes_one_page_that_stands_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), &sample::sample()).unwrap();
        let html = std::fs::read_to_string(path).unwrap();
        assert!(check_nesting(&html) > 1_000);
        assert!(!html.contains("<script") && !html.contains("NaN") && !html.contains("src="));
        let mut ids = attributes(&html, "id");
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "an id is unique");
        for link in attributes(&html, "href") {
            match link.strip_prefix('#') {
                Some(id) => assert!(ids.contains(&id), "{link} leads nowhere"),
                None => assert!(link == FILE || dir.path().join(link).is_file(), "{link} is not there"),
            }
        }
        for plot in
            ["cold-starts", "cold-parts", "latency-load", "memory", "timeline-wasm", "timeline-container"]
        {
            let svg = std::fs::read_to_string(dir.path().join(format!("{plot}.svg"))).unwrap();
            check_nesting(&svg);
            assert!(svg.contains("<title") && svg.contains("<desc") && !svg.contains("NaN"), "{plot}");
        }
    }

    #[test]
    fn what_was_not_measured_is_not_on_the_page() {
        let mut results = sample::sample();
        results.programs.iter_mut().for_each(|program| program.runtimes.truncate(1));
        (results.memory, results.deploy) = (None, None);
        results.timelines.clear();
        results.comparisons.clear();
        let html = page(&results).html().unwrap();
        check_nesting(&html);
        assert!(!html.contains("id=\"peers\"") && !html.contains("frozen container"));
        results.programs.clear();
        results.budgets.clear();
        check_nesting(&page(&results).html().unwrap());
    }

    #[test]
    fn a_page_is_made_again_from_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let results = sample::sample();
        std::fs::write(dir.path().join(FILE), serde_json::to_string(&results).unwrap()).unwrap();
        let path = Render { dir: dir.path().join(FILE) }.page().unwrap();
        let again = std::fs::read_to_string(path).unwrap();
        assert!(again == page(&results).html().unwrap(), "not the same page");
    }
}
