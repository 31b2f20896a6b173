//! Which rules can hold a step, and what do they mean?
//!
//! A rule's name is public vocabulary: it appears in status, events, metrics, `docs/rules.md` and
//! `kubectl tikv why`. A rule with a guard sees every proposed step. One without is named by a planner:
//! some of these hold the planner back, the others say what is on its way.

mod config;
mod facts;
mod failover;
mod guards;
mod pd;
mod pd_loss;
mod restarts;
mod retirement;
mod stores;
mod suspend;
mod volumes;

pub(crate) use self::pd_loss::{NEVER_JOINED, REPLACED};
pub(crate) use self::restarts::waits_for_version;
use crate::plan::{Scene, Severity, Step};

/// Refuses a step, with the sentence for the user.
pub type Guard = fn(&Step, &Scene<'_>) -> Result<(), String>;

/// One named reason for not doing something.
#[derive(Debug)]
pub struct Rule {
    /// Kebab-case, public, never changed once released.
    pub name: &'static str,
    /// One sentence: what the rule says and why.
    pub doc: &'static str,
    /// How a refusal by the guard shows in the conditions.
    pub severity: Severity,
    /// Looks at every proposed step; `None` for rules that a planner names itself.
    pub guard: Option<Guard>,
    /// A rule without a guard: does it hold back the planner that names it, or does it only say what
    /// is on its way?
    pub holds_planner: bool,
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// What a rule holds: `Some(guard)` steps, `Planner` the planner that names it, `None` nothing.
macro_rules! rule {
    ($name:literal, $doc:literal, $severity:ident, Some($guard:path)) => {
        rule!($name, $doc, $severity, Some($guard), false)
    };
    ($name:literal, $doc:literal, $severity:ident, Planner) => {
        rule!($name, $doc, $severity, None, true)
    };
    ($name:literal, $doc:literal, $severity:ident, None) => {
        rule!($name, $doc, $severity, None, false)
    };
    ($name:literal, $doc:literal, $severity:ident, $guard:expr, $planner:literal) => {
        Rule {
            name: $name,
            doc: $doc,
            severity: Severity::$severity,
            guard: $guard,
            holds_planner: $planner,
        }
    };
}

macro_rules! rules {
    ($($ident:ident = $name:literal, $severity:ident, $holds:ident $(($guard:path))?, $doc:literal;)*) => {
        $(#[doc = $doc] pub static $ident: Rule =
            rule!($name, $doc, $severity, $holds $(($guard))?);)*

        /// Every rule, in the order in which guards are asked.
        pub static RULES: &[&Rule] = &[$(&$ident),*];
    };
}

rules! {
    ONE_CLUSTER_ID = "one-cluster-id", Degraded, Some(guards::one_cluster_id),
        "Status, volumes and PD must name one and the same cluster id; where they disagree nothing is done, because some of the data is another cluster's. An id that only stores' volumes of another resource name is neither recorded nor marked on anything: it may be another cluster's.";
    FOREIGN_OBJECT = "foreign-object", Degraded, Some(guards::foreign_object),
        "An object that bears a name which we need but is not ours is never adopted, overwritten or deleted; a pod that runs on such a claim stays, since it would not be made again.";
    BOOTSTRAP_ONCE = "bootstrap-once", Progress, Some(guards::bootstrap_once),
        "A cluster is bootstrapped once, by the PD members recorded before their first pod; changes of `pd.replicas` take effect after that.";
    NEVER_BOOTSTRAP_TWICE = "never-bootstrap-twice", Degraded, Some(guards::never_bootstrap_twice),
        "A cluster whose id is known is never bootstrapped again, whatever was lost: a second, empty cluster would hide that the data is gone.";
    CLUSTER_ID_BEFORE_STORES = "cluster-id-before-stores", Progress, Some(guards::cluster_id_before_stores),
        "No store starts before the cluster id is in status and on every PD volume, so no data exists of a cluster that could be forgotten.";
    ASK_PD_FIRST = "ask-pd-first", Progress, Some(guards::ask_pd_first),
        "A new volume for a known cluster is made only while PD answers: without PD nobody knows whether the slot already has a member.";
    VOLUME_LOST = "volume-lost", Degraded, Some(guards::volume_lost),
        "A member that PD still lists is not started on an empty volume, nor is one of its volumes made anew beside the others: PD would refuse it or its data would not fit, and its replicas must be rebuilt elsewhere first.";
    FAILOVER_WAITS_FOR_PD = "failover-waits-for-pd", Degraded, Some(failover::failover_waits_for_pd),
        "No store is replaced while PD is silent, within a minute of a change of its leader, or while an unsafe recovery goes on: a new leader knows only old heartbeats.";
    TOO_MANY_STORES_DOWN = "too-many-stores-down", Degraded, Some(failover::too_many_stores_down),
        "With stores of more than floor((max-replicas - 1) / 2) failure domains away, some regions may have lost their majority: only people decide what to do then (docs/runbooks/stores-lost.md).";
    ZONE_OUTAGE = "zone-outage", Degraded, Some(failover::zone_outage),
        "When all stores of a zone are away at once they are not replaced elsewhere: a zone comes back as a whole, and refilling it would move all its data twice. When the first of them is back the others have `failover.after` to follow.";
    FAILOVER_OFF = "failover-off", Held, Some(failover::failover_off),
        "`maxFailoverCount: 0` turns the replacement of lost members off.";
    ONE_REPLACEMENT = "one-replacement", Degraded, Some(failover::one_replacement),
        "A lost store gets exactly one replacement; one that does not come up is said, and not replaced in its turn.";
    ONE_SIGNAL_IS_NOT_ENOUGH = "one-signal-is-not-enough", Degraded, Some(failover::one_signal_is_not_enough),
        "A store is lost only when PD does not hear it and Kubernetes reports its pod, node or volume lost: a broken network causes either one alone.";
    PENDING_IS_NOT_LOST = "pending-is-not-lost", Degraded, Some(failover::pending_is_not_lost),
        "A store whose pod waits for a node, for its image or for being made is not lost; only one whose volume lives on a lost node is.";
    SPEC_IS_NOT_TO_BLAME = "spec-is-not-to-blame", Degraded, Some(failover::spec_is_not_to_blame),
        "A store that crashes on a node that is there is replaced only if it ever ran in this pod, or another one runs well with the same spec and configuration: a replacement of what the spec crashes would crash too.";
    FAILOVER_AFTER = "failover-after", Degraded, Some(failover::failover_after),
        "A lost store is replaced after `failover.after`, by PD's last heartbeat and by this operator's own observation of both PD and Kubernetes; a pod that comes and goes, or that waited until now for its place or its image, starts the delay anew.";
    FAILOVER_LIMIT = "failover-limit", Degraded, Some(failover::failover_limit),
        "At most `maxFailoverCount` replacements stand in for lost stores at a time.";
    REPLACEMENT_CAN_LEAVE = "replacement-can-leave", Degraded, Some(failover::replacement_can_leave),
        "No replacement is made in a cluster of fewer stores than `max-replicas`: PD refuses to remove any store of it, so the surplus could never leave.";
    DEAD_STORE_IS_PROVEN = "dead-store-is-proven", Degraded, Some(failover::dead_store_is_proven),
        "A replaced store is taken offline only when PD itself calls it Down, or its node is deleted or tainted out-of-service: moving its data is the expensive half.";
    REPLACEMENT_IS_READY = "replacement-is-ready", Degraded, Some(failover::replacement_is_ready),
        "A replaced store is taken offline only when its replacement is Up, heard lately and has room for what it held, and `max-replicas` other stores are Up: PD refuses it otherwise.";
    STORES_STOP_BEFORE_PD = "stores-stop-before-pd", Progress, Some(suspend::stores_stop_before_pd),
        "A suspended cluster stops its stores first: a store that loses PD cannot end its work.";
    PD_STARTS_BEFORE_STORES = "pd-starts-before-stores", Progress, Some(suspend::pd_starts_before_stores),
        "Where no store runs, stores start when PD answers: none of them can do anything before.";
    VOLUMES_NEVER_SHRINK = "volumes-never-shrink", Held, Some(volumes::volumes_never_shrink),
        "A volume in use is made larger and never smaller: Kubernetes does not shrink volumes.";
    STORES_VANISHED = "stores-vanished", Degraded, Some(guards::stores_vanished),
        "PD lists no store where volumes carry store ids: that is a danger sign, not an empty cluster, and nothing new is created on it.";
    PD_JOINS_ONE_AT_A_TIME = "pd-joins-one-at-a-time", Progress, Some(guards::pd_joins_one_at_a_time),
        "PD members join one after the other, and only while all present members are healthy: a half-joined member makes every other join fail.";
    PD_QUORUM_SURVIVES = "pd-quorum-survives", Degraded, Some(pd::pd_quorum_survives),
        "No PD member is removed or restarted unless a majority of all that are left is healthy without it; a healthy one stays while another is not, and while PD does not answer only a pod that does not run may be made anew, from a corrected spec or because its ConfigMap is gone.";
    PD_RESTARTS_ONE_AT_A_TIME = "pd-restarts-one-at-a-time", Progress, Some(pd::pd_restarts_one_at_a_time),
        "A running PD pod is restarted only when it was made from an earlier spec, every other PD member is healthy on a running pod, and no store is missing. While PD does not answer, one that has just been started has the time of a start.";
    TRANSFER_BEFORE_REMOVAL = "transfer-before-removal", Progress, Some(pd::transfer_before_removal),
        "PD's leader is neither removed nor restarted: its leadership moves to another member first, and PD says so.";
    PD_LEADER_MOVES_TO_A_HEALTHY_MEMBER = "pd-leader-moves-to-a-healthy-member", Progress, Some(pd::pd_leader_moves_to_a_healthy_member),
        "PD's leadership is given only to a healthy member of ours that stays, and not again within seconds: PD itself does not look at the health of the member that it is given to.";
    PD_REMOVAL_IS_INTENDED = "pd-removal-is-intended", Progress, Some(pd::pd_removal_is_intended),
        "A member is removed from PD by its id, after its volume was marked as leaving, and only if it is ours; a half-joined one when no pod and no volume can be the one that joins, or when it has not come for `failover.after`.";
    PD_LABEL_BEFORE_REMOVAL = "pd-label-before-removal", Progress, Some(pd::pd_label_before_removal),
        "A PD member leaves the client Service before it leaves PD: a removed member keeps answering. Where its pod is not ours any more, the member stays until that pod is gone.";
    PD_LOSS_IS_PROVED = "pd-loss-is-proved", Degraded, Some(pd_loss::pd_loss_is_proved),
        "A PD member is replaced only when PD has not reached it for `failover.after`, Kubernetes reports its pod, node or volume lost for as long, and PD's leader is stable; a pod that waits for a place, or has just found one, or crashes of its spec is no loss.";
    PD_FAILOVER_LIMIT = "pd-failover-limit", Degraded, Some(pd_loss::pd_failover_limit),
        "At most `maxFailoverCount` PD members are replaced within `failover.quarantine`; 0 turns it off.";
    PD_MEMBER_GONE_BEFORE_RETIRE = "pd-member-gone-before-retire", Progress, Some(pd::pd_member_gone_before_retire),
        "A PD volume is retired when PD's leader does not list its member any more and no pod will use it again.";
    PD_VIEW_IS_WHOLE = "pd-view-is-whole", Degraded, Some(pd_loss::pd_view_is_whole),
        "What PD does not list is taken for removed only when its leader lists a majority of the members that volumes name: one that stands alone, made from one member's data or cut off, knows nothing of the others.";
    PD_REMOVED_MEMBER_STAYS_AWAY = "pd-removed-member-stays-away", Progress, Some(pd::pd_removed_member_stays_away),
        "No pod starts on the data of a PD member that was removed, also before its volume is retired: it would hang, or answer with what is long past. One that leaves may have been removed when PD falls silent: its pod is not made then either, for ten minutes while the others run and are a majority, and otherwise for one.";
    REGION_QUORUM_SURVIVES = "region-quorum-survives", Progress, Some(restarts::region_quorum_survives),
        "A store's pod is taken down only when PD knows of no region that would lose its quorum without it; where the spec gives regions two replicas or fewer that cannot be, and the restart is allowed.";
    CALM_FIRST = "calm-first", Progress, Some(restarts::calm_first),
        "Nothing that is well is taken down while anything else of the cluster, PD or TiKV, is out of order.";
    PD_KNOWS_ALL_REGIONS = "pd-knows-all-regions", Progress, Some(restarts::pd_knows_all_regions),
        "PD's word on sick regions counts when its leader has led for a minute and has heard who leads nearly every region: a new leader knows of none.";
    PROCESS_MAY_RETURN = "process-may-return", Progress, Some(restarts::process_may_return),
        "A pod whose server ended less than 30 s ago is not made anew yet: kubelet starts the same process again, sooner than another pod could, and where several ended at once each of them may be needed.";
    RESTART_WAITS_FOR_NODE = "restart-waits-for-node", Degraded, Some(restarts::restart_waits_for_node),
        "No pod is taken down to come back on a node that Kubernetes does not hear: it runs on until the node is back, goes at a moment that nobody chose, and none can be made in its place before.";
    MAINTENANCE_LOCK_HELD = "maintenance-lock-held", Progress, Some(restarts::maintenance_lock_held),
        "Somebody else holds PD's lock for disruptive work, or PD does not say; no pod is restarted until it is given back.";
    NO_DOWNGRADE = "no-downgrade", Held, Some(restarts::no_downgrade),
        "No store is made with an earlier minor version than all stores run: PD refuses it, and the data may not be readable.";
    PD_NOT_OLDER_THAN_TIKV = "pd-not-older-than-tikv", Held, Some(restarts::pd_not_older_than_tikv),
        "No member is made or restarted with a version that would leave PD with an earlier minor version than TiKV.";
    PD_BEFORE_TIKV = "pd-before-tikv", Progress, Some(restarts::pd_before_tikv),
        "A store is restarted only when PD has its wanted size and every PD pod is as the spec says; where TiKV goes back to an earlier version, it goes before PD.";
    VOLUME_DELETION_IS_PROVEN = "volume-deletion-is-proven", Progress, Some(volumes::volume_deletion_is_proven),
        "A volume is deleted only with `pvReclaimPolicy: Delete`, exactly as it was looked at, after the pod that mounts it is gone, and either with the resource or because its member was removed for good: PD must list the emptied tombstone in the same pass, or our own mark say that we removed it.";
    RETIRED_VOLUMES_STAY_UNUSED = "retired-volumes-stay-unused", Degraded, Some(retirement::retired_volumes_stay_unused),
        "No pod is made on a volume whose member was removed for good: its data is outdated, and PD would refuse the store or, worse, take it back.";
    DEAD_NODE_IS_FENCED = "dead-node-is-fenced", Degraded, Some(retirement::dead_node_is_fenced),
        "A pod is not made again on a volume whose last node is deleted or does not answer: its containers may still run there, and two processes would write to one volume. It waits for the node, for the taint `node.kubernetes.io/out-of-service` or for a person's word (the annotation `tikv.org/node` taken off the claim), and is replaced under a new name meanwhile.";
    UNMARKED_VOLUME = "unmarked-volume", Degraded, Some(retirement::unmarked_volume),
        "A volume claim with our labels and none of our marks was not made by us: no pod is made on it before someone says what it holds.";
    STORES_JOIN_IN_TURN = "stores-join-in-turn", Progress, Some(retirement::stores_join_in_turn),
        "As many new stores register at a time as `scalePolicy.scaleOutParallelism` says; the first stores of a cluster start together.";
    STORES_FIT_MAX_REPLICAS = "stores-fit-max-replicas", Held, Some(stores::stores_fit_max_replicas),
        "No store leaves unless at least `max-replicas` others stay Up: its regions could never find another place, and PD would empty it for ever.";
    STORES_HAVE_ROOM = "stores-have-room", Held, Some(stores::stores_have_room),
        "No store leaves unless the remaining ones have room for its data, short of the space that PD keeps free; what PD's leader was not told yet is waited for.";
    STORES_LEAVE_IN_TURN = "stores-leave-in-turn", Progress, Some(stores::stores_leave_in_turn),
        "As many surplus stores leave at a time as `scalePolicy.scaleInParallelism` says.";
    INTENT_BEFORE_EFFECT = "intent-before-effect", Progress, Some(stores::intent_before_effect),
        "What we do to a store is written on its volume before the first call and taken away after it is undone, so that no crash leaves something of ours behind or takes a foreign act for ours. A store for which no volume can speak may go without: one whose disk is gone, or one that registered over the retired volume of another.";
    ONLY_OURS_IS_UNDONE = "only-ours-is-undone", Held, Some(stores::only_ours_is_undone),
        "Evictions and removals that other hands began in PD are theirs to end.";
    RETIREMENT_SETTLES = "retirement-settles", Progress, Some(retirement::retirement_settles),
        "PD's word that a store is gone is believed when its leader has been known for a minute and no online unsafe recovery is going on.";
    RETIRED_BY_US = "retired-by-us", Degraded, Some(retirement::retired_by_us),
        "A store's volume is given up only when PD calls it a tombstone without regions, our own mark says that we removed it, and no unsafe recovery can have given it up meanwhile: this operator watched all the while, or the store's process still runs. Where nobody watched, the pod goes and the volume is kept, whatever the policy, until a person says otherwise. What others removed is evidence.";
    STORE_DRAINED_BEFORE_DELETE = "store-drained-before-delete", Progress, Some(retirement::store_drained_before_delete),
        "The pod of a leaving store is deleted only after PD has moved all its regions away and calls it a tombstone.";
    REPLICAS_FIT_DOMAINS = "replicas-fit-domains", Held, Some(config::replicas_fit_domains),
        "PD is not told to keep more replicas than there are stores or failure domains for, nor to place by a label that a store lacks: regions would be short of replicas for ever.";
    DATA_FORMAT_IS_FIXED = "data-format-is-fixed", Degraded, Some(config::data_format_is_fixed),
        "`storage.engine`, `storage.api-version` and `storage.enable-ttl` are those of the first start: no store is started or restarted with other ones, because data is not converted.";
    TEMPLATE_ACCEPTED = "template-accepted", Degraded, Planner,
        "No pod is taken down for a changed spec before the API server has accepted, in a dry run, the pod that would take its place; a refusal names the field and is asked again after five minutes; with each edit of the spec both answers are forgotten.";
    CONFIG_REFUSED = "config-refused", Held, Planner,
        "PD refuses a setting, in the words given, or does not have it; the other settings are applied, and this one is tried again when PD has taken another one, after five minutes, or when it changes.";
    CONFIG_NEEDS_RESTART = "config-needs-restart", Held, Planner,
        "A store does not take a setting while it runs; it takes it at its next restart.";
    CONFIG_NOT_READ = "config-not-read", Held, None,
        "A setting is applied when the server has said which value it has now.";
    ANNOTATION_NOT_UNDERSTOOD = "annotation-not-understood", Held, None,
        "An annotation `tikv.org/…` on a pod whose key or value is not known asks for nothing: a store must not leave, nor a server be restarted, by a slip of the pen.";
    TOMBSTONE_BY_OTHERS = "tombstone-by-others", Degraded, None,
        "A store that became a tombstone without this operator (unsafe recovery does so at once) is evidence: nothing of it is deleted.";
    ONE_DISRUPTION_AT_A_TIME = "one-disruption-at-a-time", Progress, Planner,
        "At most one disruptive step is taken per pass and cluster.";
    PAUSED = "paused", Held, Planner,
        "`spec.paused` stops every write except status.";
    DELETING = "deleting", Progress, Planner,
        "The resource is being deleted; pods go first, then what `pvReclaimPolicy` says.";
    POD_GOING_AWAY = "pod-going-away", Progress, Planner,
        "A slot is filled again only when its earlier pod is gone: two processes never share a volume.";
    CHANGED_BACK = "changed-back", Degraded, Planner,
        "An object of ours that is changed back each time that it is applied (by an admission webhook, by another controller) is applied again every five minutes, and the field is named.";
    OBJECT_GOING_AWAY = "object-going-away", Progress, Planner,
        "A Service, ConfigMap or disruption budget that is being deleted is made again when it is gone.";
    FIRST_VOLUMES_FIRST = "first-volumes-first", Progress, Planner,
        "No first PD pod starts before the volumes of all first PD members exist: a volume made later would look like a lost one.";
    VOLUME_GOING_AWAY = "volume-going-away", Degraded, Planner,
        "A volume claim that is being deleted is not used for a new pod.";
    PODS_START = "pods-start", Progress, None,
        "A pod exists and its containers do not all run yet; the detail gives Kubernetes' reason.";
    NODE_NOT_HEARD = "node-not-heard", Degraded, None,
        "Kubernetes does not hear the node of a pod: what it says of the pod is of before, and the pod may run and serve.";
    PD_ELECTS_LEADER = "pd-elects-leader", Progress, None,
        "PD has no leader that answers; until it has, nothing follows from its silence.";
    PD_QUORUM_LOST = "pd-quorum-lost", Degraded, None,
        "Too few PD members run for PD to have a leader: nothing is removed, added or replaced, since any member may hold the data that are needed.";
    SCALING_BEFORE_RESTARTING = "scaling-before-restarting", Progress, Planner,
        "Members that leave, and PD members that join, do so before others of their component are restarted for a change of the spec. PD does not wait for a store that leaves, not even its only member: that can take hours or never end, its state is in etcd, and it goes on after the restart.";
    PD_MEMBER_NOT_HEALTHY = "pd-member-not-healthy", Degraded, None,
        "A PD member does not answer the others.";
    STORES_REGISTER = "stores-register", Progress, None,
        "A store's pod runs and PD does not list the store yet.";
    STORE_NOT_UP = "store-not-up", Degraded, None,
        "PD lists a store that is not Up.";
    REGIONS_REPLICATED = "regions-replicated", Progress, None,
        "Not every region has its replicas yet; `Ready` waits for that.";
    PROOF_SETTLES = "proof-settles", Progress, None,
        "PD's word on replication is believed a minute after its leader changed: a new leader has not heard from all regions.";
    LEADERS_COME_BACK = "leaders-come-back", Progress, Planner,
        "The next store is restarted when the one before leads about its share of regions again, or after `waitLeaderTransferBackTimeout` without change.";
    LEADERS_MOVE_FIRST = "leaders-move-first", Progress, Planner,
        "Before a store is taken down its leaders move to others, for as long as they make progress within `evictLeaderTimeout`.";
    NEVER_REGISTERED_GRACE = "never-registered-grace", Progress, Planner,
        "A surplus pod that never registered a store is given a minute before it goes: it may be about to.";
    QUARANTINE = "quarantine", Held, Some(volumes::quarantine),
        "The volume of a member that was given up for dead is kept for `failover.quarantine` before it is deleted.";
    VOLUME_GROWS = "volume-grows", Progress, Planner,
        "Volumes grow one at a time and online; the last part of it needs the pod that mounts the volume to run.";
    CLASS_CANNOT_GROW = "class-cannot-grow", Degraded, Planner,
        "The API server refused to make a volume larger (a storage class without `allowVolumeExpansion`, a quota): it is asked again every minute, and everything else goes on.";
    CLASS_IS_FIXED = "class-is-fixed", Held, None,
        "A volume keeps its storage class; another class is used for new volumes only, and this version does not replace volumes for it.";
    SUSPENDED = "suspended", Held, None,
        "`suspendAction.suspendStatefulSet` stops a component; its volumes stay and nothing counts as a failure.";
    SUSPEND_WAITS = "suspend-waits", Progress, Planner,
        "A component is stopped when nothing is half done: no removal, no replacement, no update.";
    GATE_BEFORE_UPGRADE = "gate-before-upgrade", Progress, Planner,
        "No member that runs is restarted for another image before every TikvTask with `gate: before` on `UpgradeStarting` has run with success; the annotation `tikv.org/skip-gate` with the announcement's id (`status.upgrade.id`) lets this one upgrade pass, and so does deleting or suspending the task. What makes a pod for another reason (repair, drain, a replacement, a new member) goes on with the image of before; going back to the images of before is not held.";
    GATE_FAILED = "gate-failed", Degraded, Planner,
        "A TikvTask that was to run before an upgrade failed, ran out of time or cannot be carried out: the upgrade is held until the task is edited, skipped once, suspended or deleted.";
    NEW_STORE_FIRST = "new-store-first", Progress, None,
        "A store that a person wants replaced (annotation `tikv.org/replace` on its pod or its volume claim) serves until as many others as are wanted are Up and ready; until then there is one store more. With fewer stores wanted than `max-replicas` none is made: PD would refuse the removal.";
    STORES_SHARE_A_PLACE = "stores-share-a-place", Held, None,
        "The stores are in fewer places, by the finest of PD's location labels, than regions have replicas.";
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_config;
#[cfg(test)]
mod tests_pd;
