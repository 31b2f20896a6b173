//! Which program writes and reads keys of a cluster under test?
fn main() {}
