//! `cargo xtask sim`: does any random history make the operator lose data?

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::products;

/// Plays random histories and stops at the first that ends badly: prints what was found, the rules
/// that should have stopped it and the smallest script in which it still happens.
#[derive(Debug, Args)]
pub(crate) struct SimArgs {
    /// How many histories.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Begin no history after so many minutes.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Play this one alone and print its script.
    #[arg(long, conflicts_with_all = ["seeds", "from", "minutes", "script"])]
    seed: Option<u64>,
    /// Play a script again.
    #[arg(long, conflicts_with_all = ["seeds", "from", "minutes"])]
    script: Option<PathBuf>,
}

impl SimArgs {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<()> {
        let program = products::build_release("tikv-operator-sim")?.join("tikv-operator-sim");
        let mut command = Command::new(&program);
        match (self.seed, &self.script) {
            (Some(seed), _) => command.args(["seed".to_owned(), seed.to_string()]),
            (None, Some(script)) => command.arg("script").arg(script),
            (None, None) => {
                let numbers = [self.from, self.seeds, self.minutes * 60].map(|n| n.to_string());
                command.arg("seeds").args(numbers)
            }
        };
        let status =
            command.status().with_context(|| format!("cannot start {}", program.display()))?;
        if !status.success() {
            bail!("a history ends badly");
        }
        Ok(())
    }
}
