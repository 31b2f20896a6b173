//! What does the model take to be true of Kubernetes, PD and TiKV, and how is that known?
//!
//! Each belief names a recorded answer (`crates/sim/tests/recordings`), a run against the real
//! thing, or a line of source. One without cannot be written down.

use crate::clock::SECOND;

/// Where a belief comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Recorded answers of a real server, by file name.
    Recording(&'static str),
    /// Seen on a real server, but not an answer that can be recorded: which one, and how.
    Seen(&'static str),
    /// Read in source: project, version, file, function.
    Read(&'static str),
    /// Documented by the project.
    Documented(&'static str),
    /// A stand-in for a delay that is different everywhere; chosen, and why.
    Chosen(&'static str),
}

/// Something that the model relies on.
#[derive(Clone, Copy, Debug)]
pub struct Belief<T> {
    /// The number or fact as the model uses it.
    pub value: T,
    /// The belief in words.
    pub says: &'static str,
    /// How it is known.
    pub source: Source,
}

const fn belief<T>(value: T, says: &'static str, source: Source) -> Belief<T> {
    Belief { value, says, source }
}

/// Kinds with a generation among those that the operator touches.
pub const GENERATION: Belief<&[&str]> = belief(
    &["TikvCluster"],
    "metadata.generation of a custom resource with a status subresource grows with spec changes and with deletion",
    Source::Documented("Kubernetes: Custom Resources, status subresource"),
);

/// Does this kind count generations?
pub fn has_generation(kind: &str) -> bool {
    GENERATION.value.contains(&kind)
}

/// See `says`.
pub const APPLY_WITH_UID: Belief<()> = belief(
    (),
    "server-side apply with metadata.uid answers 409 where the object is absent and 422 where it has another uid",
    Source::Seen("kube-apiserver 1.35: apply after delete, apply after re-create"),
);

/// See `says`.
pub const CREATE_IS_NOT_APPLIED: Belief<()> = belief(
    (),
    "fields of a POST belong to an Update entry in managedFields, so a later apply that leaves them out does not remove them",
    Source::Documented("Kubernetes: Server-Side Apply, field management"),
);

/// See `says`.
pub const POD_SPEC_IS_IMMUTABLE: Belief<&[&str]> = belief(
    &["Pod"],
    "a pod's spec cannot be changed (images, deadlines and tolerations apart, which are not used)",
    Source::Seen("kube-apiserver 1.35: 422 on apply"),
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
    "a claim that a pod names stays, with deletionTimestamp, until the pod is gone",
    Source::Documented("Kubernetes: Storage Object in Use Protection"),
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
pub const HALF_JOINED_BLOCKS: Belief<()> = belief(
    (),
    "one member without a name makes every other join fail",
    Source::Seen("pd-server v8.5.7: join killed after MemberAdd"),
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
pub const SETTINGS_PERSIST: Belief<()> = belief(
    (),
    "replication settings of the file are read until the first persist only",
    Source::Seen("pd-server v8.5.7: restart with a changed file"),
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
    "a new PD leader knows persisted heartbeat times only",
    Source::Seen("pd-server v8.5.7: /stores after a leader change"),
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

/// What every belief says, and how it is known; for the generated page and for the test.
pub fn all() -> Vec<(&'static str, Source)> {
    let facts = [
        APPLY_WITH_UID,
        CREATE_IS_NOT_APPLIED,
        CLAIM_PROTECTION,
        DATA_WINS,
        ALREADY_BOOTSTRAPPED,
        LISTED_BY_NAME,
        EMPTY_MAJORITY_FORKS,
        HALF_JOINED_BLOCKS,
        REMOVED_MEMBER_HANGS,
        DOWN_WITHOUT_HEARTBEAT,
        SETTINGS_PERSIST,
        HEARTBEATS_FORGOTTEN,
    ];
    let numbers = [
        POD_DELETION_IS_GRACEFUL,
        MOUNTED_CONFIG_LAGS,
        ELECTION,
        START_LIMIT,
        JOIN_TAKES,
        DISCONNECTED_AFTER,
        MAX_DOWN,
        HEARTBEAT_PERSISTED_EVERY,
        HEARTBEAT_EVERY,
        CATCH_UP_TAKES,
    ];
    let ranges = [CRASH_BACKOFF, PULL_TAKES, VOLUME_TAKES, REGISTER_TAKES];
    let mut all: Vec<_> = facts.iter().map(|b| (b.says, b.source)).collect();
    all.extend(numbers.iter().map(|b| (b.says, b.source)));
    all.extend(ranges.iter().map(|b| (b.says, b.source)));
    all.extend([GENERATION, POD_SPEC_IS_IMMUTABLE].iter().map(|b| (b.says, b.source)));
    all.push((MAX_REPLICAS.says, MAX_REPLICAS.source));
    all
}
