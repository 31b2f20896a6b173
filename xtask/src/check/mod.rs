//! `cargo xtask check`: do the pages tell the truth, and are the dependencies what they may be?

mod commands;
mod dependencies;
mod page;
mod readme;

use anyhow::Result;
use clap::{Args, Subcommand};

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
}

impl CheckArgs {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<()> {
        match self.what {
            What::Readme => readme::run(),
            What::Dependencies => dependencies::run(),
        }
    }
}
