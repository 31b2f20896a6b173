//! Which changes of what decides would no test notice? Called by `cargo xtask check mutants`.
//!
//! cargo-mutants says which changes there are: a comparison, an operator, a whole body. All of them
//! are woven into one program ([`weave`]), which is compiled once and then run with each of them switched
//! on. First the tests of `core` judge a change; what they do not notice is judged by the simulator.
//! What cannot be woven is compiled on its own.

mod alone;
mod build;
mod edits;
mod judge;
mod mutant;
mod page;
mod tree;
mod verdicts;
mod weave;
mod woven;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context as _, Result};
use clap::Parser;

use build::Cargo;
use judge::{Judge, Which};
use mutant::Mutant;
use tree::Tree;
use verdicts::{Verdict, Verdicts};

/// Where the rules are.
const RULES: &str = "crates/core/src/rules";

/// Judges changes.
#[derive(Debug, Parser)]
struct Arguments {
    /// The list of changes, as cargo-mutants writes it.
    #[arg(long)]
    list: PathBuf,
    /// Directory of the copy, of what is built and of the verdicts.
    #[arg(long)]
    directory: PathBuf,
    /// Changes that are judged at the same time.
    #[arg(long)]
    jobs: usize,
    /// Random histories that the simulator plays with each change.
    #[arg(long)]
    seeds: u64,
    /// Judge what nothing noticed once more.
    #[arg(long)]
    again: bool,
    /// Leave the simulator out: what the tests of core do not notice stays open.
    #[arg(long)]
    core_only: bool,
    /// Judge nothing, and say what is known.
    #[arg(long)]
    report: bool,
    /// Write the figures into the page, under these words.
    #[arg(long)]
    write: Option<String>,
}

/// Everything that a run needs.
pub(crate) struct Run {
    pub(crate) tree: Tree,
    pub(crate) cargo: Cargo,
    pub(crate) mutants: Vec<Mutant>,
    pub(crate) verdicts: Mutex<Verdicts>,
    jobs: usize,
    seeds: u64,
    core_only: bool,
    directory: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let run = Run::new(&arguments)?;
    if !arguments.report {
        run.judge()?;
    }
    let verdicts = run.verdicts.lock().map_err(|_| anyhow::anyhow!("a judge broke off"))?;
    let table = page::table(&run.mutants, &verdicts);
    println!("{table}");
    if let Some(heading) = &arguments.write {
        page::write(&root(), heading, &table)?;
    }
    page::compare(&root(), &run.mutants, &verdicts)
}

/// The repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

impl Run {
    fn new(arguments: &Arguments) -> Result<Self> {
        let list = std::fs::read_to_string(&arguments.list).context("the list of changes")?;
        let mutants = mutant::read(&list)?;
        let directory = arguments.directory.clone();
        let mut changed: BTreeSet<PathBuf> = mutants.iter().map(|m| m.file.clone()).collect();
        changed.insert(woven::LIB.into());
        let tree = Tree::copy(&root(), &directory.join("tree"), &changed)?;
        let mut digests = BTreeMap::new();
        for mutant in &mutants {
            if !digests.contains_key(&mutant.file) {
                let digest = verdicts::digest(&tree.original(&mutant.file)?);
                digests.insert(mutant.file.clone(), digest);
            }
        }
        let mut verdicts = Verdicts::open(&directory.join("verdicts.tsv"), digests)?;
        if arguments.again && !arguments.report {
            verdicts.doubt();
        }
        let temporary = directory.join("temporary");
        std::fs::create_dir_all(&temporary).context("a directory for temporary files")?;
        let cargo = Cargo { tree: tree.to.clone(), target: directory.join("build") };
        let Arguments { jobs, seeds, core_only, .. } = *arguments;
        let verdicts = Mutex::new(verdicts);
        Ok(Self { tree, cargo, mutants, verdicts, jobs, seeds, core_only, directory })
    }

