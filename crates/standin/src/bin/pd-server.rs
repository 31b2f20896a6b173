//! Which program runs as PD in the test suite? This fixture; it is not TiKV's PD. Flags and files
//! are the real one's; it needs an `etcd` beside it or at `$STANDIN_ETCD`.

fn main() -> std::process::ExitCode {
    standin::pd::main()
}
