//! What does the model take to be true of Kubernetes, PD and TiKV, and how is that known?
//!
//! Each belief names a recorded answer (`crates/sim/tests/recordings`), a run against the real
//! thing, or a line of source. One without cannot be written down.

mod all;
mod limits;
mod settings;
mod source;

pub use all::all;
pub use limits::{LIMITS, Limit};
pub use settings::{
    HIDDEN_ITEMS, LOG_LEVELS, OFFLINE_ITEMS, ONLINE_IS_LOST, PD_CHECKS_SETTINGS, PD_DEFAULTS,
    REPLICAS_NEED_A_CLUSTER, SETTINGS_PERSIST, STORE_CHECKS_SETTINGS, STORE_READS_ITS_FILE,
    TIKV_DEFAULTS,
};
use source::belief;
pub use source::{Belief, Source};

use crate::clock::SECOND;

/// Kinds with a generation among those that the operator touches.
pub const GENERATION: Belief<&[&str]> = belief(
    &["TikvCluster", "TikvTask", "Pod", "PodDisruptionBudget"],
    "metadata.generation of these kinds grows with spec changes and with deletion, not with changes of metadata or status; the others have none",
    Source::Script("kube/generation.script"),
);

/// Does this kind count generations?
pub fn has_generation(kind: &str) -> bool {
    GENERATION.value.contains(&kind)
}

/// See `says`.
pub const APPLY_WITH_UID: Belief<()> = belief(
    (),
    "server-side apply with metadata.uid answers 409 where the object is absent and 422 where it has another uid",
    Source::Script("kube/apply.script"),
);

/// See `says`.
pub const PATCH_WITH_UID: Belief<()> = belief(
    (),
    "a merge patch answers 404 where the object is absent, 422 where it names another uid and 409 where it names another version",
    Source::Script("kube/merge.script"),
);

/// See `says`.
pub const STATUS_HAS_NO_UID: Belief<()> = belief(
    (),
    "an apply to the status of a custom resource does not look at metadata.uid, only at the version: without one it writes into another object of the name",
    Source::Script("kube/status.script"),
);

/// See `says`.
pub const LAST_FINALIZER: Belief<()> = belief(
    (),
    "an object in deletion takes no new finalizer (422), and is gone with the patch that takes the last one off",
    Source::Script("kube/finalizer.script"),
);

/// See `says`.
pub const ONE_CONTROLLER: Belief<()> = belief(
    (),
    "of an object's owners one is its controller (422); whether an owner exists is not looked at",
    Source::Script("kube/owner.script"),
);

/// See `says`.
pub const CREATE_IS_NOT_APPLIED: Belief<()> = belief(
    (),
    "fields of a POST belong to an Update entry in managedFields, so a later apply that leaves them out does not remove them",
    Source::Script("kube/apply.script"),
);

/// See `says`.
pub const POD_SPEC_IS_IMMUTABLE: Belief<&[&str]> = belief(
    &["Pod"],
    "a pod's spec cannot be changed (images, deadlines and tolerations apart, which are not used)",
    Source::Script("kube/pod.script"),
);

/// See `says`.
pub const POD_DELETION_IS_GRACEFUL: Belief<u64> = belief(
    5 * SECOND,
    "a bound pod stays, with deletionTimestamp, until its kubelet has seen the container end; an unbound one goes at once",
    Source::Documented("Kubernetes: Pod Lifecycle, termination of Pods"),
);

/// See `says`.
pub const CLAIM_PROTECTION: Belief<()> = belief(
    (),
    "a claim is made with the finalizer pvc-protection: when it is deleted it stays, with deletionTimestamp, until no pod names it",
    Source::Script("kube/claim.script"),
);

/// See `says`.
pub const DELETION_PROPAGATES: Belief<()> = belief(
    (),
    "an owner is held by the finalizer foregroundDeletion until its children are gone, or by orphan until they name it no more",
    Source::Documented("Kubernetes: Garbage Collection, cascading deletion"),
);

/// See `says`.
pub const MOUNTED_CONFIG_LAGS: Belief<u64> = belief(
    90 * SECOND,
    "a running pod's mounted ConfigMap follows within kubelet's sync period and cache delay; a container that restarts in place reads what is mounted, a new pod what is current",
    Source::Documented("Kubernetes: ConfigMaps, mounted ConfigMaps are updated automatically"),
);

/// See `says`.
pub const CRASH_BACKOFF: Belief<(u64, u64)> = belief(
    (10 * SECOND, 300 * SECOND),
    "a container that ends is started again after 10 s, doubling to 5 min",
    Source::Documented("Kubernetes: Pod Lifecycle, container restarts"),
);