    fn judge(&self) -> Result<()> {
        let left = self.left(|verdict| verdict.is_none_or(|verdict| !verdict.is_last()))?;
        println!("{} changes, {} of them not judged", self.mutants.len(), left.len());
        if left.is_empty() {
            return Ok(());
        }
        woven::prepare(self)?;
        let new = |verdict: Option<&Verdict>| verdict.is_none();
        // What is left from an earlier run needs no tests of core, which take minutes to build.
        let both = !self.core_only && !self.left(new)?.is_empty();
        self.all(&new, (Which::Core, both), &Verdict::Silent)?;
        if !self.core_only {
            let silent = |verdict: Option<&Verdict>| verdict == Some(&Verdict::Silent);
            self.all(&silent, (Which::Simulator, both), &Verdict::Survived)?;
            alone::judge(self)?;
        }
        Ok(())
    }

    /// Numbers of the changes with such a verdict.
    pub(crate) fn left(&self, asks: impl Fn(Option<&Verdict>) -> bool) -> Result<Vec<usize>> {
        let verdicts = self.verdicts.lock().map_err(|_| anyhow::anyhow!("a judge broke off"))?;
        let numbered = self.mutants.iter().enumerate();
        let left = numbered.filter(|(_, mutant)| asks(verdicts.of(mutant)));
        Ok(left.map(|(at, _)| at + 1).collect())
    }

    /// Numbers of the changes that can be woven into one program, as far as is known.
    pub(crate) fn together(&self) -> Result<BTreeSet<usize>> {
        let verdicts = self.verdicts.lock().map_err(|_| anyhow::anyhow!("a judge broke off"))?;
        let numbered = self.mutants.iter().enumerate();
        let together = numbered.filter(|(_, mutant)| !verdicts.is_apart(mutant));
        Ok(together.map(|(at, _)| at + 1).collect())
    }

    /// The change of a number.
    pub(crate) fn mutant(&self, id: usize) -> Result<&Mutant> {
        self.mutants.get(id - 1).context("no change has this number")
    }

    pub(crate) fn note(&self, id: usize, verdict: Verdict) -> Result<()> {
        let mut verdicts =
            self.verdicts.lock().map_err(|_| anyhow::anyhow!("a judge broke off"))?;
        verdicts.note(self.mutant(id)?, verdict)
    }

    /// A judge of what is woven; `both`: the other one judges as well in this run.
    fn bench(&self, (which, both): (Which, bool)) -> Result<Judge> {
        let packages = if both { &judge::BOTH } else { which.packages() };
        let built = self.cargo.tests(packages)?;
        Judge::new(which, &built, self.seeds, self.directory.join("temporary"))
    }

    /// As [`Run::bench`], where the change is in the source itself.
    pub(crate) fn unproved(&self, which: Which) -> Result<Judge> {
        let built = self.cargo.tests(which.packages())?;
        Judge::unproved(which, &built, self.seeds, self.directory.join("temporary"))
    }

    /// Judges those with such a verdict, some at a time; what is not noticed gets the verdict `otherwise`.
    fn all(
        &self,
        asks: &dyn Fn(Option<&Verdict>) -> bool,
        which: (Which, bool),
        otherwise: &Verdict,
    ) -> Result<()> {
        let mut todo = self.left(asks)?;
        // What holds steps matters most.
        let plans = |id: &usize| !self.mutant(*id).is_ok_and(|m| m.file.starts_with(RULES));
        todo.sort_by_key(plans);
        if todo.is_empty() {
            return Ok(());
        }
        println!("{:?} judges {}", which.0, todo.len());
        let judge = self.bench(which)?;
        let next = Mutex::new(todo.into_iter());
        let work = || -> Result<()> {
            loop {
                let id = next.lock().ok().and_then(|mut next| next.next());
                let Some(id) = id else { return Ok(()) };
                let verdict = judge.notices(id)?.map_or(otherwise.clone(), Verdict::Noticed);
                self.note(id, verdict)?;
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs).map(|_| scope.spawn(work)).collect();
            for worker in workers {
                worker.join().map_err(|_| anyhow::anyhow!("a judge broke off"))??;
            }
            Ok(())
        })
    }
}
