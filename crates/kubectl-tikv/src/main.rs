//! How is a TiKV cluster doing, and why is something not being done? A plugin of kubectl.

mod failure;
mod flags;
mod forecast;
mod input;
mod page;
mod why;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use flags::Flags;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let flags = Flags::parse();
    match flags::answer(&flags).await {
        // A reader that closed the pipe has seen enough.
        Ok(text) => match io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
