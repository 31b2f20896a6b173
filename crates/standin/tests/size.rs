//! Are the stand-ins still fixtures? Both servers together have fewer than 6,000 lines of code: lines
//! that are neither empty nor begin with `//`, in `src/**/*.rs` and `build.rs`, without what is behind
//! a `#[cfg(test)]` at the beginning of a line.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

const LIMIT: usize = 6_000;

fn code_lines(path: &Path) -> usize {
    if path.is_dir() {
        let inside = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        return inside.map(|path| code_lines(&path)).sum();
    }
    if path.extension().is_none_or(|extension| extension != "rs") {
        return 0;
    }
    let text = fs::read_to_string(path).unwrap();
    let code = text.lines().take_while(|line| *line != "#[cfg(test)]").map(str::trim);
    code.filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

#[test]
fn the_servers_stay_below_their_limit() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lines = code_lines(&home.join("src")) + code_lines(&home.join("build.rs"));
    println!("{lines} lines of code");
    assert!((LIMIT / 2..LIMIT).contains(&lines), "{lines} lines of code");
}
