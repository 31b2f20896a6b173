//! Does every script print what is written in it? `UPDATE=1` writes what it prints now.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines
)]

use std::fs;
use std::path::Path;

use tikv_operator_sim::script;

#[test]
fn scripts_print_what_they_say() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "txt"));
    assert!(files.len() >= 10, "scripts are missing");
    let mut failed = Vec::new();
    for file in files.iter().filter(|file| file.to_string_lossy().contains(&only)) {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(file).unwrap();
        assert!(text.contains("> "), "{name} does nothing");
        let (now, findings) = script::run(&text);
        for finding in &findings {
            failed.push(format!("{name}: {finding}"));
        }
        if now != text {
            if std::env::var_os("UPDATE").is_some() {
                fs::write(file, &now).unwrap();
            } else {
                failed.push(format!(
                    "{name} prints something else now:\n{}",
                    difference(&text, &now)
                ));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The lines that differ, with what is written before what is printed.
fn difference(written: &str, printed: &str) -> String {
    let mut out = String::new();
    let (mut a, mut b) = (written.lines().peekable(), printed.lines().peekable());
    while a.peek().is_some() || b.peek().is_some() {
        let (left, right) = (a.next(), b.next());
        if left != right {
            for (sign, line) in [('-', left), ('+', right)] {
                out.extend(line.map(|line| format!("{sign} {line}\n")));
            }
        }
    }
    out
}
