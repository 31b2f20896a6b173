//! Does the program say what it needs, and end with an error?
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

#[test]
fn what_is_missing_is_named() {
    let ran = Command::new(env!("CARGO_BIN_EXE_tikv-check")).arg("write").output().unwrap();
    assert!(!ran.status.success());
    let said = String::from_utf8(ran.stderr).unwrap();
    assert!(said.contains("--pd and --prefix are needed"), "{said}");
}
