//! How are the facts about a volume's content written on its claim, and read back?
//!
//! As annotations, so that a volume can be recognised when the resource is gone. Unset marks are
//! not written, and the patch that writes the others leaves them alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::{BootstrapRecord, ClusterId, Leaving, PdMemberId, StoreId, Uid, VolumeMarks};

/// Uid of the resource that uses the volume.
pub const RESOURCE_UID: &str = "tikv.org/resource-uid";
/// PD's cluster id, decimal (exceeds 2^53).
pub const CLUSTER_ID: &str = "tikv.org/cluster-id";
/// Store id, decimal.
pub const STORE_ID: &str = "tikv.org/store-id";
/// PD member id, decimal (exceeds 2^53).
pub const MEMBER_ID: &str = "tikv.org/member-id";
/// The bootstrap record as JSON: token and first members.
pub const BOOTSTRAP: &str = "tikv.org/bootstrap";
/// `true` once the volume's member was removed for good, [`UNPROVEN`] where that is not certain.
pub const RETIRED: &str = "tikv.org/retired";
/// The value of [`RETIRED`] on a volume that is kept as evidence: its store is a tombstone whose
/// removal we began, and nobody watched how it became one.
pub const UNPROVEN: &str = "unproven";
/// Since when it is retired (RFC 3339).
pub const RETIRED_SINCE: &str = "tikv.org/retired-since";
/// Since when and why the member is being removed: `<RFC 3339> <reason>`.
pub const LEAVING: &str = "tikv.org/leaving";
/// Why the store is in the evict-leader scheduler by our hand: one word.
pub const EVICTING: &str = "tikv.org/evicting";
/// Id of the store that this one was made to replace, decimal.
pub const REPLACES: &str = "tikv.org/replaces-store";

/// Since when this operator's process has watched the removal without a break (RFC 3339).
pub const WATCHED_SINCE: &str = "tikv.org/watched-since";
/// Names of the additional volumes that the member uses, with commas between.
pub const EXTRA_VOLUMES: &str = "tikv.org/extra-volumes";
/// The version that wrote the data last.
pub const WRITTEN_BY: &str = "tikv.org/written-by";
/// Name of the node that the store's pod was last bound to.
pub const NODE: &str = "tikv.org/node";

/// The annotations that say `marks`.
pub fn marks_to_annotations(marks: &VolumeMarks) -> BTreeMap<String, String> {
    let record = marks.bootstrap.as_ref().and_then(|r| serde_json::to_string(r).ok());
    [
        (RESOURCE_UID, marks.resource.as_ref().map(ToString::to_string)),
        (CLUSTER_ID, marks.cluster.map(|id| id.to_string())),
        (STORE_ID, marks.store.map(|id| id.to_string())),
        (MEMBER_ID, marks.member.map(|id| id.to_string())),
        (BOOTSTRAP, record),
        (RETIRED, marks.retired.then(|| retired(marks.unproven).to_owned())),
        (RETIRED_SINCE, marks.retired_since.map(|at| at.to_string())),
        (LEAVING, marks.leaving.as_ref().map(|l| format!("{} {}", l.since, l.reason))),
        (EVICTING, marks.evicting.clone()),
        (REPLACES, marks.replaces.map(|id| id.to_string())),
        (WATCHED_SINCE, marks.watched_since.map(|at| at.to_string())),
        (EXTRA_VOLUMES, marks.extra.as_ref().map(list)),
        (WRITTEN_BY, marks.written_by.clone()),
        (NODE, marks.node.clone()),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), value?)))
    .collect()
}

/// The marks that these annotations say. What cannot be read counts as not written, except
/// [`RETIRED`]: any value other than `false` keeps a volume from being mounted again.
pub fn marks_from_annotations(annotations: &BTreeMap<String, String>) -> VolumeMarks {
    let number = |key: &str| annotations.get(key).and_then(|v| v.parse::<u64>().ok());
    VolumeMarks {
        resource: annotations.get(RESOURCE_UID).map(|v| Uid(v.clone())),
        cluster: number(CLUSTER_ID).map(ClusterId),
        store: number(STORE_ID).map(StoreId),
        member: number(MEMBER_ID).map(PdMemberId),
        bootstrap: annotations
            .get(BOOTSTRAP)
            .and_then(|v| serde_json::from_str::<BootstrapRecord>(v).ok()),
        retired: annotations.get(RETIRED).is_some_and(|v| v != "false"),
        unproven: annotations.get(RETIRED).is_some_and(|v| v == UNPROVEN),
        retired_since: annotations.get(RETIRED_SINCE).and_then(|v| v.parse().ok()),
        leaving: annotations.get(LEAVING).and_then(|v| leaving(v)),
        evicting: annotations.get(EVICTING).cloned(),
        replaces: number(REPLACES).map(StoreId),
        watched_since: annotations.get(WATCHED_SINCE).and_then(|v| v.parse().ok()),
        extra: annotations.get(EXTRA_VOLUMES).map(|names| {
            names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
        }),
        written_by: annotations.get(WRITTEN_BY).cloned(),
        node: annotations.get(NODE).filter(|node| !node.is_empty()).cloned(),
    }
}

fn retired(unproven: bool) -> &'static str {
    if unproven { UNPROVEN } else { "true" }
}

fn list(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(",")
}

fn leaving(text: &str) -> Option<Leaving> {
    let (since, reason) = text.split_once(' ')?;
    Some(Leaving { since: since.parse().ok()?, reason: reason.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_survive_the_way_through_annotations() {
        let all = VolumeMarks {
            resource: Some(Uid("u-1".to_owned())),
            cluster: Some(ClusterId(u64::MAX)),
            store: Some(StoreId(4)),
            member: Some(PdMemberId(u64::MAX - 1)),
            bootstrap: Some(BootstrapRecord { token: "t".to_owned(), members: vec![0, 1, 2] }),
            retired: true,
            unproven: true,
            retired_since: Some("2026-11-23T01:02:03Z".parse().unwrap()),
            leaving: Some(Leaving {
                since: "2026-11-23T01:02:03Z".parse().unwrap(),
                reason: "scale-in".to_owned(),
            }),
            evicting: Some("restart".to_owned()),
            replaces: Some(StoreId(7)),
            watched_since: Some("2026-11-23T02:03:04Z".parse().unwrap()),
            extra: Some(["raft".to_owned(), "wal".to_owned()].into()),
            written_by: Some("8.5.7".to_owned()),
            node: Some("node-1".to_owned()),
        };
        assert_eq!(marks_from_annotations(&marks_to_annotations(&all)), all);
        let proven = VolumeMarks { unproven: false, ..all };
        assert_eq!(marks_from_annotations(&marks_to_annotations(&proven)), proven);
        let none = VolumeMarks::default();
        assert!(marks_to_annotations(&none).is_empty());
        assert_eq!(marks_from_annotations(&BTreeMap::new()), none);
    }

    #[test]
    fn an_unreadable_id_is_unknown_and_an_odd_retirement_still_holds() {
        let odd = [(CLUSTER_ID, "12x"), (STORE_ID, "-1"), (BOOTSTRAP, "{"), (RETIRED, "yes")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()));
        let marks = marks_from_annotations(&odd.into());
        assert_eq!(marks, VolumeMarks { retired: true, ..VolumeMarks::default() });
    }
}
