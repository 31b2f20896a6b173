//! `cargo xtask check`: do the pages tell the truth, are the dependencies what they may be, and do the
//! tests reach what decides, and do they notice when it changes?

mod commands;
mod coverage;
mod dependencies;
mod mutants;
mod page;
mod readme;
#[cfg(test)]
mod sizes;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use coverage::decides;

/// Checks pages and dependencies.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Runs every command of README.md on the lab.
    Readme,
    /// Judges the crates of the shipped programs by deny.toml.
    Dependencies,
    /// Counts the lines of what decides that tests reach.
    Coverage,
    /// Names changes of what decides that no test notices; takes hours.
    Mutants(mutants::MutantsArgs),
}

impl CheckArgs {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<()> {
        match &self.what {
            What::Readme => readme::run(),
            What::Dependencies => dependencies::run(),
            What::Coverage => coverage::run(),
            What::Mutants(args) => args.run(),
        }
    }
}

/// A program of crates.io below `directory`, compiled there if it is not.
fn installed(directory: &Path, name: &str, version: &str) -> Result<PathBuf> {
    let program = directory.join("bin").join(name);
    if !program.is_file() {
        eprintln!("building {name} {version} (once, takes minutes)");
        let status = Command::new("cargo")
            .args(["install", "--locked", "--quiet", "--version", version, "--root"])
            .arg(directory)
            .arg(name)
            .status()
            .context("cannot start cargo")?;
        if !status.success() {
            bail!("cargo could not build {name} {version}");
        }
    }
    Ok(program)
}
