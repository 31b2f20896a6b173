//! Where do the programs come from that the lab and the tests start?
//!
//! From the Go module proxy and from Debian, by their ordinary clients, at pinned versions. A Go
//! program is built once and kept in a cache outside the checkout, under a name that says everything
//! that went into it (`<program>-<version>-<hash of the recipe>`), so a second start builds nothing
//! and a changed pin never meets an old binary.

pub(crate) mod build;
pub(crate) mod cache;
pub(crate) mod catalog;
pub(crate) mod command;
pub(crate) mod debian;
pub(crate) mod shell;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

use cache::Cache;
use catalog::{PROGRAMS, Program};

/// What a user can do on a machine where something cannot be had.
pub(crate) const INSTEAD: &str = "or name a cluster that you have with --context NAME";

/// The binaries that were asked for, by name.
#[derive(Debug, Default)]
pub(crate) struct Binaries(BTreeMap<String, PathBuf>);

impl Binaries {
    /// The path of one binary; an error names one that was not asked for.
    pub(crate) fn path(&self, name: &str) -> Result<&Path> {
        self.0
            .get(name)
            .map(PathBuf::as_path)
            .ok_or_else(|| anyhow!("{name} was not among the programs that were made ready"))
    }

    /// Binaries that were made ready earlier, each named as its file.
    pub(crate) fn of_paths(paths: impl Iterator<Item = PathBuf>) -> Self {
        let named = paths.filter_map(|path| {
            let name = path.file_name()?.to_string_lossy().into_owned();
            Some((name, path))
        });
        Self(named.collect())
    }

    /// Every binary with its path, in the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.0.iter().map(|(name, path)| (name.as_str(), path.as_path()))
    }
}

/// Makes the named binaries ready, building those that the cache lacks, with progress on stderr.
///
/// A name is a binary's (`kube-apiserver`, `ctr`, `bridge`), as listed in [`PROGRAMS`].
pub(crate) fn ensure(names: &[&str]) -> Result<Binaries> {
    let cache = Cache::open()?;
    let mut wanted: Vec<&Program> = Vec::new();
    for name in names {
        let program = catalog::program_of(name)?;
        if !wanted.iter().any(|known| known.name == program.name) {
            wanted.push(program);
        }
    }
    let missing = missing(&cache, &wanted)?;
    if !missing.is_empty() {
        build::all(&cache, &missing)?;
    }
    let mut found = BTreeMap::new();
    for name in names {
        let program = catalog::program_of(name)?;
        found.insert((*name).to_owned(), cache.entry(program)?.join(name));
    }
    Ok(Binaries(found))
}

/// Makes every program of the lab ready.
pub(crate) fn ensure_all() -> Result<Binaries> {
    let names: Vec<&str> =
        PROGRAMS.iter().flat_map(|program| program.binaries.iter().map(|b| b.name)).collect();
    ensure(&names)
}

fn missing<'a>(cache: &Cache, wanted: &[&'a Program]) -> Result<Vec<&'a Program>> {
    let mut missing = Vec::new();
    for program in wanted {
        if !cache.entry(program)?.is_dir() {
            missing.push(*program);
        }
    }
    Ok(missing)
}

/// The directory of the pinned module of a program, in this checkout.
pub(crate) fn module_dir(module: &str) -> Result<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(module);
    dir.join("go.mod")
        .is_file()
        .then_some(dir.clone())
        .with_context(|| format!("{} has no go.mod; is this a complete checkout?", dir.display()))
}
