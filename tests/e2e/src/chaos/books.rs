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
        let what = format!("{} {} {}/{}", call.verb, call.resource, call.namespace, call.name);
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
    found.extend(turns(&writes));
    found.into_iter().collect()
}

/// One writes after the other: who has been followed by another one writes no more.
fn turns(writes: &[&Call]) -> Vec<String> {
    let mut left: BTreeSet<&str> = BTreeSet::new();
    let (mut now, mut found) = ("", Vec::new());
    for call in writes.iter().filter(|call| !call.pod.is_empty()) {
        if call.pod != now {
            left.insert(now);
            if left.contains(call.pod.as_str()) {
                found.push(format!("{} wrote after {now} had begun to", call.pod));
            }
            now = &call.pod;
        }
    }
    found
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
    fn who_was_followed_writes_no_more() {
        let by = |pods: &[&str]| -> Vec<String> {
            let calls: Vec<Call> =
                pods.iter().map(|pod| call("patch", "pods", "chaos", pod)).collect();
            judged(&calls)
        };
        assert!(by(&["a", "a", "b", "b", "c"]).is_empty());
        assert_eq!(by(&["a", "b", "a"]), ["a wrote after b had begun to"]);
    }
}
