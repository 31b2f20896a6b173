//! Does SIGTERM end an operator in time, whatever it is waiting for?

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use tokio::{net::TcpListener, sync::mpsc};

use crate::{
    PATIENCE,
    operator::{Operator, create_cluster},
    stage::Stage,
};

/// A server that hears questions and never answers one; says when it hears one.
async fn mute() -> (String, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (questions, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            open.push(stream);
            let _ = questions.send(());
        }
    });
    (address, heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn f04_sigterm_while_pd_hangs_ends_at_once_and_gives_the_lease_back() {
    let stage = Stage::new("end-mute", "c").await;
    create_cluster(&stage.admin, &stage.namespace, "c").await;
    let (pd, mut heard) = mute().await;
    let client = Client::try_from(stage.config.clone()).unwrap();
    let operator = Operator::start(client, &stage.namespace, "operator", &pd);
    tokio::time::timeout(PATIENCE, heard.recv()).await.expect("PD is asked").unwrap();
    let start = Instant::now();
    let took = operator.end().await;
    println!("ended {took:?} after SIGTERM while PD hangs");
    assert!(took < Duration::from_secs(4), "{took:?} of the 10 s that the Deployment gives");
    let leases: Api<Lease> = Api::namespaced(stage.admin.clone(), &stage.namespace);
    let holder = leases.get("operator").await.unwrap().spec.unwrap().holder_identity;
    assert_eq!(holder.unwrap_or_default(), "", "given back, {:?} after SIGTERM", start.elapsed());
}
