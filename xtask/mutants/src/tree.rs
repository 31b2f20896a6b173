//! Where are changed sources compiled?
//!
//! In a copy of what git knows of the repository, below the directory of what is built. Files whose text
//! is the same keep their time, so that cargo compiles again only what is new.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// A copy of the repository.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
}

impl Tree {
    /// Makes the copy equal to the repository, but for files that are going to be changed.
    pub(crate) fn copy(from: &Path, to: &Path, but: &BTreeSet<PathBuf>) -> Result<Self> {
        let tree = Self { from: from.to_owned(), to: to.to_owned() };
        let known = tree.known()?;
        tree.prune(to, &known)?;
        for name in known.iter().filter(|name| !but.contains(*name)) {
            let old = fs::read(from.join(name)).with_context(|| name.display().to_string())?;
            tree.write(name, &old)?;
        }
        Ok(tree)
    }

    /// Files that git knows, or would take.
    fn known(&self) -> Result<Vec<PathBuf>> {
        let mut git = Command::new("git");
        git.args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]);
        let output = git.current_dir(&self.from).output().context("cannot start git")?;
        if !output.status.success() {
            bail!("git lists no files: {}", String::from_utf8_lossy(&output.stderr));
        }
        let names = String::from_utf8(output.stdout).context("names of files")?;
        let names = names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from);
        Ok(names.filter(|name| self.from.join(name).is_file()).collect())
    }

    /// Removes what an earlier copy had and the repository has no more.
    fn prune(&self, directory: &Path, known: &[PathBuf]) -> Result<()> {
        let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                self.prune(&path, known)?;
                continue;
            }
            let name = path.strip_prefix(&self.to).unwrap_or(&path);
            if !known.iter().any(|known| known == name) {
                fs::remove_file(&path).with_context(|| path.display().to_string())?;
            }
        }
        Ok(())
    }

    /// The text of a file as it is in the repository.
    pub(crate) fn original(&self, name: &Path) -> Result<String> {
        fs::read_to_string(self.from.join(name)).with_context(|| name.display().to_string())
    }

    /// Gives a file of the copy this text.
    pub(crate) fn write(&self, name: &Path, text: &[u8]) -> Result<()> {
        let path = self.to.join(name);
        if fs::read(&path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        let parent = path.parent().context("a file without a directory")?;
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        fs::write(&path, text).with_context(|| path.display().to_string())
    }
}
