//! How is a cluster shown?

mod advice;
mod members;
mod table;

use std::fmt::Write;

use jiff::{Timestamp, Unit};
use serde_json::json;
use tikv_operator_api::v1alpha1::{TikvClusterStatus, WaitStatus};

use self::table::Table;
use crate::flags::Output;
use crate::input::Found;

/// The answer to `status`. `now` is known when a cluster was asked; ages of a dump mean nothing.
pub(crate) fn answer(
    found: &[Found],
    output: Output,
    now: Option<Timestamp>,
) -> anyhow::Result<String> {
    let page = match (output, found) {
        (Output::Json, _) => {
            let rows = found.iter().map(|found| {
                json!({"cluster": found.resource, "pods": found.pods, "claims": found.claims})
            });
            let rows: Vec<_> = rows.collect();
            serde_json::to_string_pretty(&rows)? + "\n"
        }
        (Output::Text | Output::Wide, []) => {
            "No TikvClusters found. --all-namespaces looks everywhere.\n".to_owned()
        }
        (Output::Text | Output::Wide, [only]) => one(only, output == Output::Wide, now),
        (Output::Text | Output::Wide, many) => list(many),
    };
    Ok(page)
}

/// One line per cluster.
fn list(found: &[Found]) -> String {
    let mut table = Table::new(&["NAMESPACE", "NAME", "READY", "VERSION", "PD", "TIKV", "SUMMARY"]);
    for found in found {
        let status = found.resource.status.clone().unwrap_or_default();
        table.row([
            found.namespace().to_owned(),
            found.name().to_owned(),
            condition(&status, "Ready").map_or_else(|| "-".to_owned(), |c| c.status.clone()),
            version(&status),
            status.pd.as_ref().and_then(|pd| pd.summary.clone()).unwrap_or_else(dash),
            status.tikv.as_ref().and_then(|tikv| tikv.summary.clone()).unwrap_or_else(dash),
            status.summary.clone().unwrap_or_else(|| "not looked at yet".to_owned()),
        ]);
    }
    table.to_string() + "\nMore about one: kubectl tikv status NAME -n NAMESPACE\n"
}

/// The page of one cluster.
fn one(found: &Found, wide: bool, now: Option<Timestamp>) -> String {
    let status = found.resource.status.clone().unwrap_or_default();
    let belongings = found.belongings();
    let mut out = format!("{} (namespace {})\n", found.name(), found.namespace());
    let summary = status.summary.as_deref().unwrap_or("The operator has not looked at it yet");
    let _ = writeln!(out, "{summary}\n");
    head(&mut out, found, &status);
    conditions(&mut out, &status, now);
    members::pd(&mut out, &status, &belongings, wide);
    members::tikv(&mut out, &status, &belongings, wide);
    members::volumes(&mut out, &belongings);
    waits(&mut out, &status, now);
    drift(&mut out, &status);
    let _ = writeln!(out, "Next");
    for sentence in advice::next(found, &status, &belongings) {
        let _ = writeln!(out, "  {sentence}");
    }
    out
}

fn head(out: &mut String, found: &Found, status: &TikvClusterStatus) {
    let mut table = Table::bare();
    table.row(["Version", &version(status)].map(str::to_owned));
    table.row(["Cluster id", status.cluster_id.as_deref().unwrap_or("-")].map(str::to_owned));
    let generation = found.resource.metadata.generation.unwrap_or_default();
    let behind = match status.observed_generation {
        Some(seen) if seen != generation => " (the operator has seen an earlier one)",
        Some(_) | None => "",
    };
    table.row(["Generation".to_owned(), format!("{generation}{behind}")]);
    let _ = writeln!(out, "{table}");
}

fn conditions(out: &mut String, status: &TikvClusterStatus, now: Option<Timestamp>) {
    if status.conditions.is_empty() {
        return;
    }
    let mut table = Table::new(&["CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE"]);
    for condition in &status.conditions {
        table.row([
            condition.type_.clone(),
            condition.status.clone(),
            condition.reason.clone(),
            since(condition.last_transition_time.0, now),
            condition.message.clone(),
        ]);
    }
    let _ = writeln!(out, "{table}");
}

fn waits(out: &mut String, status: &TikvClusterStatus, now: Option<Timestamp>) {
    if status.waits.is_empty() {
        return;
    }
    let _ = writeln!(out, "Waits");
    for wait in &status.waits {
        let _ = writeln!(out, "  {}", sentence(wait, now));
    }
    let _ = writeln!(out);
}

/// A wait as a line: subject, what it waits for, the rule, since when.
pub(crate) fn sentence(wait: &WaitStatus, now: Option<Timestamp>) -> String {
    let since = wait.since.as_ref().map(|time| format!(", {}", since(time.0, now)));
    format!("{}: {} [{}{}]", wait.subject, wait.detail, wait.rule, since.unwrap_or_default())
}

fn drift(out: &mut String, status: &TikvClusterStatus) {
    if status.drift.is_empty() {
        return;
    }
    let _ = writeln!(out, "Live values that differ from the spec");
    let mut table = Table::new(&["WHERE", "KEY", "SPEC", "LIVE"]);
    for drift in &status.drift {
        table.row([&drift.subject, &drift.key, &drift.wanted, &drift.live].map(Clone::clone));
    }
    let _ = writeln!(out, "{table}");
}

/// A time, with its age where the present is known.
fn since(time: Timestamp, now: Option<Timestamp>) -> String {
    let Some(now) = now else { return time.to_string() };
    let age = now.duration_since(time).as_secs().max(0);
    let age = jiff::Span::new().seconds(age);
    let largest = jiff::SpanRound::new().largest(Unit::Hour).smallest(Unit::Second);
    age.round(largest).map_or_else(|_| time.to_string(), |age| format!("{age:#} ago"))
}

fn version(status: &TikvClusterStatus) -> String {
    let pd = status.pd.as_ref().and_then(|pd| pd.version.as_deref());
    let tikv = status.tikv.as_ref().and_then(|tikv| tikv.version.as_deref());
    let bare = |version: &str| version.trim_start_matches('v').to_owned();
    match (pd.map(bare), tikv.map(bare)) {
        (Some(pd), Some(tikv)) if pd == tikv => format!("v{pd}"),
        (Some(pd), Some(tikv)) => format!("PD v{pd}, TiKV v{tikv}"),
        (Some(pd), None) => format!("PD v{pd}"),
        (None, Some(tikv)) => format!("TiKV v{tikv}"),
        (None, None) => dash(),
    }
}

fn condition<'a>(
    status: &'a TikvClusterStatus,
    kind: &str,
) -> Option<&'a k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    status.conditions.iter().find(|condition| condition.type_ == kind)
}

fn dash() -> String {
    "-".to_owned()
}
