//! What becomes of changes that cannot be woven into one program with the others?
//!
//! Each is put into the source alone. Most are refused by the compiler; the others have their own
//! programs of tests.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};

use crate::Run;
use crate::judge::Which;
use crate::verdicts::Verdict;

/// Tells those that the compiler accepts from the others.
pub(crate) fn sort(run: &Run, alone: &BTreeSet<usize>) -> Result<()> {
    for id in alone {
        let viable = with(run, *id, || Ok(run.cargo.check()?.is_empty()))?;
        run.note(*id, if viable { Verdict::Alone } else { Verdict::Unviable })?;
    }
    Ok(())
}

/// Judges each with its own programs.
pub(crate) fn judge(run: &Run) -> Result<()> {
    let alone = run.left(|verdict| verdict == Some(&Verdict::Alone))?;
    let files: BTreeSet<_> = run.mutants.iter().map(|mutant| &mutant.file).collect();
    if !alone.is_empty() {
        for file in files {
            run.tree.write(file, run.tree.original(file)?.as_bytes())?;
        }
    }
    for id in &alone {
        let verdict = with(run, *id, || {
            for which in [Which::Core, Which::Simulator] {
                let judge = run.unproved(which)?;
                if let Some(by) = judge.notices(*id)? {
                    return Ok(Verdict::Noticed(by));
                }
            }
            Ok(Verdict::Survived)
        })?;
        run.note(*id, verdict)?;
    }
    Ok(())
}

/// Does something while this change alone is in the source.
fn with<T>(run: &Run, id: usize, work: impl Fn() -> Result<T>) -> Result<T> {
    let mutant = run.mutant(id)?;
    let text = run.tree.original(&mutant.file)?;
    let changed = mutant.applied(&text).context("a place that is not in the source")?;
    run.tree.write(&mutant.file, changed.as_bytes())?;
    let result = work()?;
    run.tree.write(&mutant.file, text.as_bytes())?;
    Ok(result)
}
