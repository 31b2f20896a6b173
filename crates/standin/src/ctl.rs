//! What does a Job that compacts a cluster need of `tikv-ctl`? That it knows the flags of
//! `compact-cluster` and no others, asks PD for the stores and reaches each that is Up. There is
//! nothing to compact in a stand-in.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use axum::body::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::start;

/// Longest time for PD's answer, and for each store's.
const TIME: Duration = Duration::from_secs(10);

/// What is compacted.
#[derive(Debug, PartialEq, Eq)]
struct Compaction {
    pd: String,
    family: String,
}

/// Runs the program.
pub fn main() -> ExitCode {
    start::end(begin())
}

fn begin() -> Result<ExitCode> {
    let asked = parse(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stores = runtime.block_on(compact(&asked.pd))?;
    let said: Vec<String> = stores
        .iter()
        .map(|store| {
            format!("store:{store:?} compact db:Kv cf:{} range:[[], []) success!", asked.family)
        })
        .collect();
    Ok(start::say(&said.join("\n")))
}

/// `--pd host:port compact-cluster -d kv -c family -b default|force -n threads`.
fn parse(arguments: impl Iterator<Item = String>) -> Result<Compaction> {
    let (commands, flags): (Vec<String>, Vec<String>) =
        arguments.partition(|argument| argument == "compact-cluster");
    ensure!(commands.len() == 1, "the stand-in knows one command: compact-cluster");
    let mut flags: BTreeMap<String, String> = start::flags(flags, &[])?.into_iter().collect();
    let mut take = |names: [&str; 2]| names.iter().find_map(|name| flags.remove(*name));
    let pd = take(["pd", "pd"]).context("--pd is missing")?;
    ensure!(!pd.contains("://"), "--pd takes host:port, not {pd:?}");
    let among = |what: &str, value: Option<String>, known: &[&str]| {
        let value = value.unwrap_or_else(|| known.first().copied().unwrap_or_default().to_owned());
        ensure!(known.contains(&value.as_str()), "{value:?} isn't a valid value for '{what}'");
        Ok(value)
    };
    among("-d", take(["d", "db"]), &["kv", "raft"])?;
    let family = among("-c", take(["c", "cf"]), &["default", "lock", "write"])?;
    among("-b", take(["b", "bottommost"]), &["default", "skip", "force"])?;
    take(["n", "threads"]).map_or(Ok(8), |threads| threads.parse::<u32>()).context("-n")?;
    if let Some(unknown) = flags.keys().next() {
        bail!("error: Found argument '-{unknown}' which wasn't expected");
    }
    Ok(Compaction { pd, family })
}

/// Reaches every store that is Up; their addresses.
async fn compact(pd: &str) -> Result<Vec<String>> {
    let uri = format!("http://{pd}/pd/api/v1/stores").parse()?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let answer =
        tokio::time::timeout(TIME, client.get(uri)).await.context("PD does not answer")??;
    ensure!(answer.status().is_success(), "PD says {}", answer.status());
    let body: Value = serde_json::from_slice(&answer.into_body().collect().await?.to_bytes())?;
    let stores = body.pointer("/stores").and_then(Value::as_array).context("no stores")?;
    let mut reached = Vec::new();
    for store in stores {
        let text = |key: &str| store.pointer(key).and_then(Value::as_str).unwrap_or_default();
        if text("/store/state_name") != "Up" {
            continue;
        }
        let address = text("/store/address");
        let connected = tokio::time::timeout(TIME, TcpStream::connect(address)).await;
        connected.context("timed out")?.with_context(|| format!("store {address}"))?;
        reached.push(address.to_owned());
    }
    ensure!(!reached.is_empty(), "no store is Up");
    Ok(reached)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_a_compaction_are_known_and_no_others() {
        let parsed = |line: &str| parse(line.split(' ').map(str::to_owned));
        let good = "--pd c-pd:2379 compact-cluster -d kv -c write -b force -n 2";
        let wanted = Compaction { pd: "c-pd:2379".into(), family: "write".into() };
        assert_eq!(parsed(good).unwrap(), wanted);
        assert_eq!(parsed("--pd c-pd:2379 compact-cluster").unwrap().family, "default");
        for bad in [
            "--pd c-pd:2379 compact",
            "compact-cluster -d kv",
            "--pd http://c-pd:2379 compact-cluster",
            "--pd c-pd:2379 compact-cluster -c other",
            "--pd c-pd:2379 compact-cluster -n many",
            "--pd c-pd:2379 compact-cluster --limit 1",
        ] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }
}
