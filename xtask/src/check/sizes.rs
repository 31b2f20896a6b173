//! Is every file still one that can be read in one go?
//!
//! Functions are clippy's business (`too_many_lines`). Generated code and what is copied in from real
//! servers are nobody's to read.

use std::path::{Path, PathBuf};

/// Lines of a source file.
const FILE: usize = 500;
/// Lines of a file of the planner.
const PLANNER: usize = 300;

fn sources(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

fn limit(path: &Path) -> usize {
    let planner = path.components().any(|part| part.as_os_str() == "plan");
    let test = path.to_string_lossy().contains("tests");
    if planner && !test { PLANNER } else { FILE }
}

#[test]
fn no_file_is_longer_than_it_may_be() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for part in ["crates", "tests", "xtask"] {
        sources(&root.join(part), &mut files);
    }
    assert!(files.len() > 300, "only {} sources were found", files.len());
    let lines = |path: &Path| std::fs::read_to_string(path).unwrap().lines().count();
    let long: Vec<String> = files
        .iter()
        .filter(|path| lines(path) > limit(path))
        .map(|path| format!("{}: {} lines", path.display(), lines(path)))
        .collect();
    assert_eq!(long, Vec::<String>::new());
}
