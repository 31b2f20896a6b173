//! Which program runs as PD in the test suite? This fixture; it is not TiKV's PD. Flags and files
//! are the real one's; it needs an `etcd` beside it or at `$STANDIN_ETCD`.

use std::process::ExitCode;

use standin::pd::options::{self, Command, Options};
use standin::pd::{etcd_process, log, run};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = args.as_slice()
        && first == etcd_process::EXEC_ETCD
    {
        return fail(&etcd_process::exec(rest));
    }
    let from = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    let environment = from("STANDIN_PD_VERSION").or_else(|| from("STANDIN_VERSION"));
    match options::parse(args.into_iter(), &environment.unwrap_or_default()) {
        Err(text) => fail(&text),
        Ok(Command::PrintVersion(version)) => {
            println!("Release Version: {version}\nEdition: stand-in (this is not TiKV's PD)");
            ExitCode::SUCCESS
        }
        Ok(Command::ConfigChecked(options)) => {
            for warning in &options.warnings {
                eprintln!("warning: {warning}");
            }
            println!("config check successful");
            ExitCode::SUCCESS
        }
        Ok(Command::Run(options)) => start(*options),
    }
}

/// Runs the member on a runtime whose root task stays on this thread: the kernel kills etcd when
/// the thread that started it ends.
fn start(options: Options) -> ExitCode {
    if let Some(Err(error)) = options.log_file.as_ref().map(|path| log::to_file(path)) {
        return fail(&format!("cannot open the log file: {error}"));
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run::run(options)),
        Err(error) => Err(format!("cannot start the runtime: {error}")),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(text) => fail(&text),
    }
}

fn fail(text: &str) -> ExitCode {
    log::line(text);
    eprintln!("{text}");
    ExitCode::FAILURE
}
