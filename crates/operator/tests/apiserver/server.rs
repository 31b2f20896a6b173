//! One etcd and one kube-apiserver for all tests of this binary.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use base64::Engine as _;
use http::Uri;
use kube::{
    Api, Client, Config,
    api::{DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use ring::{
    rand::SystemRandom,
    signature::{self, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use tikv_operator::grants::{CLUSTER_GRANTS, GRANTS, Grant, OWN_GRANTS};

/// Users with the operator's role. Each test takes its own, so that calls can be counted.
const OPERATORS: usize = 80;

pub(crate) struct Server {
    port: u16,
    directory: PathBuf,
    taken: AtomicUsize,
}

static SERVER: OnceLock<Server> = OnceLock::new();
static PREPARED: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();

/// The server, started at the first call and set up with the CRD and the operator's role.
pub(crate) async fn server() -> &'static Server {
    let server = SERVER.get_or_init(Server::start);
    PREPARED.get_or_init(|| server.prepare()).await;
    server
}

/// The program that a variable names.
pub(crate) fn program(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).unwrap_or_else(|| {
        panic!("{variable} must name a program (`cargo xtask tools` prints where they are)")
    });
    PathBuf::from(path)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts a program that is killed when this process ends, however it ends: a shell waits on a
/// pipe that only this process holds open.
fn start(directory: &Path, name: &str, program: &Path, args: &[String]) {
    let script = r#"trap '' INT TERM HUP; log=$1; shift; "$@" >"$log" 2>&1 </dev/null & child=$!
        read _; kill -9 $child; wait $child 2>/dev/null; rm -rf "$(dirname "$log")""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(directory.join(format!("{name}.log"))).arg(program);
    let child = command.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    // Its stdin stays open until this process ends.
    std::mem::forget(child);
}

impl Server {
    fn start() -> Self {
        let (etcd, apiserver) = (program("TEST_ETCD"), program("TEST_KUBE_APISERVER"));
        let directory = std::env::temp_dir().join(format!("apiserver-test-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = |name: &str, content: &str| {
            std::fs::write(directory.join(name), content).unwrap();
            directory.join(name).display().to_string()
        };
        let (client, peer, port) = (free_port(), free_port(), free_port());
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let args = [
            format!("--data-dir={}", directory.join("etcd").display()),
            format!("--listen-client-urls={}", url(client)),
            format!("--advertise-client-urls={}", url(client)),
            format!("--listen-peer-urls={}", url(peer)),
            format!("--initial-advertise-peer-urls={}", url(peer)),
            format!("--initial-cluster=default={}", url(peer)),
            "--unsafe-no-fsync".to_owned(),
        ];
        start(&directory, "etcd", &etcd, &args);
        let tokens: String = (0..OPERATORS)
            .map(|n| format!("operator-token-{n},operator-{n},{n},operators\n"))
            .chain(["admin-token,admin,admin,system:masters\n".to_owned()])
            .collect();
        let policy = json!({
            "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
            "rules": [{ "level": "Metadata", "userGroups": ["operators"] }, { "level": "None" }],
        });
        let (private, public) = new_key();
        let (private, public) = (file("private.pem", &private), file("public.pem", &public));
        let args = [
            format!("--etcd-servers={}", url(client)),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--cert-dir={}", directory.join("certs").display()),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            "--service-account-issuer=https://127.0.0.1".to_owned(),
            format!("--service-account-key-file={public}"),
            format!("--service-account-signing-key-file={private}"),
            format!("--token-auth-file={}", file("tokens.csv", &tokens)),
            "--authorization-mode=RBAC".to_owned(),
            // Nobody makes the service accounts that pods would need.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            format!("--audit-policy-file={}", file("audit.json", &policy.to_string())),
            format!("--audit-log-path={}", directory.join("audit.log").display()),
        ];
        start(&directory, "apiserver", &apiserver, &args);
        Self { port, directory, taken: AtomicUsize::new(0) }
    }

    fn config(&self, token: &str) -> Config {
        let uri: Uri = format!("https://127.0.0.1:{}", self.port).parse().unwrap();
        let mut config = Config::new(uri);
        config.accept_invalid_certs = true;
        config.auth_info.token = Some(token.to_owned().into());
        config
    }

    /// A client that may do everything, for this test's runtime.
    pub(crate) fn admin(&self) -> Client {
        Client::try_from(self.config("admin-token")).unwrap()
    }

    /// The configuration of a new user with exactly the operator's role, and its name.
    pub(crate) fn operator(&self) -> (Config, String) {
        let n = self.taken.fetch_add(1, Ordering::Relaxed);
        assert!(n < OPERATORS, "too few users");
        (self.config(&format!("operator-token-{n}")), format!("operator-{n}"))
    }

    /// The end of the API server's log.
    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.directory.join("apiserver.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    /// A kubeconfig of a new user with the operator's role.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        let n = self.taken.fetch_add(1, Ordering::Relaxed);
        assert!(n < OPERATORS, "too few users");
        self.kubeconfig_of(&format!("operator-token-{n}"))
    }

    /// A kubeconfig of the administrator.
    pub(crate) fn admin_kubeconfig(&self) -> PathBuf {
        self.kubeconfig_of("admin-token")
    }

    fn kubeconfig_of(&self, token: &str) -> PathBuf {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
            "clusters": [{ "name": "test", "cluster": {
                "server": format!("https://127.0.0.1:{}", self.port),
                "insecure-skip-tls-verify": true } }],
            "users": [{ "name": "test", "user": { "token": token } }],
        });
        let path = self.directory.join(format!("kubeconfig-{token}"));
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    async fn prepare(&self) {
        let client = self.admin();
        let deadline = Instant::now() + Duration::from_mins(1);
        while let Err(error) = client.apiserver_version().await {
            assert!(
                Instant::now() < deadline,
                "the API server does not answer: {error}\n{}",
                self.last_words()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // Roles and namespaces are made by the server itself in its first seconds.
        for crd in [tikv_operator_api::crd(), tikv_operator_api::task_crd()] {
            let crd = serde_json::to_value(crd).unwrap();
            while let Err(error) = try_apply(&client, &crd).await {
                assert!(Instant::now() < deadline, "the CRD does not apply: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        let more = [CLUSTER_GRANTS, OWN_GRANTS].concat();
        apply(&client, &role("operator", GRANTS, &more)).await;
        apply(&client, &binding("operator", "operators")).await;
        for kind in ["TikvCluster", "TikvTask"] {
            let all = api(&client, "tikv.org", kind, "default");
            while all.list(&kube::api::ListParams::default()).await.is_err() {
                assert!(Instant::now() < deadline, "the CRD of {kind} is not served");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// A new namespace under Pod Security "restricted".
    pub(crate) async fn namespace(&self, name: &str) -> String {
        let labels = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
        let body = json!({ "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": name, "labels": labels } });
        apply(&self.admin(), &body).await;
        name.to_owned()
    }

    /// Calls of a user so far, by verb and resource (with subresource). A watch counts when it is
    /// opened.
    pub(crate) fn calls(&self, user: &str) -> BTreeMap<(String, String), usize> {
        let log = std::fs::read_to_string(self.directory.join("audit.log")).unwrap_or_default();
        let mut calls = BTreeMap::new();
        for line in log.lines() {
            // The last line may be half written.
            let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
            let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).unwrap_or("");
            let verb = text("/verb");
            let stage = if verb == "watch" { "ResponseStarted" } else { "ResponseComplete" };
            if text("/user/username") != user || text("/stage") != stage {
                continue;
            }
            let resource = match text("/objectRef/subresource") {
                "" => text("/objectRef/resource").to_owned(),
                sub => format!("{}/{sub}", text("/objectRef/resource")),
            };
            *calls.entry((verb.to_owned(), resource)).or_default() += 1;
        }
        calls
    }
}

/// A key pair for the tokens of service accounts, which nobody uses here but the server insists on.
fn new_key() -> (String, String) {
    // SubjectPublicKeyInfo of a point on P-256 (RFC 5480), up to the point.
    const HEAD: [u8; 26] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08,
        0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    let (algorithm, random) = (&signature::ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let private = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, private.as_ref(), &random).unwrap();
    let public = [&HEAD, pair.public_key().as_ref()].concat();
    let pem = |kind: &str, bytes: &[u8]| {
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n")
    };
    (pem("PRIVATE KEY", private.as_ref()), pem("PUBLIC KEY", &public))
}

/// A cluster role with these grants.
pub(crate) fn role(name: &str, grants: &[Grant], more: &[Grant]) -> Value {
    let rules: Vec<Value> = grants
        .iter()
        .chain(more)
        .map(|g| json!({ "apiGroups": [g.group], "resources": g.resources, "verbs": g.verbs }))
        .collect();
    json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": { "name": name }, "rules": rules })
}

fn binding(name: &str, group: &str) -> Value {
    json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
        "subjects": [{ "kind": "Group", "name": group, "apiGroup": "rbac.authorization.k8s.io" }] })
}

/// An `Api` for any kind; `namespace` empty for what has none.
pub(crate) fn api(client: &Client, group: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let alpha = ["tikv.org", "pingcap.com"].contains(&group);
    let version = if alpha { "v1alpha1" } else { "v1" };
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    if namespace.is_empty() {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, &resource)
    }
}

/// The `Api` for `TikvClusters`.
pub(crate) fn clusters(client: &Client, namespace: &str) -> Api<DynamicObject> {
    api(client, "tikv.org", "TikvCluster", namespace)
}

async fn try_apply(client: &Client, body: &Value) -> kube::Result<()> {
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let group = text("/apiVersion").rsplit_once('/').map_or("", |(group, _)| group);
    let api = api(client, group, text("/kind"), text("/metadata/namespace"));
    let params = PatchParams::apply("test").force();
    api.patch(text("/metadata/name"), &params, &Patch::Apply(body)).await.map(drop)
}

/// Applies a manifest as the administrator.
pub(crate) async fn apply(client: &Client, body: &Value) {
    try_apply(client, body).await.unwrap_or_else(|error| panic!("{error}\n{body:#}"));
}
