//! What is committed of the verdicts, and is all explained that no test notices?

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::mutant::Mutant;
use crate::verdicts::{Verdict, Verdicts};

/// Where survivors are explained, and between which lines the figures are.
pub(crate) const PAGE: &str = "docs/mutants.md";
const BEGIN: &str = "<!-- figures: written by `cargo xtask check mutants --write` -->";
const END: &str = "<!-- end of figures -->";

/// How many changes of a file had which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Row {
    all: usize,
    unviable: usize,
    core: usize,
    simulator: usize,
    survived: usize,
    silent: usize,
    open: usize,
}

impl Row {
    fn count(&mut self, verdict: Option<&Verdict>) {
        self.all += 1;
        match verdict {
            Some(Verdict::Unviable) => self.unviable += 1,
            Some(Verdict::Noticed(by)) if by.starts_with("core/") => self.core += 1,
            Some(Verdict::Noticed(_)) => self.simulator += 1,
            Some(Verdict::Survived) => self.survived += 1,
            Some(Verdict::Silent) => self.silent += 1,
            Some(Verdict::Alone) | None => self.open += 1,
        }
    }

    fn cells(self) -> String {
        let Self { all, unviable, core, simulator, survived, silent, open } = self;
        format!("{all} | {unviable} | {core} | {simulator} | {survived} | {silent} | {open} |")
    }
}

fn rows(mutants: &[Mutant], verdicts: &Verdicts) -> (BTreeMap<PathBuf, Row>, Row) {
    let (mut rows, mut sum) = (BTreeMap::<PathBuf, Row>::new(), Row::default());
    for mutant in mutants {
        rows.entry(mutant.file.clone()).or_default().count(verdicts.of(mutant));
        sum.count(verdicts.of(mutant));
    }
    (rows, sum)
}

/// The figures as a table: of each file, and of all.
pub(crate) fn table(mutants: &[Mutant], verdicts: &Verdicts) -> String {
    let (rows, sum) = rows(mutants, verdicts);
    let head = "| File | Changes | Refused by the compiler | Noticed by `core` | By the simulator | \
                By nothing | Left to the simulator | Not judged |\n|---|---|---|---|---|---|---|---|\n";
    let line = |(file, row): (PathBuf, Row)| {
        let file = file.strip_prefix("crates/core/src").unwrap_or(&file);
        format!("| `{}` | {}\n", file.display(), row.cells())
    };
    let lines: Vec<String> = rows.into_iter().map(line).collect();
    format!("{head}{}| all | {}\n", lines.concat(), sum.cells())
}

/// Puts the figures into the page.
pub(crate) fn write(root: &Path, heading: &str, table: &str) -> Result<()> {
    let path = root.join(PAGE);
    let page = std::fs::read_to_string(&path).context(PAGE)?;
    let (before, rest) = page.split_once(BEGIN).context("no place for the figures")?;
    let (_, after) = rest.split_once(END).context("the place for the figures has no end")?;
    std::fs::write(&path, format!("{before}{BEGIN}\n{heading}\n\n{table}{END}{after}"))
        .context(PAGE)
}

/// Changes that the page explains, each as often as it is there: items of its lists that begin with one
/// in back-quotes.
fn explained(page: &str) -> Vec<String> {
    let items = page.lines().filter_map(|line| line.strip_prefix("- `"));
    items.filter_map(|item| item.split_once('`')).map(|(name, _)| name.to_owned()).collect()
}

/// Names in `wanted` that are not in `there`, each as often as it is missing there.
fn missing<'a>(wanted: &'a [String], there: &[String]) -> Vec<&'a String> {
    let mut left: Vec<&String> = there.iter().collect();
    let mut missing = Vec::new();
    for name in wanted {
        match left.iter().position(|other| *other == name) {
            Some(at) => drop(left.swap_remove(at)),
            None => missing.push(name),
        }
    }
    missing
}

/// Fails unless everything was judged to its end, and the page explains what survived and nothing else.
pub(crate) fn compare(root: &Path, mutants: &[Mutant], verdicts: &Verdicts) -> Result<()> {
    let page = std::fs::read_to_string(root.join(PAGE)).context(PAGE)?;
    let survived = mutants.iter().filter(|m| verdicts.of(m) == Some(&Verdict::Survived));
    let survivors: Vec<String> = survived.map(Mutant::placeless).collect();
    let is_here = |name: &String| mutants.iter().any(|mutant| mutant.placeless() == *name);
    let explained: Vec<String> = explained(&page).into_iter().filter(is_here).collect();
    let (new, gone) = (missing(&survivors, &explained), missing(&explained, &survivors));
    for name in &new {
        println!("no test notices: {name}");
    }
    for name in &gone {
        println!("explained in {PAGE}, and noticed by now: {name}");
    }
    let open =
        mutants.iter().filter(|mutant| verdicts.of(mutant).is_none_or(Verdict::is_open)).count();
    println!("{open} changes are not judged to their end");
    let ok = new.is_empty() && gone.is_empty() && open == 0;
    println!(
        "{} changes are noticed by no test, {} of them unexplained",
        survivors.len(),
        new.len()
    );
    println!("test result: mutants. {} passed; {} failed; 0 ignored", u8::from(ok), u8::from(!ok));
    if ok { Ok(()) } else { bail!("not all is judged, or {PAGE} is not what was found") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_survivor_needs_a_line_of_its_own() {
        let name = "crates/core/src/plan/a.rs: replace < with <= in f".to_owned();
        let once = explained(&format!("# Mutants\n- `{name}`: never equal\n"));
        assert_eq!(once, std::slice::from_ref(&name));
        let twice = [name.clone(), name.clone()];
        assert_eq!(missing(&twice, &once), [&name]);
        assert!(missing(&once, &twice).is_empty());
        assert!(Verdict::Silent.is_open() && Verdict::Alone.is_open());
        assert!(!Verdict::Survived.is_open() && !Verdict::Unviable.is_open());
    }

    #[test]
    fn the_page_has_a_place_for_the_figures_and_no_line_twice_without_need() {
        let root = crate::root();
        let page = std::fs::read_to_string(root.join(PAGE)).unwrap();
        assert!(page.split_once(BEGIN).unwrap().1.contains(END));
        let sum = page.lines().find(|line| line.starts_with("| all |")).unwrap();
        let survived = sum.split('|').nth(6).unwrap().trim();
        assert_eq!(survived, explained(&page).len().to_string(), "survivors and explanations");
    }
}