/// See `says`.
pub const PULL_TAKES: Belief<(u64, u64)> = belief(
    (SECOND, 8 * SECOND),
    "an image that is not on the node takes a while; one that is takes nothing",
    Source::Chosen("seconds, so that pods start in any order without slowing runs"),
);

/// See `says`.
pub const VOLUME_TAKES: Belief<(u64, u64)> = belief(
    (SECOND, 6 * SECOND),
    "a claim of a WaitForFirstConsumer class is bound after its pod was given a node",
    Source::Documented("Kubernetes: Storage Classes, volume binding mode"),
);

/// See `says`.
pub const DATA_WINS: Belief<()> = belief(
    (),
    "with data in the directory neither join nor initial-cluster is looked at",
    Source::Read(
        "tikv/pd v8.5 server/join/join.go PrepareJoinCluster; etcd server/etcdserver/bootstrap.go",
    ),
);

/// See `says`.
pub const ALREADY_BOOTSTRAPPED: Belief<()> = belief(
    (),
    "an empty member with initial-cluster refuses to start where a peer answers that it has run before",
    Source::Read(
        "etcd server/etcdserver/bootstrap.go bootstrapNewClusterNoWAL, isMemberBootstrapped",
    ),
);

/// See `says`.
pub const LISTED_BY_NAME: Belief<()> = belief(
    (),
    "members of an initial-cluster are in the list by name before they ever ran, so a late one that is told to join finds its own name and aborts",
    Source::Read(
        "etcd membership.NewClusterFromURLsMap; tikv/pd server/join/join.go \"missing data or join a duplicated pd\"",
    ),
);

/// See `says`.
pub const EMPTY_MAJORITY_FORKS: Belief<()> = belief(
    (),
    "members with wiped directories and the same initial-cluster come back with the same etcd ids; a majority of them elects itself and PD makes a new cluster id",
    Source::Read("etcd membership.computeMemberID; tikv/pd server.initClusterID"),
);

/// See `says`.
pub const ELECTION: Belief<u64> = belief(
    3 * SECOND,
    "a majority without a leader elects one after the election time-out",
    Source::Read("tikv/pd v8.5 server/config defaultElectionInterval"),
);

/// See `says`.
pub const START_LIMIT: Belief<u64> = belief(
    300 * SECOND,
    "a PD whose etcd has no leader for five minutes after the start exits",
    Source::Read("tikv/pd v8.5 server.etcdStartTimeout"),
);

/// See `says`.
pub const JOIN_TAKES: Belief<u64> = belief(
    2 * SECOND,
    "between MemberAdd and the first words of the new member it is listed without a name",
    Source::Seen("pd-server v8.5.7: /members during a join"),
);

/// See `says`.
pub const JOIN_FILE: Belief<u64> = belief(
    SECOND,
    "a member that was added keeps the list in a file as soon as it finds itself in it, which takes a moment; a start with that file and without data joins nothing and starts etcd as that member",
    Source::Read(
        "tikv/pd v8.5.7 server/join/join.go PrepareJoinCluster: the file `join`; later versions find their peer URL in the list instead",
    ),
);

/// See `says`.
pub const JOINED_LIST: Belief<()> = belief(
    (),
    "etcd's first start of an added member asks a peer for the list, without a majority too, and ends where that is not the one that it was told",
    Source::Read(
        "etcd v3.5 server/etcdserver GetClusterFromRemotePeers, membership.ValidateClusterAndAssignIDs: \"member count is unequal\"",
    ),
);

/// See `says`.
pub const HALF_JOINED_BLOCKS: Belief<()> = belief(
    (),
    "one member without a name makes every other join fail",
    Source::Seen("pd-server v8.5.7: join killed after MemberAdd"),
);

/// See `says`.
pub const FORCE_NEW_CLUSTER: Belief<()> = belief(
    (),
    "a member that is started with force-new-cluster keeps its data, takes all others off its list and asks none of them",
    Source::Documented("etcd: Configuration options, --force-new-cluster"),
);

/// See `says`.
pub const A_CUT_IS_BOTH_WAYS: Belief<()> = belief(
    (),
    "a packet filter in one direction ends a TCP connection in both: what is sent one way is acknowledged the other way",
    Source::Documented("RFC 9293, 3.8 Data Communication"),
);

/// See `says`.
pub const REMOVED_MEMBER_HANGS: Belief<()> = belief(
    (),
    "a removed member that is started again on its old directory hangs without serving, then exits",
    Source::Seen("pd-server v8.5.7: restart of a removed member"),
);

