//! `cargo xtask gen`: are the generated files those that the sources generate?
//!
//! The crates that own the data are asked (package `generate`); this command is small, so that the lab
//! need not wait for them to be compiled.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::products;

/// Writes what is generated: deploy/, docs/reference.md, docs/rules.md, …
#[derive(Debug, Args)]
pub(crate) struct GenArgs {
    /// Change nothing; fail where a file differs.
    #[arg(long)]
    check: bool,
}

impl GenArgs {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<()> {
        let program = products::build(&["generate"])?.join("generate");
        let fresh = products::target_dir()?.join("generated");
        if fresh.exists() {
            fs::remove_dir_all(&fresh)?;
        }
        let status = Command::new(&program)
            .arg(&fresh)
            .status()
            .with_context(|| format!("cannot start {}", program.display()))?;
        if !status.success() {
            bail!("{} failed", program.display());
        }
        let mut files = Vec::new();
        collect(&fresh, Path::new(""), &mut files)?;
        if files.is_empty() {
            bail!("nothing was generated");
        }
        let changed = compare(&fresh, &products::root(), &files, self.check)?;
        if self.check && !changed.is_empty() {
            bail!("out of date, run `cargo xtask gen`: {}", changed.join(", "));
        }
        println!("{} generated files, {} changed", files.len(), changed.len());
        Ok(())
    }
}

/// Files below `dir`, as paths relative to the first one.
fn collect(root: &Path, dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(root.join(dir))? {
        let entry = entry?;
        let path = dir.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(root, &path, files)?;
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

/// Names of the files that differ; unless only checking, they are replaced.
fn compare(from: &Path, to: &Path, files: &[PathBuf], check: bool) -> Result<Vec<String>> {
    let mut changed = Vec::new();
    for file in files {
        let wanted = fs::read(from.join(file))?;
        let target = to.join(file);
        if fs::read(&target).is_ok_and(|found| found == wanted) {
            continue;
        }
        changed.push(file.display().to_string());
        if !check {
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&target, &wanted)
                .with_context(|| format!("cannot write {}", target.display()))?;
        }
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_or_missing_file_is_named_and_only_then_written() {
        let base = std::env::temp_dir().join(format!("xtask-gen-{}", std::process::id()));
        let (from, to) = (base.join("from"), base.join("to"));
        fs::create_dir_all(from.join("docs")).unwrap();
        fs::create_dir_all(&to).unwrap();
        fs::write(from.join("same"), "1").unwrap();
        fs::write(to.join("same"), "1").unwrap();
        fs::write(from.join("docs/new"), "2").unwrap();
        let mut files = Vec::new();
        collect(&from, Path::new(""), &mut files).unwrap();
        assert_eq!(files, [PathBuf::from("docs/new"), PathBuf::from("same")]);
        assert_eq!(compare(&from, &to, &files, true).unwrap(), ["docs/new"]);
        assert!(!to.join("docs/new").exists());
        assert_eq!(compare(&from, &to, &files, false).unwrap(), ["docs/new"]);
        assert!(compare(&from, &to, &files, true).unwrap().is_empty());
        fs::remove_dir_all(&base).unwrap();
    }
}
