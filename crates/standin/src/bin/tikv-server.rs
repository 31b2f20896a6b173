//! Which program runs as TiKV in the test suite? This fixture; it is not TiKV.

fn main() -> std::process::ExitCode {
    standin::tikv::main()
}
