//! Whose the cluster and its objects are.

use super::*;

/// The only volume is a store's that another resource used last.
#[test]
fn of_an_id_by_hearsay_nothing_is_written_down_and_the_rest_goes_on() {
    let cluster = three();
    let mut world = fixture::empty();
    let mut volume = fixture::volume(Slot::tikv(0));
    volume.marks.resource = Some(Uid("another".into()));
    world.volumes.insert("tikv-c-tikv-0".into(), volume);
    let rule = &ONE_CLUSTER_ID;
    holds(rule, &cluster, &world, &Step::RecordClusterId(ID));
    holds(rule, &cluster, &world, &make_volume(&cluster, Slot::tikv(1)));
    allows(rule, &cluster, &world, &Step::AddFinalizer);
    allows(rule, &cluster, &world, &make_pod(&cluster, Slot::tikv(0)));
}

#[test]
fn of_a_claim_that_is_not_ours_it_is_said_that_it_may_hold_data() {
    let cluster = three();
    let mut world = fixture::empty();
    let slot = Slot::tikv(0);
    for (kind, name) in
        [(Kind::Pod, slot.pod_name("c")), (Kind::PersistentVolumeClaim, slot.claim_name("c"))]
    {
        world.strangers.insert(ObjectKey::new(kind, name), "of x".into());
    }
    let words = |step: &Step| verdict(&FOREIGN_OBJECT, &cluster, &world, step).expect_err("held");
    let (claim, pod) = (words(&make_volume(&cluster, slot)), words(&make_pod(&cluster, slot)));
    assert!(claim.contains("it may hold data"), "{claim}");
    assert!(pod.contains("delete or rename it") && !pod.contains("data"), "{pod}");
}
