//! Which Job does a run get, and how does the one follow the other?

use jiff::SignedDuration;
use serde_json::{Value, json};
use tikv_operator_api::v1alpha1::RunOutcome as R;

use super::super::fixture::{Stage, again, calls, cordon, hook, manifest, now, outcomes, task};
use super::*;

#[test]
fn an_event_is_one_job_whose_end_is_the_runs() {
    for (state, outcome) in
        [(JobState::Complete, R::Succeeded), (JobState::Failed("Backoff: no".into()), R::Failed)]
    {
        let mut stage = Stage::new(&json!({"events": ["NodeCordoned"]}));
        cordon(&mut stage, 0..1);
        let plan = stage.pass();
        assert_eq!(plan.status.runs.len(), 1, "persisted with the step that follows from it");
        let [TaskStep::CreateJob { key, job }] = plan.steps.as_slice() else { panic!("{plan:?}") };
        assert_eq!(job["metadata"]["name"], format!("t-{key}"));
        assert_eq!(outcomes(&stage), [R::Running]);
        assert!(stage.pass().steps.is_empty());
        stage.wait(SignedDuration::from_secs(7));
        stage.end_jobs(&state);
        stage.pass();
        let run = &stage.runs()[0];
        assert_eq!((run.outcome, run.seconds, run.attempts), (outcome, Some(7), 1));
        let status = &stage.world.task.status;
        assert_eq!(status.last_outcome.as_deref(), Some(outcome.as_str()));
        let condition = status.conditions.iter().find(|c| c.type_ == "Failed").expect("condition");
        assert_eq!(condition.status == "True", outcome == R::Failed);
        assert_eq!((status.active, status.clusters[0].starts.len()), (0, 1));
    }
}

#[test]
fn jobs_that_were_not_read_yet_are_not_made_again() {
    let mut stage = Stage::new(&json!({"events": ["NodeCordoned"]}));
    stage.world.jobs = None;
    cordon(&mut stage, 0..1);
    assert!(stage.pass().steps.is_empty());
    assert_eq!(outcomes(&stage), [R::Pending]);
    stage.world.jobs = Some(std::collections::BTreeMap::new());
    assert_eq!(stage.pass().steps.len(), 1);
}

#[test]
fn a_compaction_is_a_job_of_tikv_s_image() {
    let mut stage = Stage::new(&json!({
        "events": ["NodeCordoned"], "run": {"compact": {"bottommost": true, "threads": 2}},
    }));
    stage.spec = json!({
        "imagePullPolicy": "Always", "imagePullSecrets": [{"name": "registry"}],
        "tikv": {"tolerations": [{"key": "stores", "operator": "Exists"}]},
    });
    stage.report_cluster();
    cordon(&mut stage, 0..1);
    let plan = stage.pass();
    let [TaskStep::CreateJob { job, .. }] = plan.steps.as_slice() else { panic!("{plan:?}") };
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry"}]));
    assert_eq!(pod["tolerations"][0]["key"], "stores");
    let lists = ["initContainers", "containers"].map(|list| pod[list].as_array().expect("a list"));
    let mut families = Vec::new();
    for container in lists.into_iter().flatten() {
        assert_eq!(container["image"], "pingcap/tikv:v8.5.7");
        assert_eq!(container["imagePullPolicy"], "Always");
        let args = container["args"].as_array().expect("a list").iter();
        let args: Vec<&str> = args.filter_map(Value::as_str).collect();
        let line = args.join(" ");
        let rest = line.strip_prefix("--pd c-pd.ns.svc:2379 compact-cluster -d kv -c ");
        let family = rest.and_then(|rest| rest.strip_suffix(" -b force -n 2")).expect("a family");
        families.push(family.to_owned());
    }
    assert_eq!(families, ["default", "write", "lock"]);
}

