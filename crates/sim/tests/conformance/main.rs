//! Does the model answer as the real servers do?
//!
//! The same scripts are played here on the model, in `crates/operator/tests/apiserver/conformance.rs` on
//! a real kube-apiserver, and in `crates/standin/tests/servers/pd/conformance.rs` on the stand-in for PD
//! and on a real one. What is written in them is what the real thing answered: this test never writes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::wildcard_enum_match_arm
)]

mod kube_call;
mod kube_model;
mod pd_call;
mod pd_model;
mod script;
mod shown;

use std::path::Path;

use crate::script::Script;

fn scripts(of: &str) -> Vec<Script> {
    Script::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(of))
}

/// Plays all scripts of one kind of server, and says where the model answers otherwise.
fn compare(of: &str, play: impl Fn(&Script) -> Vec<Vec<String>>) {
    let (mut calls, mut lines, mut different) = (0, 0, Vec::new());
    let scripts = scripts(of);
    for script in &scripts {
        let answers = play(script);
        calls += answers.len();
        lines += answers.iter().map(Vec::len).sum::<usize>();
        different.extend(script.difference("the model", &answers));
    }
    println!("{of}: {} scripts, {calls} calls, {lines} lines of answers", scripts.len());
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn the_model_answers_as_the_api_server() {
    compare("kube", kube_model::play);
}

#[test]
fn the_model_answers_as_pd() {
    compare("pd", pd_model::play);
}

#[test]
fn a_script_is_written_as_it_is_read() {
    for script in scripts("kube").into_iter().chain(scripts("pd")) {
        let written: Vec<_> = script.calls().map(|(_, answer)| answer.to_vec()).collect();
        let text = std::fs::read_to_string(script.path()).unwrap();
        assert_eq!(script.with(&written), text, "{}", script.name());
    }
}
