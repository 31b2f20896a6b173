//! How does a server's process end up? With what its main function returns: a code, or the reason
//! of a failure, which goes to the log and stderr.

use std::process::ExitCode;

use crate::log::{self, Level};

/// Runs `server` on a runtime whose root task stays on this thread: the kernel kills PD's etcd when
/// the thread that started it ends.
pub fn run(server: impl Future<Output = Result<u8, String>>) -> ExitCode {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(server),
        Err(error) => Err(format!("cannot start the runtime: {error}")),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(reason) => fail(&reason),
    }
}

/// Says why the process fails.
pub fn fail(reason: &str) -> ExitCode {
    log::line(Level::Fatal, reason);
    ExitCode::FAILURE
}

/// Prints what was asked for.
pub fn say(text: &str) -> ExitCode {
    println!("{text}");
    ExitCode::SUCCESS
}
