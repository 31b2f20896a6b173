//! Is every belief of the model used, and is its source there?

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use tikv_operator_sim::beliefs::{self, Source};

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if !path.ends_with("beliefs.rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_belief_has_a_source_that_exists() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let all = beliefs::all();
    assert!(all.len() > 20);
    for (says, source) in all {
        let words = match source {
            Source::Recording(file) => {
                assert!(fixtures.join(file).exists(), "{says}: {file} does not exist");
                file
            }
            Source::Script(file) => {
                assert!(scripts.join(file).exists(), "{says}: {file} does not exist");
                file
            }
            Source::Seen(what)
            | Source::Read(what)
            | Source::Documented(what)
            | Source::Chosen(what) => what,
        };
        assert!(words.len() > 10 && says.len() > 20, "{says}: {words}");
    }
}

#[test]
fn what_is_left_out_has_a_reason() {
    for limit in beliefs::LIMITS {
        assert!(limit.left_out.len() > 10 && limit.because.len() > 20, "{limit:?}");
    }
}

#[test]
fn every_belief_is_listed_and_used() {
    let settings = include_str!("../src/beliefs/settings.rs");
    let (settings, facts) = settings.split_once("const FACTS").unwrap();
    let list = format!("{}{facts}", include_str!("../src/beliefs/all.rs"));
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let model: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    for definitions in [include_str!("../src/beliefs.rs"), settings] {
        let names = definitions.lines().filter_map(|line| line.strip_prefix("pub const "));
        for name in names.filter_map(|line| line.split(':').next()) {
            assert!(list.contains(name), "{name} is not in all()");
            let here = definitions.matches(name).count() > 1;
            let used = here || model.contains(&format!("beliefs::{name}"));
            assert!(used, "{name}: nothing in the model names it");
        }
    }
}
