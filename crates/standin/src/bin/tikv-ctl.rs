//! Which program is TiKV's `tikv-ctl` in the test suite? This fixture; it is not TiKV's.

fn main() -> std::process::ExitCode {
    standin::ctl::main()
}
