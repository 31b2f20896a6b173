//! Development commands: `cargo xtask <command>`.

fn main() {}