#[test]
fn a_job_knows_its_event_and_belongs_to_its_task() {
    let template = json!({"metadata": {"labels": {"team": "a"}}, "spec": {
        "ttlSecondsAfterFinished": 1,
        "template": {"metadata": {"annotations": {"mine": "too"}}, "spec": {
            "containers": [{"name": "a", "image": "b", "env": [{"name": "X", "value": "$(TIKV_POD)"},
                {"name": "TIKV_EVENT", "value": "mine"}]}],
            "initContainers": [{"name": "i", "image": "b"}],
        }},
    }});
    let mut stage = Stage::new(&json!({
        "events": ["StoreDown"], "serviceAccountName": "worker", "timeout": "90s", "backoffLimit": 1,
        "run": {"job": {"template": template}},
    }));
    stage.store(2).state = crate::world::StoreState::Down;
    stage.report_cluster();
    let plan = stage.pass();
    let [TaskStep::CreateJob { key, job }] = plan.steps.as_slice() else { panic!("{plan:?}") };
    let owner = &job["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["uid"]), (&json!("TikvTask"), &json!("uid-of-task")));
    assert_eq!(job["metadata"]["namespace"], "ns");
    assert_eq!(job["metadata"]["labels"]["team"], "a");
    assert_eq!(job["metadata"]["labels"]["tikv.org/task-run"], json!(key));
    let spec = &job["spec"];
    assert_eq!((&spec["backoffLimit"], &spec["activeDeadlineSeconds"]), (&json!(1), &json!(90)));
    assert_eq!(spec.get("ttlSecondsAfterFinished"), None, "its end would not be seen");
    let pod = &spec["template"];
    let manager = "app.kubernetes.io/managed-by";
    assert_eq!(job["metadata"]["labels"][manager], "tikv-operator");
    assert_eq!(
        pod["metadata"]["labels"].get(manager),
        None,
        "the watches of clusters select by it"
    );
    assert_eq!(pod["spec"]["serviceAccountName"], "worker");
    assert_eq!(pod["spec"]["restartPolicy"], "Never");
    assert_eq!(pod["metadata"]["annotations"]["mine"], "too");
    let event = pod["metadata"]["annotations"][EVENT_ANNOTATION].as_str().expect("an event");
    let event: Value = serde_json::from_str(event).expect("JSON");
    assert_eq!(event["type"], "org.tikv.cluster.StoreDown");
    assert_eq!((&event["id"], &event["data"]["pod"]), (&json!(key), &json!("c-tikv-1")));
    for list in ["containers", "initContainers"] {
        let container = &pod["spec"][list][0];
        assert_eq!(container["volumeMounts"][0]["mountPath"], "/etc/tikv-event");
        let env = container["env"].as_array().expect("a list");
        let value = |name: &str| {
            let all: Vec<&Value> = env.iter().filter(|v| v["name"] == name).collect();
            assert_eq!(all.len(), 1, "{name}");
            all[0]["value"].as_str().expect("text").to_owned()
        };
        assert_eq!(value("TIKV_EVENT"), "StoreDown");
        assert_eq!(value("TIKV_PD"), "c-pd.ns.svc:2379");
        assert_eq!(value("TIKV_EVENT_KEY"), key.as_str());
    }
    let typed: Result<k8s_openapi::api::batch::v1::Job, _> = serde_json::from_value(job.clone());
    assert!(typed.is_ok(), "{typed:?}");
}

#[test]
fn an_edit_of_what_is_done_ends_the_job_that_goes_on() {
    let mut stage = Stage::new(&json!({"events": ["NodeCordoned"]}));
    cordon(&mut stage, 0..1);
    stage.pass();
    assert_eq!(outcomes(&stage), [R::Running]);
    stage.task = task(&hook(&json!({})));
    let plan = stage.pass();
    assert_eq!(calls(&plan), 0, "no call under the key of a Job");
    assert!(matches!(plan.steps.as_slice(), [TaskStep::DeleteJob { .. }]), "{:?}", plan.steps);
    assert_eq!(outcomes(&stage), [R::Failed]);
}

#[test]
fn a_job_ends_its_run_though_the_spec_is_not_valid_any_more() {
    let mut stage = Stage::new(&json!({"events": ["NodeCordoned"]}));
    cordon(&mut stage, 0..1);
    stage.pass();
    stage.end_jobs(&JobState::Complete);
    let bad = manifest(&hook(&json!({"when": "event.type =="})));
    let rejection = check_task(&bad, now()).expect_err("bad");
    let status = rejected(&stage.world, &rejection);
    assert_eq!((status.runs[0].outcome, status.active), (R::Succeeded, 0));
}

/// `kubectl delete job` stops the attempt, and what is made again after it is bounded.
#[test]
fn a_job_that_somebody_deletes_is_a_failed_attempt() {
    let mut stage = Stage::new(&json!({"events": ["NodeCordoned"], "backoffLimit": 1}));
    cordon(&mut stage, 0..1);
    for attempt in [1, 2] {
        let plan = stage.pass();
        assert!(matches!(plan.steps.as_slice(), [TaskStep::CreateJob { .. }]), "{plan:?}");
        stage.pass();
        stage.world.jobs.as_mut().expect("jobs").clear();
        let plan = stage.pass();
        assert!(matches!(plan.steps.as_slice(), [TaskStep::FindJob { .. }]), "{plan:?}");
        assert_eq!(stage.runs()[0].attempts, attempt);
        assert!(stage.pass().steps.is_empty(), "after a pause, if at all");
        stage.wait(SignedDuration::from_secs(10));
    }
    assert_eq!(outcomes(&stage), [R::Failed]);
    assert!(stage.runs()[0].message.as_ref().expect("words").contains("deleted"));
    assert!(stage.pass().steps.is_empty());
}

/// It exists, and the watch lags.
#[test]
fn a_job_that_the_watch_does_not_know_yet_is_not_made_again() {
    let mut stage = Stage::new(&json!({"events": ["NodeCordoned"]}));
    cordon(&mut stage, 0..1);
    stage.pass();
    stage.world.jobs.as_mut().expect("jobs").clear();
    assert!(plan(&stage.task, &stage.world).steps.is_empty(), "no question each half second");
    for _ in 0..3 {
        stage.wait(SignedDuration::from_secs(10));
        let asked = plan(&stage.task, &stage.world);
        let [TaskStep::FindJob { key, .. }] = asked.steps.as_slice() else { panic!("{asked:?}") };
        let answers = [Answered { key: key.clone(), answer: Answer::Begun }];
        stage.world.task.status = asked.status;
        stage.hear(&answers);
        assert_eq!((outcomes(&stage), stage.runs()[0].attempts), (vec![R::Running], 1));
    }
}

#[test]
fn a_run_of_a_task_that_is_not_valid_any_more_ends_with_its_time() {
    let mut stage = Stage::new(&json!({"events": ["NodeCordoned"], "timeout": "30s"}));
    cordon(&mut stage, 0..1);
    stage.pass();
    // A later edit of the limit is not this run's.
    stage.task.timeout = std::time::Duration::from_hours(1);
    let bad = manifest(&hook(&json!({"when": "event.type =="})));
    let rejection = check_task(&bad, now()).expect_err("bad");
    let mut left = |seconds| {
        stage.wait(SignedDuration::from_secs(seconds));
        rejected(&stage.world, &rejection).runs[0].outcome
    };
    assert_eq!(left(29), R::Running);
    assert_eq!(left(1), R::Failed);
}

#[test]
fn a_run_does_not_become_another_verb_s() {
    let mut stage = Stage::new(&hook(&json!({})));
    cordon(&mut stage, 0..1);
    assert_eq!(calls(&stage.pass()), 1);
    stage.task = task(&json!({
        "events": ["NodeCordoned"], "serviceAccountName": "a", "run": {"scale": {"by": 1}},
    }));
    assert_eq!(calls(&stage.pass()), 0, "not under the key of an HTTP call");
    let run = &stage.runs()[0];
    let words = run.message.as_deref().expect("words");
    assert!(run.outcome == R::Failed && words.contains("was http"), "{words}");
}

#[test]
fn a_compaction_without_a_valid_cluster_fails_and_says_why() {
    let mut stage = Stage::new(&json!({"events": ["NodeCordoned"], "run": {"compact": {}}}));
    stage.world.clusters.get_mut("c").expect("a cluster").tikv_image = None;
    cordon(&mut stage, 0..1);
    assert!(stage.pass().steps.is_empty());
    let words = stage.runs()[0].message.as_deref().expect("words");
    assert!(words.contains("no spec of the cluster is valid"), "{words}");
}

/// The answer to its creation was lost, or came after another replica's attempt.
#[test]
fn a_job_that_is_there_was_made_whatever_was_answered() {
    let mut stage = Stage::new(&json!({"events": ["NodeCordoned"], "backoffLimit": 0}));
    cordon(&mut stage, 0..1);
    stage.pass();
    let answers = [Answered { key: stage.runs()[0].key.clone(), answer: again() }];
    let checked = Ok(std::sync::Arc::new(stage.task.clone()));
    let plan = turn(&checked, stage.world.clone(), &answers);
    assert_eq!(plan.steps, [], "it goes on");
    stage.world.task.status = plan.status;
    assert_eq!(outcomes(&stage), [R::Running]);
    stage.end_jobs(&JobState::Complete);
    stage.pass();
    assert_eq!(outcomes(&stage), [R::Succeeded]);
}

/// A deletion that fails, or an operator that ends before it, is made good by a later pass.
#[test]
fn a_run_is_remembered_until_its_job_goes() {
    for limit in ["failedRunsHistoryLimit", "ttlSecondsAfterFinished"] {
        let spec = json!({"events": ["NodeCordoned"], "timeout": "30s", limit: 0});
        let mut stage = Stage::new(&spec);
        cordon(&mut stage, 0..1);
        stage.pass();
        stage.wait(SignedDuration::from_secs(30));
        for _ in 0..3 {
            let plan = plan(&stage.task, &stage.world);
            let [TaskStep::DeleteJob { .. }] = plan.steps.as_slice() else { panic!("{plan:?}") };
            assert!(plan.wake > std::time::Duration::from_mins(1), "nothing is due: {plan:?}");
            // The status was written, and the operator ended.
            stage.world.task.status = plan.status;
            assert_eq!(outcomes(&stage), [R::Failed], "{limit}");
        }
        let jobs = stage.world.jobs.take();
        stage.pass();
        assert_eq!(stage.runs().len(), 1, "{limit}: whether its Job goes on is not known");
        stage.world.jobs = jobs;
        for job in stage.world.jobs.iter_mut().flatten().map(|(_, job)| job) {
            job.deleting = true;
        }
        assert_eq!(stage.pass().steps, []);
        assert_eq!(stage.runs(), [], "{limit}");
    }
}

#[test]
fn a_run_takes_its_job_along_though_the_spec_is_not_valid_any_more() {
    let mut stage = Stage::new(&json!({"events": ["NodeCordoned"], "timeout": "30s"}));
    cordon(&mut stage, 0..1);
    stage.pass();
    let bad = manifest(&hook(&json!({"when": "event.type =="})));
    let rejection = check_task(&bad, now()).map(std::sync::Arc::new);
    assert_eq!(turn(&rejection, stage.world.clone(), &[]).steps, [], "its time is not over");
    stage.wait(SignedDuration::from_secs(30));
    let plan = turn(&rejection, stage.world.clone(), &[]);
    assert!(matches!(plan.steps.as_slice(), [TaskStep::DeleteJob { .. }]), "{plan:?}");
}
