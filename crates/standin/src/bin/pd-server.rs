//! Which program runs as PD in the test suite? This fixture; it is not TiKV's PD.
fn main() {}
