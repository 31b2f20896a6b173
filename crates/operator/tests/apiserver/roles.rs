//! What if the operator's role lacks a verb for a while?

use std::sync::Arc;

use kube::Client;
use serde_json::json;
use tikv_operator::grants::{GRANTS, Grant, OWN_GRANTS};

use crate::{
    PATIENCE,
    kubelet::Kubelet,
    operator::{create_cluster, flags, has, wait_for},
    pd::Pd,
    server::{apply, role, server},
};

/// The grants without `create` on what clusters are made of.
fn without_create() -> Vec<Grant> {
    let keep: &[&str] = &["get", "list", "watch", "patch", "delete"];
    let limited = |grant: &Grant| {
        if grant.resources.contains(&"pods") { Grant { verbs: keep, ..*grant } } else { *grant }
    };
    GRANTS.iter().map(limited).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_verb_is_named_in_the_status_and_its_return_needs_no_restart() {
    let server = server().await;
    let namespace = server.namespace("roles").await;
    let admin = server.admin();
    let (config, user) = server.operator();
    // This user's role is its own, beside that of all operators: it acts under another name.
    let name = format!("{user}-limited");
    let account = |grants: &[Grant]| role(&name, grants, OWN_GRANTS);
    apply(&admin, &account(&without_create())).await;
    apply(&admin, &json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
        "subjects": [{ "kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io" }],
    }))
    .await;
    let mut config = config;
    config.auth_info.token = Some("admin-token".to_owned().into());
    config.auth_info.impersonate = Some(name.clone());

    let pd = Pd::run(&admin, &namespace, "c").await;
    let _kubelet = Kubelet::run(&admin, &namespace, Arc::new(|_| true));
    create_cluster(&admin, &namespace, "c").await;
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let flags = flags(&namespace, "roles", &pd.address);
    let client = Client::try_from(config).unwrap();
    let access = tikv_operator::run::Access { client, accounts: None };
    let task = tokio::spawn(async move { tikv_operator::run::run(&flags, access, stopped).await });
    wait_for(&admin, &namespace, "c", PATIENCE, |resource| {
        resource["status"].to_string().contains("cannot create resource")
    })
    .await;
    apply(&admin, &account(GRANTS)).await;
    wait_for(&admin, &namespace, "c", PATIENCE, |resource| has(resource, "Ready", "True")).await;
    task.abort();
}
