//! Which beliefs are there?

#[allow(clippy::wildcard_imports, reason = "the list of what is there")]
use super::*;

/// Beliefs without a number.
const FACTS: &[Belief<()>] = &[
    APPLY_WITH_UID,
    PATCH_WITH_UID,
    STATUS_HAS_NO_UID,
    LAST_FINALIZER,
    ONE_CONTROLLER,
    CREATE_IS_NOT_APPLIED,
    CLAIM_PROTECTION,
    DELETION_PROPAGATES,
    DATA_WINS,
    ALREADY_BOOTSTRAPPED,
    LISTED_BY_NAME,
    EMPTY_MAJORITY_FORKS,
    HALF_JOINED_BLOCKS,
    JOINED_LIST,
    REMOVED_MEMBER_HANGS,
    FORCE_NEW_CLUSTER,
    A_CUT_IS_BOTH_WAYS,
    DOWN_WITHOUT_HEARTBEAT,
    HEARTBEATS_FORGOTTEN,
    STRICT_REMOVAL,
    ISOLATED,
    TOMBSTONE_WHEN_EMPTY,
    NO_STORE_FOR_LEADERS,
    NO_TARGET_NO_EVICTION,
    SOME_LEADERS_STAY,
    GRACEFUL_SHUTDOWN,
    CLUSTER_VERSION_RISES,
    CLAIMS_GROW,
    EVICTION_ASKS_BUDGETS,
    LOST_PODS_STAY,
    UNHEARD_PODS,
    PODS_SPREAD,
    SELECTED_NODES,
    UNSAFE_RECOVERY,
    QUOTA_REFUSES,
    WEBHOOKS_REFUSE,
];

/// What every belief says, and how it is known; for the generated page and for the test.
pub fn all() -> Vec<(&'static str, Source)> {
    let numbers = [
        POD_DELETION_IS_GRACEFUL,
        MOUNTED_CONFIG_LAGS,
        ELECTION,
        START_LIMIT,
        JOIN_TAKES,
        JOIN_FILE,
        DISCONNECTED_AFTER,
        MAX_DOWN,
        HEARTBEAT_PERSISTED_EVERY,
        HEARTBEAT_EVERY,
        CATCH_UP_TAKES,
        LEADER_FOLLOWS,
        REGION_HEARTBEATS,
        PEER_DOWN_AFTER,
        DRAIN_TRIES_EVERY,
        UNREACHABLE_TOLERATED,
    ];
    let ranges = [CRASH_BACKOFF, PULL_TAKES, VOLUME_TAKES, REGISTER_TAKES];
    let mut all: Vec<_> =
        FACTS.iter().chain(&settings::FACTS).map(|b| (b.says, b.source)).collect();
    all.extend(numbers.iter().map(|b| (b.says, b.source)));
    all.extend(ranges.iter().map(|b| (b.says, b.source)));
    all.extend(
        [GENERATION, POD_SPEC_IS_IMMUTABLE, OFFLINE_ITEMS, HIDDEN_ITEMS, LOG_LEVELS]
            .iter()
            .map(|b| (b.says, b.source)),
    );
    all.extend([(REGIONS.says, REGIONS.source), (MAX_REPLICAS.says, MAX_REPLICAS.source)]);
    all
}
