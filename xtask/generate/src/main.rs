//! Which files are generated, and from what?
//!
//! `generate DIR` writes all of them below DIR. `cargo xtask gen` compares or replaces those of the
//! checkout; it is a program of its own so that `cargo xtask lab` need not wait for these crates.

mod custom_resource;
mod deployment;
mod events;
mod mutations;
mod reference;
mod rules;
mod scenarios;
mod settings;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A file to be written.
struct File {
    path: &'static str,
    text: String,
}

fn main() -> Result<()> {
    let target: PathBuf = std::env::args_os().nth(1).context("usage: generate DIR")?.into();
    for file in files()? {
        write(&target.join(file.path), &file.text)?;
    }
    Ok(())
}

fn files() -> Result<Vec<File>> {
    Ok(vec![
        File { path: "deploy/crd.yaml", text: custom_resource::manifest()? },
        File { path: "deploy/crd-tasks.yaml", text: custom_resource::task_manifest()? },
        File { path: "deploy/tikv-operator.yaml", text: deployment::manifest() },
        File { path: "docs/config-online.md", text: settings::page() },
        File { path: "docs/events.md", text: events::page() },
        File { path: "docs/fields-tidb-operator.md", text: tikv_operator_api::counterpart::page() },
        File { path: "docs/mutations.md", text: mutations::page() },
        File { path: "docs/reference.md", text: reference::page() },
        File { path: "docs/reference-tasks.md", text: reference::task_page() },
        File { path: "docs/rules.md", text: rules::page() },
        File { path: "docs/scenarios.md", text: scenarios::page()? },
    ])
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