/// See `says`.
pub const DOWN_WITHOUT_HEARTBEAT: Belief<()> = belief(
    (),
    "a store that registered and never sent a heartbeat reads Down",
    Source::Recording("pd-recordings/stores-never-heartbeated.txt"),
);

/// See `says`.
pub const DISCONNECTED_AFTER: Belief<u64> = belief(
    20 * SECOND,
    "a store reads Disconnected 20 s after its last heartbeat",
    Source::Recording("pd-recordings/stores-one-disconnected.txt"),
);

/// See `says`.
pub const MAX_DOWN: Belief<u64> = belief(
    1800 * SECOND,
    "a store reads Down after max-store-down-time, 30 min unless set",
    Source::Recording("pd-recordings/stores-one-down.txt"),
);

/// See `says`.
pub const MAX_REPLICAS: Belief<u32> = belief(
    3,
    "max-replicas is 3 unless the first configuration file says otherwise",
    Source::Recording("pd-recordings/config-replicate.txt"),
);

/// See `says`.
pub const HEARTBEAT_PERSISTED_EVERY: Belief<u64> = belief(
    300 * SECOND,
    "heartbeat times go to etcd at most every five minutes per store",
    Source::Read("tikv/pd v8.5 core.StoreInfo.NeedPersist"),
);

/// See `says`.
pub const HEARTBEATS_FORGOTTEN: Belief<()> = belief(
    (),
    "a new PD leader knows of heartbeats their persisted times only, and of no store how large it is",
    Source::Script("pd/forgotten.script"),
);

/// See `says`.
pub const HEARTBEAT_EVERY: Belief<u64> = belief(
    10 * SECOND,
    "a store sends a heartbeat when it has started, and every 10 s",
    Source::Read("tikv/tikv raftstore config pd-store-heartbeat-tick-interval"),
);

/// See `says`.
pub const REGISTER_TAKES: Belief<(u64, u64)> = belief(
    (SECOND, 4 * SECOND),
    "a TiKV needs a moment between its start and PutStore",
    Source::Chosen("seconds; a real one opens its engine first"),
);

/// See `says`.
pub const CATCH_UP_TAKES: Belief<u64> = belief(
    3 * SECOND,
    "a new replica is a learner until it has the data",
    Source::Chosen("seconds; regions of the model are small"),
);

/// See `says`.
pub const LEADER_FOLLOWS: Belief<u64> = belief(
    2 * SECOND,
    "a transfer moves etcd's leadership; PD's follows a moment later, and the answer comes before",
    Source::Read(
        "tikv/pd v8.5 server/server.go campaignLeader, etcdLeader check on every leader tick",
    ),
);

/// See `says`.
pub const STRICT_REMOVAL: Belief<()> = belief(
    (),
    "etcd refuses to remove a connected member when fewer than a majority would stay connected, and always lets a disconnected one go",
    Source::Read(
        "etcd server/etcdserver/server.go mayRemoveMember; membership.IsReadyToRemoveVotingMember",
    ),
);

/// See `says`.
pub const ISOLATED: Belief<()> = belief(
    (),
    "with an isolation-level PD puts no replica into a failure domain that holds another of the region, not even to empty a store that leaves",
    Source::Read(
        "tikv/pd v8.5.7 pkg/schedule/filter/filters.go NewIsolationFilter; pkg/schedule/checker/replica_strategy.go SelectStoreToFix",
    ),
);

/// See `says`.
pub const TOMBSTONE_WHEN_EMPTY: Belief<()> = belief(
    (),
    "every 10 s an Offline store without a region becomes Tombstone",
    Source::Recording("pd-recordings/stores-after-tombstone.txt"),
);

/// See `says`.
pub const NO_STORE_FOR_LEADERS: Belief<()> = belief(
    (),
    "a store is not taken offline while leaders are evicted from all others that are Up",
    Source::Script("pd/evict-all.script"),
);

/// See `says`.
pub const REGION_HEARTBEATS: Belief<u64> = belief(
    60 * SECOND,
    "PD hears of a region when its leader or peers change and every minute; a new PD leader knows no leaders until then",
    Source::Seen(
        "pd-server v8.5.7: leader_count 0 after a leader change; pd-heartbeat-tick-interval 1m",
    ),
);

/// See `says`.
pub const PEER_DOWN_AFTER: Belief<u64> = belief(
    600 * SECOND,
    "a region's leader calls a peer down after ten minutes of silence",
    Source::Recording("tikv-recordings/config.txt"),
);

