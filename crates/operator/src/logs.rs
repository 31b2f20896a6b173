//! How does the operator write its log?

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Sends log lines to standard output. `filter` is a level or a `tracing` filter; lines about a
/// cluster carry its namespace and name.
pub fn init(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)?;
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => registry.with(fmt::layer().with_target(false)).try_init()?,
        LogFormat::Json => {
            let layer = fmt::layer().json().flatten_event(true).with_current_span(true);
            registry.with(layer.with_span_list(false)).try_init()?;
        }
    }
    Ok(())
}
