//! `cargo xtask bench`: how fast does the planner decide, and how fast must it?
//!
//! The measuring program (package `tikv-operator-bench`) is built in release mode and nowhere else.
//! Tests measure no time: they would fail on a busy machine.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::products;

/// Measures plans: a table of case, measured, required, ratio. Fails below what is required.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Only cases whose names contain this.
    #[arg(long, default_value = "")]
    only: String,
}

impl BenchArgs {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<()> {
        let program = products::build_release("tikv-operator-bench")?;
        let program = program.join("tikv-operator-bench");
        let status = Command::new(&program)
            .arg(&self.only)
            .status()
            .with_context(|| format!("cannot start {}", program.display()))?;
        if !status.success() {
            bail!("slower than required");
        }
        Ok(())
    }
}
