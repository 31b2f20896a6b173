//! What is a script of calls, and where is something else answered than is written in it?
//!
//! A line that begins with `>` is a call, the lines below it are its answer, `#` begins a comment. A
//! script does not know who answers: whoever plays it hands in the answers, in the order of the calls.
//! Shared by the tests of the model, of the API server and of the stand-ins.

use std::path::{Path, PathBuf};

/// One file.
pub(crate) struct Script {
    path: PathBuf,
    blocks: Vec<Block>,
}

/// A call with what is written around it.
#[derive(Default)]
struct Block {
    /// Comments and empty lines before the call.
    before: Vec<String>,
    /// The line of the call in the file.
    line: usize,
    /// Empty in the last block, where the file ends with a comment.
    call: Option<String>,
    /// The answer as it is written.
    answer: Vec<String>,
}

impl Script {
    /// Every script below `conformance/`, of one kind of server.
    pub(crate) fn all(directory: &Path) -> Vec<Self> {
        let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            files.filter(|path| path.extension().is_some_and(|end| end == "script")).collect();
        files.sort();
        // Where files are not found nothing is compared, which must not look like agreement.
        assert!(!files.is_empty(), "{}: no scripts", directory.display());
        files.into_iter().map(Self::read).collect()
    }

    fn read(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut blocks = vec![Block::default()];
        for (number, line) in text.lines().enumerate() {
            let block = blocks.last_mut().unwrap();
            if let Some(call) = line.strip_prefix("> ") {
                let next = Block { line: number + 1, ..Block::default() };
                let block = if block.call.is_some() {
                    blocks.push(next);
                    blocks.last_mut().unwrap()
                } else {
                    block.line = next.line;
                    block
                };
                block.call = Some(call.to_owned());
            } else if line.is_empty() || line.starts_with('#') {
                if block.call.is_some() {
                    blocks.push(Block::default());
                }
                blocks.last_mut().unwrap().before.push(line.to_owned());
            } else {
                assert!(block.call.is_some(), "{}:{}: no call", path.display(), number + 1);
                block.answer.push(line.to_owned());
            }
        }
        Self { path, blocks }
    }

    /// Its name, of letters, digits and dashes.
    pub(crate) fn name(&self) -> &str {
        self.path.file_stem().unwrap().to_str().unwrap()
    }

    /// The calls, in order, with what is written below them.
    pub(crate) fn calls(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.blocks.iter().filter_map(|block| Some((block.call.as_deref()?, &*block.answer)))
    }

    /// The first line at which `who` answered something else, with the call.
    pub(crate) fn difference(&self, who: &str, answers: &[Vec<String>]) -> Option<String> {
        let called: Vec<&Block> = self.blocks.iter().filter(|b| b.call.is_some()).collect();
        assert_eq!(called.len(), answers.len(), "{}: an answer per call", self.name());
        called.iter().zip(answers).find_map(|(block, answer)| {
            let longer = block.answer.len().max(answer.len());
            let line = (0..longer).find(|line| block.answer.get(*line) != answer.get(*line))?;
            let shown = |line: Option<&String>| line.cloned().unwrap_or("(nothing)".to_owned());
            Some(format!(
                "{} line {}\n  > {}\n  written:  {}\n  {who}: {}",
                self.path.file_name().unwrap().to_string_lossy(),
                block.line + 1 + line,
                block.call.as_deref().unwrap_or_default(),
                shown(block.answer.get(line)),
                shown(answer.get(line)),
            ))
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The whole file with these answers.
    pub(crate) fn with(&self, answers: &[Vec<String>]) -> String {
        let mut lines: Vec<String> = Vec::new();
        let mut answers = answers.iter();
        for block in &self.blocks {
            lines.extend(block.before.iter().cloned());
            if let Some(call) = &block.call {
                lines.push(format!("> {call}"));
                lines.extend(answers.next().unwrap().iter().cloned());
            }
        }
        lines.join("\n") + "\n"
    }
}
