//! What would the operator do with this manifest?
//!
//! The operator's own plan over what exists. PD is asked as the operator asks it. Where it cannot be,
//! or where there is only a dump, what PD says is taken from the status, the operator's last word on
//! it; the questions that only PD could answer now (which regions need a certain store) are then
//! taken as answered well, and the page says so.

mod world;

use std::fmt::Write;

use jiff::Timestamp;
use tikv_operator_core::check::check;
use tikv_operator_core::cluster::Cluster;
use tikv_operator_core::plan::{Forecast, Step, forecast};
use tikv_operator_core::rules::CONFIG_NOT_READ;
use tikv_operator_core::world::Slot;

use crate::failure::Failure;
use crate::flags::Scope;
use crate::input::{self, Asked, Manifest, Tasks};

/// The forecast as a page.
pub(crate) async fn answer(
    scope: &Scope,
    manifest: &Manifest,
    now: Option<Timestamp>,
) -> anyhow::Result<String> {
    let found = match input::read(scope).await {
        Ok(found) => found,
        Err(Failure::NotFound { place, .. }) => {
            return Ok(new_cluster(&manifest.alone()?, &place, &manifest.path));
        }
        Err(failure) => return Err(failure.into()),
    };
    let mut out = String::new();
    for found in &found {
        let cluster = manifest.over(found)?;
        let pd = input::ask_pd(scope, found).await?;
        let said = words_of(pd.as_ref());
        let world = world::of(found, &cluster, pd.and_then(Result::ok), now);
        let before = check(&found.resource).ok();
        let seen = forecast(&cluster, before.as_ref(), &world);
        let (name, namespace) = (found.name(), found.namespace());
        let _ = writeln!(out, "{name} (namespace {namespace}) with {}", manifest.path);
        page(&mut out, &seen, !found.furniture.is_empty());
        out.push_str(&said);
        if found.furniture.is_empty() {
            out.push_str("Services, ConfigMaps and budgets are not in the dump and not shown.\n");
        }
        if matches!(found.tasks, Tasks::NotInDump) {
            out.push_str(
                "No task is in the dump: whether there are tasks, and whether one of them holds an \
                 upgrade, is not known.\n",
            );
        }
    }
    Ok(out)
}

/// There is nothing yet that a step could wait for.
fn new_cluster(cluster: &Cluster, place: &str, path: &str) -> String {
    let name = cluster.name.as_str();
    let mut out = format!("{name} does not exist in {place}; {path} makes it\n");
    let pd = (0..cluster.pd.replicas).map(Slot::pd);
    let stores = (0..cluster.tikv.replicas).map(Slot::tikv);
    let pods: Vec<String> = pd.chain(stores).map(|slot| slot.pod_name(name)).collect();
    section(&mut out, "Joining", &pods, "none");
    out.push_str(
        "If volumes of an earlier cluster of this name are there, it comes back with its data.\n",
    );
    out
}

/// Whose word PD's part is.
fn words_of(pd: Option<&Asked>) -> String {
    match pd {
        Some(Ok(answer)) => {
            format!("PD's part is as PD itself says ({}).\n", answer.through.host())
        }
        Some(Err(why)) => format!(
            "PD could not be asked: {why}\nIts part is as the operator last reported it; before each \
             restart it asks PD again.\n"
        ),
        None => "PD's part is as the operator last reported it; before each restart it asks PD \
                 again.\n"
            .to_owned(),
    }
}

fn page(out: &mut String, seen: &Forecast, furnished: bool) {
    let shown = |step: &&Step| furnished || !Step::is_furniture(step);
    let steps: Vec<String> = seen
        .plan
        .steps
        .iter()
        .filter(shown)
        .map(|step| format!("{} {}", step.name(), step.subject()))
        .collect();
    section(out, "Now", &steps, "nothing");
    let restarts: Vec<String> = seen
        .restarts
        .iter()
        .map(|restart| match &restart.held {
            Some((rule, detail)) => format!("{} waits: {detail} [{}]", restart.pod, rule.name),
            None => restart.pod.clone(),
        })
        .collect();
    section(out, "Pods made anew, in this order", &restarts, "none");
    let settings = seen.settings.iter();
    let settings: Vec<String> =
        settings.map(|s| format!("{} {} = {}", s.component, s.item, s.wanted)).collect();
    if !settings.is_empty() {
        section(out, "Set while running, no restart", &settings, "");
    }
    if !seen.joining.is_empty() {
        section(out, "Joining", &seen.joining, "");
    }
    if !seen.leaving.is_empty() {
        section(out, "Leaving", &seen.leaving, "");
    }
    // Stores are not asked here how they are configured; what would be set is said above.
    let waits: Vec<String> = seen
        .plan
        .waits
        .iter()
        .filter(|wait| *wait.rule != CONFIG_NOT_READ)
        .map(|wait| format!("{}: {} [{}]", wait.subject, wait.detail, wait.rule.name))
        .collect();
    if !waits.is_empty() {
        section(out, "Waits", &waits, "");
    }
}

fn section(out: &mut String, head: &str, lines: &[String], empty: &str) {
    let _ = writeln!(out, "  {head}");
    if lines.is_empty() {
        let _ = writeln!(out, "    {empty}");
    }
    for line in lines {
        let _ = writeln!(out, "    {line}");
    }
}
