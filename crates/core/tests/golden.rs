//! Which objects does each fixture give, to the last field?
//!
//! The snapshots are read in review: a line that changes here changes in every cluster. Update them
//! with `INSTA_UPDATE=always cargo test -p tikv-operator-core --test golden` and read the diff.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test binary: a panic is a failed test"
)]

mod fixture;

use std::borrow::Cow;

use serde_json::Value;
use tikv_operator_core::build::{self, Furnishing, PdStart};
use tikv_operator_core::cluster::Cluster;
use tikv_operator_core::world::{
    BootstrapRecord, ClusterId, Component, Kind, Object, Slot, StoreId, Uid, VolumeMarks,
};

fn furnishing(cluster: &Cluster, start: PdStart) -> Furnishing {
    let all_but_one = |replicas: u32| replicas.saturating_sub(1);
    Furnishing {
        start,
        pd_available: all_but_one(cluster.pd.replicas),
        tikv_available: all_but_one(cluster.tikv.replicas),
    }
}

fn first(cluster: &Cluster) -> PdStart {
    let members = (0..cluster.pd.replicas).collect();
    PdStart::Bootstrap(BootstrapRecord { token: "token-1".into(), members })
}

fn bodies<'a>(objects: impl IntoIterator<Item = Cow<'a, Object>>) -> Vec<Value> {
    objects.into_iter().map(|object| object.into_owned().body).collect()
}

fn check(name: &str) {
    let cluster = fixture::checked(&fixture::manifest(name));
    let mut furniture = bodies(build::furniture(&cluster, &furnishing(&cluster, first(&cluster))));
    let joining = build::furniture(&cluster, &furnishing(&cluster, PdStart::Join));
    let pd = build::config_map_name(&cluster, Component::Pd);
    furniture.extend(bodies(joining.into_iter().filter(|o| o.key.name == pd)));
    insta::assert_yaml_snapshot!(format!("{name}-furniture"), furniture);

    let members = [Slot::pd(0), Slot::tikv(1)];
    let pods = members.map(|slot| build::pod(&cluster, slot).body);
    insta::assert_yaml_snapshot!(format!("{name}-pods"), pods);

    let new = VolumeMarks {
        resource: Some(Uid("uid-1".into())),
        bootstrap: Some(BootstrapRecord { token: "token-1".into(), members: vec![0] }),
        ..VolumeMarks::default()
    };
    let old = VolumeMarks {
        resource: Some(Uid("uid-1".into())),
        cluster: Some(ClusterId(7_711_106_130_007_928_711)),
        store: Some(StoreId(4)),
        ..VolumeMarks::default()
    };
    let mut claims = build::claims(&cluster, Slot::pd(0), &new);
    claims.extend(build::claims(&cluster, Slot::tikv(1), &old));
    insta::assert_yaml_snapshot!(
        format!("{name}-volumes"),
        bodies(claims.into_iter().map(Cow::Owned))
    );
}

macro_rules! golden {
    ($($test:ident = $name:literal;)*) => { $(#[test] fn $test() { check($name); })* };
}

golden! {
    founding = "founding";
    version_only = "version-only";
    one_and_one = "one-and-one";
    everything = "everything";
    host_network = "host-network";
    sidecars = "sidecars";
}

#[test]
fn every_object_bears_its_key_and_namespace_and_only_volumes_have_no_owner() {
    for name in fixture::ALL {
        let cluster = fixture::checked(&fixture::manifest(name));
        let furniture = build::furniture(&cluster, &furnishing(&cluster, PdStart::Join));
        let mut objects: Vec<_> = furniture.into_iter().map(Cow::into_owned).collect();
        for slot in [Slot::pd(0), Slot::tikv(0)] {
            objects.push(build::pod(&cluster, slot));
            objects.extend(build::claims(&cluster, slot, &VolumeMarks::default()));
        }
        for object in &objects {
            let key = &object.key;
            assert_eq!(object.body["metadata"]["name"], key.name.as_str(), "{key}");
            assert_eq!(object.body["metadata"]["namespace"], "ns", "{key}");
            assert_eq!(object.body["kind"], key.kind.as_str());
            let owner = &object.body["metadata"]["ownerReferences"][0];
            match key.kind {
                Kind::PersistentVolumeClaim => assert!(owner.is_null(), "{key}"),
                Kind::Service | Kind::ConfigMap | Kind::PodDisruptionBudget | Kind::Pod => {
                    assert_eq!(owner["uid"], "11111111-2222-3333-4444-555555555555", "{key}");
                    assert_eq!(owner["controller"], true, "{key}");
                }
            }
        }
    }
}
