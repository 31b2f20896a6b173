//! Where is a built program kept, and how is a half-built one never taken for a whole one?
//!
//! `$TIKV_OPERATOR_CACHE`, else `$XDG_CACHE_HOME/tikv-operator`, else `~/.cache/tikv-operator`. An
//! entry is a directory that appears by one rename after its build succeeded.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use super::catalog::Program;

/// Prefix of directories in which a build is under way.
const BUILDING: &str = ".building-";

/// The directory of built programs.
#[derive(Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

/// Held while something is built; released by the kernel however the holder ends.
#[derive(Debug)]
pub(crate) struct BuildLock {
    _file: File,
}

impl Cache {
    /// Opens the cache, creating its directory.
    pub(crate) fn open() -> Result<Self> {
        let root = root_from(|name| std::env::var_os(name).map(PathBuf::from))?;
        fs::create_dir_all(&root)
            .with_context(|| format!("cannot create the cache directory {}", root.display()))?;
        Ok(Self { root })
    }

    /// A directory of this name in the cache, for a program that another tool builds.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The directory in which the program's binaries are once it is built.
    pub(crate) fn entry(&self, program: &Program) -> Result<PathBuf> {
        let dir = super::module_dir(program.module)?;
        Ok(self.root.join(format!("{}-{}-{}", program.name, program.version, key(program, &dir)?)))
    }

    /// Waits until no other build runs, then removes what interrupted builds left.
    pub(crate) fn lock(&self) -> Result<BuildLock> {
        let path = self.root.join(".lock");
        let file =
            File::create(&path).with_context(|| format!("cannot lock {}", path.display()))?;
        if file.try_lock().is_err() {
            eprintln!("waiting for another build of the tools to end");
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        for entry in fs::read_dir(&self.root)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(BUILDING) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(BuildLock { _file: file })
    }

    /// Runs `build` in an empty directory that becomes the entry when it succeeds.
    pub(crate) fn fill(
        &self,
        _lock: &BuildLock,
        program: &Program,
        build: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let entry = self.entry(program)?;
        let half = self.root.join(format!("{BUILDING}{}", program.name));
        fs::create_dir_all(&half)?;
        if let Err(error) = build(&half) {
            // What is left would only be removed by the next build; the error matters more.
            drop(fs::remove_dir_all(&half));
            return Err(error);
        }
        fs::rename(&half, &entry)
            .with_context(|| format!("cannot move a built program to {}", entry.display()))?;
        Ok(entry)
    }
}

fn root_from(var: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf> {
    let set = |name| var(name).filter(|path| !path.as_os_str().is_empty());
    if let Some(root) = set("TIKV_OPERATOR_CACHE") {
        return Ok(root);
    }
    if let Some(base) = set("XDG_CACHE_HOME") {
        return Ok(base.join("tikv-operator"));
    }
    let home = set("HOME").context("none of TIKV_OPERATOR_CACHE, XDG_CACHE_HOME, HOME is set")?;
    Ok(home.join(".cache/tikv-operator"))
}

/// A hash of everything that decides what the binaries do: pins, sources of ours, flags.
fn key(program: &Program, dir: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    let mut sources: Vec<PathBuf> =
        fs::read_dir(dir)?.map(|entry| entry.map(|e| e.path())).collect::<std::io::Result<_>>()?;
    sources.retain(|path| {
        path.extension().is_some_and(|e| e == "go")
            || path.ends_with("go.mod")
            || path.ends_with("go.sum")
    });
    sources.sort();
    for path in sources {
        let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        hash.update(content.len().to_le_bytes());
        hash.update(&content);
    }
    hash.update(super::build::recipe(program));
    Ok(hash.finalize().iter().take(6).fold(String::new(), |text, byte| format!("{text}{byte:02x}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::catalog::{Binary, Program};

    const PROGRAM: Program = Program {
        name: "thing",
        version: "1",
        module: "pause",
        binaries: &[Binary { name: "thing", package: "." }],
        cgo: false,
        tags: "",
        ldflags: "",
    };

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("xtask-cache-{}-{name}", std::process::id()));
        drop(fs::remove_dir_all(&dir));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn the_key_changes_with_pins_sources_and_flags() {
        let dir = scratch("key");
        fs::write(dir.join("go.mod"), "module a").unwrap();
        let first = key(&PROGRAM, &dir).unwrap();
        assert_eq!(first, key(&PROGRAM, &dir).unwrap());
        assert_eq!(first.len(), 12);
        fs::write(dir.join("notes.txt"), "no part of it").unwrap();
        assert_eq!(first, key(&PROGRAM, &dir).unwrap());
        fs::write(dir.join("main.go"), "package main").unwrap();
        let second = key(&PROGRAM, &dir).unwrap();
        assert_ne!(first, second);
        assert_ne!(second, key(&Program { tags: "seccomp", ..PROGRAM }, &dir).unwrap());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn an_interrupted_or_failed_build_leaves_no_entry() {
        let cache = Cache { root: scratch("half") };
        let half = cache.root.join(".building-thing");
        fs::create_dir_all(&half).unwrap();
        fs::write(half.join("thing"), "half").unwrap();
        let lock = cache.lock().unwrap();
        assert!(!half.exists(), "what an interrupted build left is removed");
        let failed = cache.fill(&lock, &PROGRAM, |dir| {
            fs::write(dir.join("thing"), "half")?;
            anyhow::bail!("the compiler stopped")
        });
        assert!(failed.is_err());
        assert!(!cache.entry(&PROGRAM).unwrap().exists());
        let entry =
            cache.fill(&lock, &PROGRAM, |dir| Ok(fs::write(dir.join("thing"), "whole")?)).unwrap();
        assert_eq!(fs::read_to_string(entry.join("thing")).unwrap(), "whole");
        fs::remove_dir_all(&cache.root).unwrap();
    }

    #[test]
    fn the_cache_follows_the_variables_in_order() {
        let with = |set: &'static [(&str, &str)]| {
            root_from(move |name| {
                set.iter().find(|(n, _)| *n == name).map(|(_, value)| PathBuf::from(value))
            })
        };
        let home = ("HOME", "/home/a");
        assert_eq!(
            with(&[("HOME", "/home/a")]).unwrap(),
            Path::new("/home/a/.cache/tikv-operator")
        );
        assert_eq!(
            with(&[("XDG_CACHE_HOME", "/x"), ("HOME", "/home/a")]).unwrap(),
            Path::new("/x/tikv-operator")
        );
        assert_eq!(
            with(&[("TIKV_OPERATOR_CACHE", "/t"), ("XDG_CACHE_HOME", "/x")]).unwrap(),
            Path::new("/t")
        );
        assert_eq!(
            with(&[("TIKV_OPERATOR_CACHE", ""), ("HOME", "/home/a")]).unwrap(),
            Path::new(home.1).join(".cache/tikv-operator")
        );
        assert!(with(&[]).is_err());
    }
}
