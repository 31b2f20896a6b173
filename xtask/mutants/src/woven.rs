//! Which changes can be woven into one program? The compiler is asked until it refuses none.
//!
//! What it refuses at a place that is there for one change alone, it would refuse in the source too:
//! the types are the same. Of everything else the change is tried in the source.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::build::Complaint;
use crate::edits::Edited;
use crate::mutant::Mutant;
use crate::verdicts::Verdict;
use crate::weave::{SWITCH, weave};
use crate::{Run, alone};

/// Where the switch is put.
pub(crate) const LIB: &str = "crates/core/src/lib.rs";
/// The compiler has several passes, and says nothing of a later one before the earlier one is content.
const PASSES: usize = 30;

/// Leaves the copy with all changes in it that can be woven. What the compiler refuses, and what has to
/// be judged alone, is written down, so the next run finds the same text, and nothing to compile.
pub(crate) fn prepare(run: &Run) -> Result<()> {
    let mut woven = run.together()?;
    let mut alone = BTreeSet::new();
    let lib = run.tree.original(Path::new(LIB))?;
    run.tree.write(Path::new(LIB), format!("{lib}{SWITCH}").as_bytes())?;
    for _ in 0..PASSES {
        let texts = weave_all(run, &mut woven, &mut alone)?;
        let complaints = run.cargo.check()?;
        if complaints.is_empty() {
            println!("{} changes are in one program, {} are not", woven.len(), alone.len());
            return finish(run, &texts, &alone);
        }
        println!("the compiler complains about {} places", complaints.len());
        for complaint in &complaints {
            sort_out(run, &texts, complaint, (&mut woven, &mut alone))?;
        }
    }
    bail!("the compiler still refuses something after {PASSES} passes")
}

/// Tries in the source what could not be woven, and weaves again.
fn finish(run: &Run, texts: &BTreeMap<PathBuf, Edited>, alone: &BTreeSet<usize>) -> Result<()> {
    if alone.is_empty() {
        return Ok(());
    }
    for file in texts.keys() {
        run.tree.write(file, run.tree.original(file)?.as_bytes())?;
    }
    alone::sort(run, alone)?;
    for (file, edited) in texts {
        run.tree.write(file, edited.text.as_bytes())?;
    }
    Ok(())
}

/// Weaves every file anew.
fn weave_all(
    run: &Run,
    woven: &mut BTreeSet<usize>,
    alone: &mut BTreeSet<usize>,
) -> Result<BTreeMap<PathBuf, Edited>> {
    let files: BTreeSet<&PathBuf> = run.mutants.iter().map(|mutant| &mutant.file).collect();
    let mut texts = BTreeMap::new();
    for file in files {
        let mut here: Vec<(usize, &Mutant)> = Vec::new();
        for id in &*woven {
            let mutant = run.mutant(*id)?;
            if mutant.file == *file {
                here.push((*id, mutant));
            }
        }
        let done = weave(&run.tree.original(file)?, &here)?;
        for id in done.left {
            woven.remove(&id);
            alone.insert(id);
        }
        run.tree.write(file, done.edited.text.as_bytes())?;
        texts.insert(file.clone(), done.edited);
    }
    Ok(texts)
}

/// Takes out what a complaint is about.
fn sort_out(
    run: &Run,
    texts: &BTreeMap<PathBuf, Edited>,
    complaint: &Complaint,
    (woven, alone): (&mut BTreeSet<usize>, &mut BTreeSet<usize>),
) -> Result<()> {
    let Complaint { file, bytes, words } = complaint;
    let edited = texts.get(file).with_context(|| format!("not in what was woven: {words}"))?;
    for byte in bytes {
        let own = edited.own(*byte);
        if let Some(id) = own
            && run.mutant(id)?.is_woven_as_it_is()
        {
            if woven.remove(&id) {
                run.note(id, Verdict::Unviable)?;
            }
            return Ok(());
        }
        let about: Vec<usize> =
            own.as_slice().iter().chain(edited.around(*byte)).copied().collect();
        if !about.is_empty() {
            woven.retain(|id| !about.contains(id));
            alone.extend(about);
            return Ok(());
        }
    }
    bail!("no change is to blame: {words}")
}
