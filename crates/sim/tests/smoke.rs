use serde_json::json;
use tikv_operator_sim::harness::Harness;

#[test]
fn create() {
    let mut h = Harness::new(1);
    h.create("c", json!({"pd": {"replicas": 3}, "tikv": {"replicas": 3}})).unwrap();
    let took = h.settle(300);
    eprintln!("took {took:?} at {}", h.universe.now);
    for (verb, key) in &h.writes { eprintln!("{} {key}", verb.as_str()); }
    eprintln!("writes {}", h.writes.len());
    eprintln!("{}", serde_json::to_string_pretty(h.universe.kube.get("TikvCluster","c").unwrap()).unwrap());
    for f in &h.auditor.findings { eprintln!("{f}"); }
    if took.is_none() { for p in h.universe.kube.list("Pod") { eprintln!("{}", serde_json::to_string(p).unwrap()); } for p in h.universe.kube.list("ConfigMap") { eprintln!("{}", serde_json::to_string(p).unwrap()); }
      eprintln!("{:#?}", h.universe.pd); }
    eprintln!("{:?}", h.stay_quiet(600));
    for f in &h.auditor.findings { eprintln!("{f}"); }
}
