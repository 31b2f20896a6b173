//! `cargo xtask operator-image`: how does the operator get into somebody's registry?

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{products, site};

/// Writes the operator's image as a `docker save` archive, without Docker.
#[derive(Debug, Args)]
pub(crate) struct OperatorImageArgs {
    /// The archive to write.
    #[arg(long)]
    output: PathBuf,
    /// Name with tag [default: the one in deploy/tikv-operator.yaml].
    #[arg(long)]
    name: Option<String>,
    /// Build with optimisation; takes minutes, and is what should run for real.
    #[arg(long)]
    release: bool,
}

impl OperatorImageArgs {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<()> {
        let built = if self.release {
            products::build_release("tikv-operator")?
        } else {
            products::build(&["tikv-operator"])?
        };
        let name = match &self.name {
            Some(name) => name.clone(),
            None => site::operator_image()?,
        };
        let archive = products::operator(&built, &name)?;
        if let Some(parent) = self.output.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&self.output, &archive.bytes)
            .with_context(|| format!("cannot write {}", self.output.display()))?;
        println!("{name} is in {}", self.output.display());
        Ok(())
    }
}
