//! What does the name of a test not say about a scenario?

/// How a scenario is shown, or why it is not.
pub(crate) enum Note {
    /// A test whose name bears no number: file and name.
    Test(&'static str, &'static str),
    /// A script of the simulator whose name bears another number.
    Script(&'static str),
    /// A case of the end-to-end suite.
    EndToEnd(&'static str),
    /// It is checked in every run, in words.
    Checked(&'static str),
    /// It cannot happen here.
    NotApplicable(&'static str),
    /// It belongs to a feature that is not there yet.
    Elsewhere(&'static str),
    /// Not shown, or not whole.
    Open(&'static str),
}

use Note::{Checked, Elsewhere, EndToEnd, NotApplicable, Open, Script, Test};

const AUDITOR: &str = "the auditor, in every script and random history";
const CRASHES: &str = "`scripts_end_the_same_with_a_crash_after_a_write`: every script again with the operator ending after three of its writes, with `cargo xtask test --all` after each";
/// Random histories.
const HISTORIES: Note = Test("crates/sim/tests/histories.rs", "every_history_ends_well");
/// Operators with one thing wrong, each of which a random history finds.
const BROKEN: Note =
    Test("crates/sim/tests/teeth/main.rs", "every_broken_operator_is_caught_by_a_random_history");
const TLS: &str =
    "TLS is on the roadmap and not there yet: the fields are refused with a condition";
const BACKUP: &str = "backup and restore are on the roadmap and not there yet";

/// Notes by scenario.
pub(crate) const NOTES: &[(&str, Note)] = &[
    ("1", EndToEnd("basic")),
    ("6", Checked("golden files of the builders (crates/core/tests/golden.rs)")),
    (
        "7",
        Test(
            "crates/operator/tests/apiserver/definition.rs",
            "what_must_not_pass_is_rejected_by_whom_the_table_says",
        ),
    ),
    (
        "7",
        Test(
            "crates/operator/tests/apiserver/scopes.rs",
            "specs_that_only_the_operator_can_judge_get_a_condition_and_nothing_else",
        ),
    ),
    ("7", Test("crates/sim/tests/teeth/mistakes.rs", "one_that_trusts_a_spec_that_is_refused")),
    ("9", EndToEnd("operator-gone")),
    ("10", Checked("revisions of fixed specs are kept in a file: crates/core/tests/revision.rs")),
    (
        "12",
        Test(
            "crates/operator/tests/apiserver/scopes.rs",
            "with_a_selector_other_clusters_are_left_alone",
        ),
    ),
    (
        "13",
        Test(
            "crates/operator/tests/apiserver/strangers.rs",
            "what_is_deleted_or_changed_by_hand_comes_back_and_the_pods_stay",
        ),
    ),
    (
        "18",
        Checked(
            "every field of the schema has an effect or a rejection: crates/core/tests/leaf_walk",
        ),
    ),
    ("58", EndToEnd("life-scale")),
    ("59", Script("f64_scale_in_to_nothing")),
    (
        "71",
        NotApplicable(
            "no recovery is requested: a replacement leaves by itself when the lost store is back (`s64_failed_store_returns.txt`)",
        ),
    ),
    ("73", EndToEnd("failover-store")),
    ("73", EndToEnd("failover-leader")),
    ("75", HISTORIES),
    ("75", BROKEN),
    (
        "75",
        Checked(
            "histories have old caches and refused calls; a broken operator acts on an old view",
        ),
    ),
    ("78", Script("s42_scale_in_five_to_three")),
    (
        "78",
        Test(
            "crates/core/src/report/tests.rs",
            "s42_status_says_which_store_leaves_and_how_far_it_is",
        ),
    ),
    ("78", HISTORIES),
    ("78", Checked("at rest the auditor compares the status with the truth (I13)")),
    ("90", EndToEnd("late-names")),
    ("90", Open("`clusterDomain` is in the golden files; IPv6-only networks need a real network")),
    (
        "83",
        Test(
            "crates/operator/tests/apiserver/definition.rs",
            "what_must_not_pass_is_rejected_by_whom_the_table_says",
        ),
    ),
    (
        "84",
        Elsewhere(
            "a volume keeps its class: another class is for new volumes only, and said (`class-is-fixed`)",
        ),
    ),
    ("87", Elsewhere(TLS)),
    ("88", Elsewhere(TLS)),
    ("89", Elsewhere(TLS)),
    (
        "91",
        Elsewhere(
            "a second cluster beside the same PD (`pdAddresses`) is refused with a condition",
        ),
    ),
    (
        "93",
        Test(
            "crates/operator/tests/apiserver/quiet.rs",
            "a_quiet_cluster_is_neither_read_nor_written",
        ),
    ),
    ("94", Test("crates/core/src/report/tests.rs", "a_wait_keeps_the_time_since_when_it_waits")),
    (
        "94",
        Test(
            "crates/core/src/report/tests.rs",
            "s43_a_refused_scale_in_is_a_condition_with_its_cause",
        ),
    ),
    ("94", BROKEN),
    ("94", Checked("one of the broken operators says nothing while it waits: a silent stall")),
    ("95", Elsewhere(BACKUP)),
    ("96", NotApplicable("no start script: containers run the image's own entrypoint")),
    ("F1", Checked(CRASHES)),
    ("F2", Checked(CRASHES)),
    (
        "F4",
        Test(
            "crates/operator/tests/apiserver/processes.rs",
            "sigterm_ends_the_program_well_and_the_other_one_acts_at_once",
        ),
    ),
    (
        "F5",
        Test(
            "crates/operator/tests/apiserver/processes.rs",
            "a_stopped_process_that_goes_on_no_longer_leads",
        ),
    ),
    ("F5", EndToEnd("woken")),
    ("F7", Test("crates/sim/tests/teeth/main.rs", "one_that_counts_delays_by_the_wall_clock")),
    (
        "F7",
        Test(
            "crates/operator/src/lease/election.rs",
            "anothers_lease_is_taken_only_after_it_was_seen_unchanged_for_its_whole_time",
        ),
    ),
    ("F8", EndToEnd("failover-unseen")),
    (
        "F10",
        Test(
            "crates/operator/tests/apiserver/lease.rs",
            "a_replica_whose_lease_was_taken_stops_at_its_next_look",
        ),
    ),
    (
        "F10",
        Open(
            "two installations that look after the same clusters with different Leases are not told apart",
        ),
    ),
    ("F11", HISTORIES),
    ("F11", BROKEN),
    (
        "F11",
        Open(
            "caches are old in histories; an API server whose own answers are old is made nowhere",
        ),
    ),
    (
        "F12",
        Test(
            "crates/operator/src/observe/cache.rs",
            "a_new_list_replaces_what_was_known_in_its_scope_and_of_its_kind",
        ),
    ),
    (
        "F12",
        Test(
            "crates/operator/tests/apiserver/outage.rs",
            "after_an_outage_the_operator_goes_on_and_has_touched_no_pod",
        ),
    ),
    ("F12", HISTORIES),
    ("F14", Script("f15_lost_answers")),
    ("F14", HISTORIES),
    (
        "F14",
        Test(
            "crates/operator/tests/apiserver/strangers.rs",
            "who_writes_the_status_all_the_time_neither_stops_the_operator_nor_makes_it_write",
        ),
    ),
    ("F16", EndToEnd("api-frozen")),
    (
        "F16",
        Test(
            "crates/operator/tests/apiserver/outage.rs",
            "after_an_outage_the_operator_goes_on_and_has_touched_no_pod",
        ),
    ),
    (
        "F17",
        Test(
            "crates/operator/tests/apiserver/outage.rs",
            "after_an_outage_the_operator_goes_on_and_has_touched_no_pod",
        ),
    ),
    ("F17", EndToEnd("api-frozen")),
    ("F17", Open("an etcd without a leader and throttling by priority are made nowhere")),
    (
        "F20",
        Test("crates/sim/tests/teeth/main.rs", "one_that_applies_what_is_changed_back_for_ever"),
    ),
    ("F22", Script("f20_template_refused")),
    ("F22", Checked("all namespaces of the suite are under Pod Security \"restricted\"")),
    (
        "F23",
        Test(
            "crates/operator/tests/apiserver/roles.rs",
            "a_missing_verb_is_named_in_the_status_and_its_return_needs_no_restart",
        ),
    ),
    (
        "F24",
        Open("versions of the resource definition beside each other come with its second version"),
    ),
    (
        "F25",
        Test(
            "crates/operator/tests/apiserver/steps.rs",
            "the_finalizer_comes_and_goes_beside_those_of_others",
        ),
    ),
    ("F25", Test("crates/sim/tests/teeth/main.rs", "one_that_repairs_what_is_being_deleted")),
    (
        "F27",
        Test(
            "crates/operator/tests/apiserver/scopes.rs",
            "in_a_namespace_that_is_being_deleted_creates_stop",
        ),
    ),
    ("F27", EndToEnd("namespace-gone")),
    (
        "F30",
        Test(
            "crates/operator/tests/apiserver/strangers.rs",
            "what_is_deleted_or_changed_by_hand_comes_back_and_the_pods_stay",
        ),
    ),
    (
        "F32",
        Test(
            "crates/operator/tests/apiserver/scopes.rs",
            "a_thousand_edits_fall_together_and_the_last_one_counts",
        ),
    ),
    (
        "F34",
        Test(
            "crates/operator/tests/apiserver/definition.rs",
            "what_must_not_pass_is_rejected_by_whom_the_table_says",
        ),
    ),
    ("F35", EndToEnd("revert")),
    ("F36", EndToEnd("revert-config")),
    ("F38", Checked(AUDITOR)),
    ("F38", EndToEnd("force-deleted")),
    ("F39", EndToEnd("absence")),
    ("F39", EndToEnd("reboots")),
    ("F41", EndToEnd("drain")),
    ("F41", EndToEnd("drain-roll")),
    ("F48", Elsewhere("certificates come with TLS; `clusterDomain` is fixed at creation")),
    (
        "F49",
        Test("crates/operator/src/pd/hostile_tests.rs", "the_next_member_is_asked_when_one_fails"),
    ),
    ("F42", EndToEnd("grow")),
    ("F42", EndToEnd("read-only")),
    ("F42", EndToEnd("slow-disk")),
    ("F50", Test("crates/operator/src/pd/hostile_tests.rs", "half_an_answer_is_none")),
    ("F50", Test("crates/operator/src/pd/hostile_tests.rs", "a_huge_body_is_not_read_to_its_end")),
    ("F52", EndToEnd("quorum-lost")),
    ("F56", Open("etcd's own alarms and clock skew between PDs need real PDs")),
    (
        "F57",
        Test("crates/operator/src/pd/recording_tests.rs", "without_a_leader_there_is_no_answer"),
    ),
    ("F61", EndToEnd("zone-gone")),
    ("F68", Script("s29_leaders_do_not_leave")),
    ("F74", Checked("for the operator a blocked PD and a silent one are the same")),
    ("F74", Script("s77_pd_unreachable")),
    ("F73", EndToEnd("partition")),
    ("F75", Elsewhere(TLS)),
    ("F76", Elsewhere(BACKUP)),
    ("F77", Elsewhere(BACKUP)),
    (
        "F78",
        Test(
            "crates/sim/tests/teeth/runners.rs",
            "every_broken_loop_over_tasks_is_caught_by_a_random_history",
        ),
    ),
    (
        "F78",
        Open("two loops over tasks at once, which the Lease keeps from acting, are run nowhere"),
    ),
    ("I1", Checked(AUDITOR)),
    ("I2", Checked(AUDITOR)),
    ("I3", Checked(AUDITOR)),
    ("I4", Checked(AUDITOR)),
    ("I5", Checked("`quiet` in every script")),
    ("I5", EndToEnd("quiet")),
    ("I6", Checked(AUDITOR)),
    (
        "I7",
        Test(
            "crates/operator/tests/apiserver/processes.rs",
            "a_stopped_process_that_goes_on_no_longer_leads",
        ),
    ),
    ("I7", EndToEnd("woken")),
    ("I8", Checked(AUDITOR)),
    ("I9", Checked("`settle` in scripts and random histories")),
    ("I10", HISTORIES),
    ("I10", EndToEnd("revert")),
    (
        "I11",
        Checked(
            "the auditor: no acknowledged write is lost; end to end a client's success, gaps and registers' histories are judged",
        ),
    ),
    ("I11", EndToEnd("life-scale")),
    ("I11", EndToEnd("life-pd")),
    ("I11", EndToEnd("life-roll")),
    ("I11", EndToEnd("online-config")),
    ("I11", EndToEnd("drain")),
    ("I11", EndToEnd("drain-roll")),
    (
        "I12",
        Checked(
            "the auditor counts refused calls; a panic ends any run; back-off and secrets are tested in the operator",
        ),
    ),
    ("I13", Checked(AUDITOR)),
];
