//! What did the operator ask of the API server that it should never have asked?
//!
//! By the API server's own audit log, so nothing is missed that lasted between two looks.

use std::collections::BTreeSet;

use crate::audit::Call;

/// What may be deleted while nothing is replaced and no cluster goes: pods, and what is only as old as
/// a configuration.
const DELETED: [&str; 2] = ["pods", "configmaps"];

/// Calls that break a promise, in words.
pub(super) fn wrong(calls: &[Call], namespace: &str) -> Vec<String> {
    let writes: Vec<&Call> = calls.iter().filter(|call| call.counts_as_write()).collect();
    let mut found = BTreeSet::new();
    for call in &writes {
        let what = words(call);
        if call.verb.starts_with("delete") && !DELETED.contains(&call.resource.as_str()) {
            found.insert(format!("the operator deleted what has to stay: {what}"));
        }
        if call.namespace != namespace {
            found.insert(format!("the operator wrote elsewhere: {what}"));
        }
    }
    if writes.is_empty() {
        found.insert("the operator wrote nothing: is this its user?".to_owned());
    }
    found.extend(without_lease(calls));
    found.into_iter().collect()
}

/// Writes of a replica that does not hold the Lease. Only who holds it, or takes it, succeeds in
/// writing it. Before the first such write nobody knows who holds it.
fn without_lease(calls: &[Call]) -> Vec<String> {
    let (mut holder, mut found) = (None, Vec::new());
    for call in calls.iter().filter(|call| !call.pod.is_empty()) {
        if call.renews_lease() {
            holder = Some(&call.pod);
        } else if let Some(holder) = holder
            && call.counts_as_write()
            && call.pod != *holder
        {
            let (pod, what) = (&call.pod, words(call));
            found.push(format!("{pod} wrote while {holder} held the Lease: {what}"));
        }
    }
    found
}

fn words(call: &Call) -> String {
    format!("{} {} {}/{}", call.verb, call.resource, call.namespace, call.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(verb: &str, resource: &str, namespace: &str, pod: &str) -> Call {
        Call {
            verb: verb.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: "x".to_owned(),
            code: 200,
            pod: pod.to_owned(),
        }
    }

    fn judged(calls: &[Call]) -> Vec<String> {
        wrong(calls, "chaos")
    }

    #[test]
    fn pods_may_go_and_volumes_may_not() {
        assert!(judged(&[call("delete", "pods", "chaos", "a")]).is_empty());
        let volume = judged(&[call("delete", "persistentvolumeclaims", "chaos", "a")]);
        assert!(volume.iter().any(|found| found.contains("has to stay")), "{volume:?}");
    }

    #[test]
    fn nobody_writes_elsewhere_or_nothing_at_all() {
        let elsewhere = judged(&[call("patch", "pods", "other", "a")]);
        assert!(elsewhere.iter().any(|found| found.contains("elsewhere")), "{elsewhere:?}");
        assert!(!judged(&[call("get", "pods", "chaos", "a")]).is_empty());
    }

    #[test]
    fn who_does_not_hold_the_lease_writes_nothing() {
        let by = |calls: &[(&str, &str)]| -> Vec<String> {
            let one = |(pod, resource): &(&str, &str)| call("patch", resource, "chaos", pod);
            judged(&calls.iter().map(one).collect::<Vec<_>>())
        };
        let (pods, leases) = ("pods", "leases");
        let turns =
            [("a", leases), ("a", pods), ("b", leases), ("b", pods), ("a", leases), ("a", pods)];
        assert!(by(&turns).is_empty(), "each may hold it again");
        let late = by(&[("a", leases), ("b", leases), ("a", pods)]);
        assert!(late.iter().any(|found| found.contains("while b held")), "{late:?}");
        let mut refused = call("update", leases, "chaos", "b");
        refused.code = 409;
        let holder = call("patch", leases, "chaos", "a");
        assert!(judged(&[holder, refused, call("patch", pods, "chaos", "a")]).is_empty());
    }
}
