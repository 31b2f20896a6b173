//! Which code blocks does a page have, and what does it promise about each?
//!
//! A block that a reader would type or copy has a mark on the line before it, invisible when
//! rendered: `<!-- run -->` (a suite runs it), `<!-- ci -->` (it is what `.ci/run` runs),
//! `<!-- file PATH -->` (it is that file, or a part of it, which a suite uses). Blocks of `text`
//! are output and need none.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::products;

/// Every page of the project with its text, in order of their paths.
pub(crate) fn all() -> Result<Vec<(PathBuf, String)>> {
    let root = products::root();
    let mut pages = Vec::new();
    for dir in [root.clone(), root.join("crates/standin"), root.join("fixtures")] {
        pages.extend(below(&dir, false)?);
    }
    pages.extend(below(&root.join("docs"), true)?);
    pages.sort();
    pages.into_iter().map(|page| Ok((page.clone(), fs::read_to_string(&page)?))).collect()
}

fn below(dir: &Path, deep: bool) -> Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        if deep && path.is_dir() {
            pages.extend(below(&path, deep)?);
        } else if path.extension().is_some_and(|ending| ending == "md") {
            pages.push(path);
        }
    }
    Ok(pages)
}

/// What stands before a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Run it as it stands.
    Run,
    /// `.ci/run` runs it.
    Ci,
    /// It is this file, or lines of it.
    File(String),
}

/// A block with its mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Line of the page at which it starts, from 1.
    pub(crate) line: usize,
    /// Its mark.
    pub(crate) mark: Mark,
    /// Its text, with a line end after each line.
    pub(crate) text: String,
}

/// The marked blocks of a page, in order; an unmarked or unknown one is an error.
pub(crate) fn blocks(page: &str) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut before = "";
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            let text: String = lines
                .by_ref()
                .map(|(_, l)| l)
                .take_while(|l| l.trim() != "```")
                .fold(String::new(), |text, line| text + line + "\n");
            if language != "text" && language != "mermaid" {
                let line = number + 1;
                let mark = mark(before).with_context(|| format!("the block at line {line}"))?;
                blocks.push(Block { line, mark, text });
            }
            before = "";
        } else if !line.trim().is_empty() {
            before = line.trim();
        }
    }
    Ok(blocks)
}

fn mark(line: &str) -> Result<Mark> {
    let inner = line.strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->"));
    let inner = inner.context("has no mark: nobody checks that it works")?.trim();
    match inner.split_once(' ') {
        Some(("file", path)) => Ok(Mark::File(path.trim().to_owned())),
        None if inner == "run" => Ok(Mark::Run),
        None if inner == "ci" => Ok(Mark::Ci),
        _ => bail!("has the unknown mark \"{inner}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_blocks_are_found_and_output_is_not_one() {
        let page = "# x\n<!-- run -->\n```sh\na\nb\n```\n```text\nout\n```\n\n<!-- file x/y.rs -->\n\n```rust\nc\n```\n<!-- ci -->\n```sh\nd\n```\n";
        let found = blocks(page).unwrap();
        let marks: Vec<_> = found.iter().map(|b| b.mark.clone()).collect();
        assert_eq!(marks, [Mark::Run, Mark::File("x/y.rs".into()), Mark::Ci]);
        assert_eq!(found[0].text, "a\nb\n");
        assert_eq!(found[0].line, 3);
    }

    #[test]
    fn a_block_that_nobody_checks_is_an_error() {
        for page in [
            "```sh\na\n```\n",
            "<!-- trust me -->\n```sh\na\n```\n",
            "<!-- run -->\ntext\n```sh\na\n```\n",
        ] {
            assert!(blocks(page).is_err(), "{page}");
        }
    }
}
