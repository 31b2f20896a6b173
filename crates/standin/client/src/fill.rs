//! Are N keys written, and are they all there?

use std::sync::Mutex;
use std::time::Instant;

use futures::StreamExt as _;
use serde_json::json;

use crate::Summary;
use crate::keys;
use crate::options::Options;
use crate::session::Session;

/// At most so many keys are named in a summary.
const NAMED: usize = 100;

/// Puts the keys; one that the cluster does not take in time fails the run.
pub(crate) async fn write(options: &Options) -> Result<Summary, String> {
    let started = Instant::now();
    let session = Session::connect(&options.pd, options.patience).await?;
    let deadline = Instant::now() + options.patience;
    let failed: Vec<String> = futures::stream::iter(0..options.count)
        .map(|number| put(&session, keys::key(&options.prefix, number), deadline, options))
        .buffer_unordered(options.workers)
        .filter_map(|failed| async { failed })
        .collect()
        .await;
    let written = options.count - failed.len() as u64;
    Ok(Summary {
        passed: failed.is_empty(),
        sentence: format!("wrote {written} keys, {} failed", failed.len()),
        json: json!({
            "command": "write",
            "written": written,
            "failed": failed.len(),
            "failures": failed.iter().take(NAMED).collect::<Vec<_>>(),
            "seconds": started.elapsed().as_secs_f64(),
        }),
    })
}

/// Puts one key; patience is for a cluster that takes nothing, so it starts again with each
/// success. Returns the key with the reason when it failed.
async fn put(
    session: &Session,
    key: String,
    first_deadline: Instant,
    options: &Options,
) -> Option<String> {
    let deadline = first_deadline.max(Instant::now() + options.patience / 2);
    loop {
        let failure = session.put(&key, &keys::value(&key)).await.err()?;
        if Instant::now() >= deadline {
            return Some(format!("{key}: {}", failure.reason()));
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

/// What a read-back found.
#[derive(Debug, Default)]
pub(crate) struct ReadBack {
    /// Keys that are there with their value.
    pub(crate) found: u64,
    /// Keys that the cluster says it does not have.
    pub(crate) missing: Vec<String>,
    /// Keys with a value that was not written to them.
    pub(crate) wrong: Vec<String>,
    /// Keys that could not be read in time.
    pub(crate) unreadable: Vec<String>,
}

impl ReadBack {
    /// Whether every key is there.
    pub(crate) fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.wrong.is_empty() && self.unreadable.is_empty()
    }
}

/// Reads all `wanted` keys. Patience is for a cluster that answers nothing: it starts again with
/// each answer.
pub(crate) async fn read_back(
    session: &Session,
    wanted: impl IntoIterator<Item = String>,
    options: &Options,
) -> ReadBack {
    let answered = Mutex::new(Instant::now());
    let mut reads = futures::stream::iter(wanted)
        .map(|key| async {
            let value = session.get_patiently(&key, &answered, options.patience).await;
            (key, value)
        })
        .buffer_unordered(options.workers);
    let mut back = ReadBack::default();
    while let Some((key, value)) = reads.next().await {
        match value {
            Ok(Some(value)) if value == keys::value(&key) => back.found += 1,
            Ok(Some(_)) => back.wrong.push(key),
            Ok(None) => back.missing.push(key),
            Err(failure) => back.unreadable.push(format!("{key}: {}", failure.reason())),
        }
    }
    back.missing.sort();
    back
}

/// Reads the keys back.
pub(crate) async fn verify(options: &Options) -> Result<Summary, String> {
    let started = Instant::now();
    let session = Session::connect(&options.pd, options.patience).await?;
    let wanted = (0..options.count).map(|number| keys::key(&options.prefix, number));
    let back = read_back(&session, wanted, options).await;
    let named = |keys: &[String]| keys.iter().take(NAMED).cloned().collect::<Vec<_>>();
    Ok(Summary {
        passed: back.is_complete(),
        sentence: format!(
            "verified {} keys, {} missing, {} wrong, {} unreadable",
            back.found,
            back.missing.len(),
            back.wrong.len(),
            back.unreadable.len()
        ),
        json: json!({
            "command": "verify",
            "verified": back.found,
            "missing": back.missing.len(),
            "wrong": back.wrong.len(),
            "unreadable": back.unreadable.len(),
            "missing_keys": named(&back.missing),
            "wrong_keys": named(&back.wrong),
            "unreadable_keys": named(&back.unreadable),
            "seconds": started.elapsed().as_secs_f64(),
        }),
    })
}
