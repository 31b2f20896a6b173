//! What can be measured about the operator?
//!
//! Every label value is one of a fixed set, so the number of series does not grow with the number
//! of clusters.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::text,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Metric, Registry},
};

mod census;
mod names;

pub use census::{Census, ClusterRow};
pub use names::{
    ApiVerb, CallOutcome, METRICS, MetricRow, PdChange, PdEndpoint, PdOutcome, StoreEndpoint,
};

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// All metrics; clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    reconciles: Family<Labels<1>, Counter>,
    reconcile_seconds: Histogram,
    steps: Family<Labels<2>, Counter>,
    api_calls: Family<Labels<3>, Counter>,
    forbidden: Family<Labels<2>, Counter>,
    watch_failures: Family<Labels<1>, Counter>,
    pd_calls: Family<Labels<2>, Counter>,
    store_calls: Family<Labels<2>, Counter>,
    leader: Gauge,
    clusters: Family<Labels<2>, Gauge>,
    waits: Family<Labels<1>, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A new set, with nothing counted yet.
    pub fn new() -> Self {
        let metrics = Self {
            registry: Arc::new(Mutex::new(Registry::default())),
            reconciles: Family::default(),
            // 5 ms to 80 s: a pass over caches takes milliseconds, one that waits for PD 20 s.
            reconcile_seconds: Histogram::new(exponential_buckets(0.005, 4.0, 8)),
            steps: Family::default(),
            api_calls: Family::default(),
            forbidden: Family::default(),
            watch_failures: Family::default(),
            pd_calls: Family::default(),
            store_calls: Family::default(),
            leader: Gauge::default(),
            clusters: Family::default(),
            waits: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let r = &mut registry;
        add(r, names::RECONCILES, self.reconciles.clone());
        add(r, names::RECONCILE_SECONDS, self.reconcile_seconds.clone());
        add(r, names::STEPS, self.steps.clone());
        add(r, names::API_CALLS, self.api_calls.clone());
        add(r, names::FORBIDDEN, self.forbidden.clone());
        add(r, names::WATCH_FAILURES, self.watch_failures.clone());
        add(r, names::PD_CALLS, self.pd_calls.clone());
        add(r, names::STORE_CALLS, self.store_calls.clone());
        add(r, names::LEADER, self.leader.clone());
        add(r, names::CLUSTERS, self.clusters.clone());
        add(r, names::WAITS, self.waits.clone());
    }

    /// Counts a finished pass over one cluster.
    pub fn reconciled(&self, outcome: CallOutcome, took: Duration) {
        self.reconciles.get_or_create(&[("outcome", outcome.as_str())]).inc();
        self.reconcile_seconds.observe(took.as_secs_f64());
    }

    /// Counts a step that was tried.
    pub fn step(&self, step: &'static str, outcome: CallOutcome) {
        self.steps.get_or_create(&[("step", step), ("outcome", outcome.as_str())]).inc();
    }

    /// Counts a call to the API server; watches are not counted.
    pub fn api_call(&self, verb: ApiVerb, resource: &'static str, outcome: CallOutcome) {
        let labels =
            [("verb", verb.as_str()), ("resource", resource), ("outcome", outcome.as_str())];
        self.api_calls.get_or_create(&labels).inc();
    }

    /// Counts a call that the API server refused for lack of permission.
    pub fn forbidden(&self, verb: ApiVerb, resource: &'static str) {
        self.forbidden.get_or_create(&[("verb", verb.as_str()), ("resource", resource)]).inc();
    }

    /// Counts a watch that failed and is opened again.
    pub fn watch_failed(&self, resource: &'static str) {
        self.watch_failures.get_or_create(&[("resource", resource)]).inc();
    }

    /// Counts a question to PD.
    pub fn pd_call(&self, endpoint: PdEndpoint, outcome: PdOutcome) {
        count(&self.pd_calls, endpoint.as_str(), outcome);
    }

    /// Counts a change in PD.
    pub fn pd_change(&self, change: PdChange, outcome: PdOutcome) {
        count(&self.pd_calls, change.as_str(), outcome);
    }

    /// Counts a call to the status port of a store.
    pub fn store_call(&self, endpoint: StoreEndpoint, outcome: PdOutcome) {
        count(&self.store_calls, endpoint.as_str(), outcome);
    }

    /// Says whether this replica holds the lease.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Replaces the numbers of clusters by condition and of waits by rule.
    pub fn set_census(&self, census: &Census) {
        let (clusters, waits) = census.count();
        set_all(&self.clusters, &clusters, |(kind, status)| {
            [("condition", *kind), ("status", *status)]
        });
        set_all(&self.waits, &waits, |rule| [("rule", *rule)]);
    }

    /// All metrics in the text format that Prometheus scrapes.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

fn count(family: &Family<Labels<2>, Counter>, endpoint: &'static str, outcome: PdOutcome) {
    family.get_or_create(&[("endpoint", endpoint), ("outcome", outcome.as_str())]).inc();
}

fn add(registry: &mut Registry, name: &'static str, metric: impl Metric) {
    let help = METRICS.iter().find(|row| row.name == name).map_or("", |row| row.help);
    // The encoder adds `_total` to counters and a full stop to help texts by itself.
    registry.register(name.trim_end_matches("_total"), help.trim_end_matches('.'), metric);
}

/// Sets the gauges of a family to `counts` and all others that it has ever had to 0 by forgetting
/// them.
fn set_all<K: Ord, const N: usize>(
    family: &Family<Labels<N>, Gauge>,
    counts: &BTreeMap<K, i64>,
    labels: impl Fn(&K) -> Labels<N>,
) {
    family.clear();
    for (key, count) in counts {
        family.get_or_create(&labels(key)).set(*count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_metric_is_exposed_under_its_name() {
        let metrics = Metrics::new();
        metrics.reconciled(CallOutcome::Ok, Duration::from_millis(3));
        metrics.step("create", CallOutcome::Ok);
        metrics.api_call(ApiVerb::Create, "pods", CallOutcome::Failed);
        metrics.forbidden(ApiVerb::Create, "pods");
        metrics.watch_failed("pods");
        metrics.pd_call(PdEndpoint::Members, PdOutcome::Ok);
        metrics.pd_change(PdChange::Evict, PdOutcome::Ok);
        metrics.store_call(StoreEndpoint::Leaders, PdOutcome::Ok);
        metrics.set_leader(true);
        let mut census = Census::default();
        let row = ClusterRow { conditions: vec![("Ready", "True")], rules: vec!["a-rule"] };
        census.set("ns/a", Some(row));
        metrics.set_census(&census);
        let text = metrics.encode().unwrap();
        for row in METRICS {
            assert!(
                text.contains(&format!("\n# TYPE {}", row.name.trim_end_matches("_total")))
                    || text.starts_with(&format!("# HELP {}", row.name.trim_end_matches("_total"))),
                "{}\n{text}",
                row.name
            );
            assert!(text.contains(&format!("\n{}", row.name)), "{}\n{text}", row.name);
        }
        assert!(text.contains("tikv_operator_clusters{condition=\"Ready\",status=\"True\"} 1"));
    }

    #[test]
    fn a_cluster_that_left_is_no_longer_counted() {
        let metrics = Metrics::new();
        let mut census = Census::default();
        let row = ClusterRow { conditions: vec![("Ready", "False")], rules: vec!["a-rule"] };
        census.set("ns/a", Some(row));
        metrics.set_census(&census);
        census.set("ns/a", None);
        metrics.set_census(&census);
        let text = metrics.encode().unwrap();
        assert!(!text.contains("a-rule"), "{text}");
    }
}
