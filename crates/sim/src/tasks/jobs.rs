//! What do the Jobs of tasks come to?

use serde_json::json;

use crate::clock::{self, SECOND};
use crate::kube::{Key, Kube, at, set, text};

/// A Job about which nothing is said.
pub(super) const USUALLY: JobEnds = JobEnds::Well(5);

/// How Jobs end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobEnds {
    /// Well, after so many seconds.
    Well(u64),
    /// Badly, after so many seconds.
    Badly(u64),
    /// Never.
    Never,
}

/// What Kubernetes' Job controller and the pods of Jobs come to. Returns when the next one ends.
pub fn end_jobs(kube: &mut Kube, ends: &dyn Fn(&str) -> JobEnds, now: u64) -> u64 {
    let jobs: Vec<(Key, JobEnds, u64)> = kube
        .list("Job")
        .filter(|job| at(job, "/status/conditions").is_null())
        .filter_map(|job| {
            let task = at(job, "/metadata/labels").get("tikv.org/task")?.as_str()?;
            let made: jiff::Timestamp = text(job, "/metadata/creationTimestamp").parse().ok()?;
            let age = clock::instant(now).duration_since(made).as_secs();
            Some((Key::of(job), ends(task), u64::try_from(age).unwrap_or_default()))
        })
        .collect();
    let mut next = u64::MAX;
    for (key, ends, age) in jobs {
        if let JobEnds::Well(after) | JobEnds::Badly(after) = ends
            && age < after
        {
            next = next.min(now + (after - age) * SECOND);
        }
        let condition = match ends {
            JobEnds::Well(after) if age >= after => json!({"type": "Complete", "status": "True"}),
            JobEnds::Badly(after) if age >= after => json!({
                "type": "Failed", "status": "True",
                "reason": "BackoffLimitExceeded", "message": "it did not work",
            }),
            JobEnds::Well(_) | JobEnds::Badly(_) | JobEnds::Never => continue,
        };
        kube.edit(&key, |job| set(job, &["status", "conditions"], json!([condition])));
    }
    next
}
