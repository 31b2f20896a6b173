//! `cargo xtask check`: do the pages tell the truth?

mod page;
mod readme;

use anyhow::Result;
use clap::{Args, Subcommand};

/// Checks pages against the product.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Runs every command of README.md on the lab.
    Readme,
}

impl CheckArgs {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<()> {
        match self.what {
            What::Readme => readme::run(),
        }
    }
}
