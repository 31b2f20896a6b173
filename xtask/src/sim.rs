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
    /// Look at every moment that small clusters can come to, whatever happens and whenever; or of those
    /// whose name has this in it (crates/sim/tests/search).
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    #[arg(conflicts_with_all = ["seeds", "from", "minutes", "seed", "script"])]
    exhaustive: Option<String>,
    /// Play a script again.
    #[arg(long, conflicts_with_all = ["seeds", "from", "minutes"])]
    script: Option<PathBuf>,
}

impl SimArgs {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<()> {
        let program = products::build_release("tikv-operator-sim")?.join("tikv-operator-sim");
        let mut command = Command::new(&program);
        if let Some(name) = &self.exhaustive {
            command.arg("exhaustive").args(situations(name)?);
            return finish(command, "a small cluster ends badly, or was not looked at in whole");
        }
        match (self.seed, &self.script) {
            (Some(seed), _) => command.args(["seed".to_owned(), seed.to_string()]),
            (None, Some(script)) => command.arg("script").arg(script),
            (None, None) => {
                let numbers = [self.from, self.seeds, self.minutes * 60].map(|n| n.to_string());
                command.arg("seeds").args(numbers)
            }
        };
        finish(command, "a history ends badly")
    }
}

fn finish(mut command: Command, failure: &'static str) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
    if !status.success() {
        bail!(failure);
    }
    Ok(())
}

/// The files of situations with this in their name, in order.
fn situations(name: &str) -> Result<Vec<PathBuf>> {
    let directory = products::root().join("crates/sim/tests/search");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_some_and(|e| e == "txt") && stem.contains(name) {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() {
        bail!("no situation has {name:?} in its name");
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn situations_are_found_by_a_part_of_their_name() {
        assert!(situations("").unwrap().len() > 1);
        assert_eq!(situations("upgrade").unwrap().len(), 1);
        assert!(situations("no such").is_err());
    }
}
