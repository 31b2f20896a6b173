//! Which members, stores and volumes does a cluster have?

use std::fmt::Write;

use tikv_operator_api::v1alpha1::TikvClusterStatus;
use tikv_operator_core::facts::Belongings;
use tikv_operator_core::world::{Component, PodFacts, VolumePhase};

use super::table::Table;

/// The PD members as PD and Kubernetes have them.
pub(super) fn pd(
    out: &mut String,
    status: &TikvClusterStatus,
    belongings: &Belongings,
    wide: bool,
) {
    let Some(pd) = &status.pd else { return };
    let _ = writeln!(out, "PD: {} ready", pd.summary.as_deref().unwrap_or("none"));
    let mut table = Table::new(&["MEMBER", "HEALTHY", "LEADER", "VERSION", "POD", "NODE", "ID"]);
    for member in &pd.members {
        let pod = pod_of(belongings, Component::Pd, member.pod.as_deref());
        table.row([
            member.name.clone(),
            yes(member.healthy),
            yes(member.leader),
            member.version.clone().unwrap_or_default(),
            condition_of(pod),
            node_of(pod),
            member.id.clone().unwrap_or_default(),
        ]);
    }
    if !wide {
        table.without_last(2);
    }
    print(out, &table);
}

/// The stores as PD and Kubernetes have them.
pub(super) fn tikv(
    out: &mut String,
    status: &TikvClusterStatus,
    belongings: &Belongings,
    wide: bool,
) {
    let Some(tikv) = &status.tikv else { return };
    let _ = writeln!(out, "TiKV: {} ready", tikv.summary.as_deref().unwrap_or("none"));
    let head = ["POD", "STORE", "STATE", "LEADERS", "REGIONS", "VERSION", "CONTAINER", "NODE"];
    let mut table = Table::new(&head);
    let number = |count: Option<i64>| count.map(|count| count.to_string()).unwrap_or_default();
    for store in &tikv.stores {
        let pod = pod_of(belongings, Component::Tikv, store.pod.as_deref());
        table.row([
            store.pod.clone().unwrap_or_default(),
            store.id.clone().unwrap_or_default(),
            store.state.clone().unwrap_or_default(),
            number(store.leaders),
            number(store.regions),
            store.version.clone().unwrap_or_default(),
            condition_of(pod),
            node_of(pod),
        ]);
    }
    if !wide {
        table.without_last(1);
    }
    print(out, &table);
}

/// The volume claims and what is on them.
pub(super) fn volumes(out: &mut String, belongings: &Belongings) {
    if belongings.volumes.is_empty() {
        return;
    }
    let _ = writeln!(out, "Volumes");
    let mut table = Table::new(&["CLAIM", "PHASE", "SIZE", "CLASS", "HOLDS"]);
    for (name, volume) in &belongings.volumes {
        let phase = match volume.phase {
            VolumePhase::Pending => "Pending",
            VolumePhase::Bound => "Bound",
            VolumePhase::Lost => "Lost",
        };
        let holds = match (volume.marks.store, volume.marks.member) {
            (Some(store), _) => format!("store {store}"),
            (None, Some(member)) => format!("PD member {member}"),
            (None, None) => String::new(),
        };
        let deleting = if volume.deleting { " (being deleted)" } else { "" };
        table.row([
            name.clone(),
            format!("{phase}{deleting}"),
            size(volume.capacity.max(volume.requested)),
            volume.storage_class.clone().unwrap_or_default(),
            holds,
        ]);
    }
    print(out, &table);
}

fn print(out: &mut String, table: &Table) {
    if !table.is_empty() {
        let _ = write!(out, "{table}");
    }
    out.push('\n');
}

fn pod_of<'a>(
    belongings: &'a Belongings,
    component: Component,
    name: Option<&str>,
) -> Option<&'a PodFacts> {
    let ordinal: u32 = name?.rsplit_once('-')?.1.parse().ok()?;
    let mut pods = belongings.pods.iter();
    pods.find(|(slot, _)| slot.component == component && slot.ordinal == ordinal)
        .map(|(_, pod)| pod)
}

fn condition_of(pod: Option<&PodFacts>) -> String {
    let Some(pod) = pod else { return "no pod".to_owned() };
    let restarts = match pod.restarts {
        0 => String::new(),
        1 => ", 1 restart".to_owned(),
        many => format!(", {many} restarts"),
    };
    let word = if pod.deleting_since.is_some() {
        "ending"
    } else if pod.containers_ready {
        "ready"
    } else if pod.started.is_some() {
        "running"
    } else {
        "waiting"
    };
    format!("{word}{restarts}")
}

fn node_of(pod: Option<&PodFacts>) -> String {
    pod.and_then(|pod| pod.node.clone()).unwrap_or_default()
}

fn yes(holds: bool) -> String {
    if holds { "yes" } else { "no" }.to_owned()
}

/// Bytes in the largest binary unit that divides them.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["", "Ki", "Mi", "Gi", "Ti"];
    let mut amount = bytes;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while amount > 0 && amount.is_multiple_of(1024) {
        let Some(next) = units.next() else { break };
        unit = Some(next);
        amount /= 1024;
    }
    format!("{amount}{}", unit.copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_the_largest_unit_that_divides_them() {
        assert_eq!(size(0), "0");
        assert_eq!(size(1 << 30), "1Gi");
        assert_eq!(size(1536 << 20), "1536Mi");
        assert_eq!(size(1000), "1000");
    }
}
