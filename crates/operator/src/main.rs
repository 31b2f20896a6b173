//! How does the operator's program start?

use std::process::ExitCode;

use clap::Parser;
use tikv_operator::{
    flags::Flags,
    logs,
    run::{self, Access},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

#[tokio::main]
async fn main() -> ExitCode {
    let flags = Flags::parse();
    match start(&flags).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where logging itself could not start, this is all that is seen.
            tracing::error!("{error:#}");
            eprintln!("tikv-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn start(flags: &Flags) -> anyhow::Result<()> {
    logs::init(flags.log_format, &flags.log)?;
    flags.terms()?;
    let (stopper, stop) = watch::channel(false);
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stopper.send_replace(true);
        std::future::pending::<()>().await;
    });
    run::run(flags, Access::new(run::config().await?)?, stop).await
}