/// See `says`.
pub const NO_TARGET_NO_EVICTION: Belief<()> = belief(
    (),
    "a leader without a follower that is up to date and allowed to lead is never evicted",
    Source::Read(
        "tikv/pd v8.5 schedulers/evict_leader.go scheduleEvictLeaderOnce, RandSelectPendingPeers",
    ),
);

/// See `says`.
pub const SOME_LEADERS_STAY: Belief<()> = belief(
    (),
    "leaders may stay for minutes where they are told to leave: nothing bounds how long an eviction takes",
    Source::Chosen("fault F68: a hot region, a gap in the logs"),
);

/// See `says`.
pub const GRACEFUL_SHUTDOWN: Belief<()> = belief(
    (),
    "from v8.5.5 on a store that is told to end says so, and PD moves its leaders if it is the only one that stops",
    Source::Read("tikv/pd v8.5.5 schedulers/evict_stopping_store.go"),
);

/// See `says`.
pub const CLUSTER_VERSION_RISES: Belief<()> = belief(
    (),
    "PD's cluster version rises to the least version of all stores, and refuses stores of an older minor version",
    Source::Script("pd/versions.script"),
);

/// See `says`.
pub const REGIONS: Belief<usize> = belief(
    4,
    "regions split as they grow",
    Source::Chosen(
        "four regions show every order of leaders on three to five stores and keep runs fast",
    ),
);

/// See `says`.
pub const CLAIMS_GROW: Belief<()> = belief(
    (),
    "a bound claim's request may be raised where its class allows expansion, and lowered to what is above its capacity; the capacity follows",
    Source::Script("kube/grow.script"),
);

/// See `says`.
pub const EVICTION_ASKS_BUDGETS: Belief<()> = belief(
    (),
    "an eviction is answered 429 where a disruption budget that selects the pod has no pod to spare; a pod that is not ready counts for nothing",
    Source::Documented(
        "Kubernetes: API-initiated Eviction; PodDisruptionBudget, unhealthy pod eviction policy",
    ),
);

/// See `says`.
pub const DRAIN_TRIES_EVERY: Belief<u64> = belief(
    5 * SECOND,
    "a drain tries again after five seconds where an eviction was refused",
    Source::Read("kubernetes/kubectl pkg/drain/drain.go evictPods"),
);

/// See `says`.
pub const UNREACHABLE_TOLERATED: Belief<u64> = belief(
    300 * SECOND,
    "pods tolerate an unreachable node for five minutes, then they are marked for deletion",
    Source::Documented("Kubernetes: Taints and Tolerations, taint based evictions"),
);

/// See `says`.
pub const LOST_PODS_STAY: Belief<()> = belief(
    (),
    "a pod on a silent node stays Terminating until the node comes back, its node object is deleted or it has the out-of-service taint",
    Source::Documented("Kubernetes: Node Shutdowns, non-graceful node shutdown handling"),
);

/// See `says`.
pub const UNHEARD_PODS: Belief<()> = belief(
    (),
    "a pod on a silent node loses its condition Ready and no other: its containers go on to be called ready",
    Source::Read("Kubernetes 1.37, pkg/controller/util/node/controller_utils.go, MarkPodsNotReady"),
);

/// See `says`.
pub const PODS_SPREAD: Belief<()> = belief(
    (),
    "the scheduler spreads pods that ask for it over the nodes; here those of one component",
    Source::Chosen("three nodes; a soft anti-affinity is what users set"),
);

/// See `says`.
pub const SELECTED_NODES: Belief<()> = belief(
    (),
    "a pod with a nodeSelector is bound only to a node that has all these labels",
    Source::Documented("Kubernetes: Assigning Pods to Nodes, nodeSelector"),
);

/// See `says`.
pub const UNSAFE_RECOVERY: Belief<()> = belief(
    (),
    "online unsafe recovery makes the named stores tombstones at once, before anything is recovered",
    Source::Read("tikv/pd v8.5 server/cluster/unsafe_recovery_controller.go RemoveFailedStores"),
);

/// See `says`.
pub const WEBHOOKS_REFUSE: Belief<()> = belief(
    (),
    "a validating webhook refuses creates and updates of the kinds that it is asked about; status writes and deletes pass where it does not ask for them",
    Source::Documented("Kubernetes: Dynamic Admission Control, rules"),
);

/// See `says`.
pub const QUOTA_REFUSES: Belief<()> = belief(
    (),
    "a create beyond a ResourceQuota is answered 403",
    Source::Documented("Kubernetes: Resource Quotas"),
);
