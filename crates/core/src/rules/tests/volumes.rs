//! Additional volumes, beside the data volume of their member.

use super::*;
use crate::world::{StoreId, VolumeFacts};

fn with_raft_volume() -> (Cluster, World) {
    let volume = json!({"name": "raft", "mountPath": "/raft", "storageSize": "1Gi"});
    let cluster = fixture::cluster(json!({"tikv": {"storageVolumes": [volume]}}));
    let mut world = fixture::settled(&cluster);
    let extra = fixture::volume(Slot::tikv(1));
    world.volumes.insert("tikv-raft-c-tikv-1".into(), VolumeFacts { main: false, ..extra });
    (cluster, world)
}

#[test]
fn an_additional_volume_that_no_member_used_keeps_no_data_volume_from_being_made() {
    let (cluster, mut world) = with_raft_volume();
    fixture::pd_of(&mut world).stores.remove(&StoreId(2));
    world.volumes.remove("tikv-c-tikv-1");
    let step = make_volume(&cluster, Slot::tikv(1));
    allows(&VOLUME_LOST, &cluster, &world, &step);
    let extra = world.volumes.get_mut("tikv-raft-c-tikv-1").expect("a volume");
    extra.marks.store = Some(StoreId(2));
    holds(&VOLUME_LOST, &cluster, &world, &step);
}

#[test]
fn an_additional_volume_is_given_up_after_the_data_volume_and_like_it() {
    let (cluster, mut world) = with_raft_volume();
    let give_up = |unproven: bool| Step::MarkVolume {
        name: "tikv-raft-c-tikv-1".into(),
        uid: fixture::volume(Slot::tikv(1)).uid,
        marks: VolumeMarks { retired: true, unproven, ..VolumeMarks::default() },
    };
    let rule = &RETIRED_BY_US;
    holds(rule, &cluster, &world, &give_up(false));
    let main = &mut world.volumes.get_mut("tikv-c-tikv-1").expect("a volume").marks;
    (main.retired, main.unproven) = (true, true);
    holds(rule, &cluster, &world, &give_up(false));
    allows(rule, &cluster, &world, &give_up(true));
    world.volumes.get_mut("tikv-c-tikv-1").expect("a volume").marks.unproven = false;
    allows(rule, &cluster, &world, &give_up(false));
}
