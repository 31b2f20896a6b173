//! Who is who in the lab: certificates, keys and kubeconfigs.
//!
//! One authority signs everything; it and all keys end with the lab.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::Lab;
use super::topology::{API_SERVICE_ADDRESS, CLUSTER_DOMAIN, CONTROL_ADDRESS, Layout, Machine};
use crate::tools::shell;

/// Address of the API server.
pub(crate) const API_SERVER: &str = "https://10.90.0.1:6443";

/// One certificate to make.
struct Identity<'a> {
    /// File name without its ending.
    name: &'a str,
    /// User name, or the server's name.
    user: &'a str,
    /// Kubernetes group; empty for none.
    group: &'a str,
    /// What a server is reached as; empty for a client.
    addresses: String,
}

/// Makes what is missing of the authority and all certificates and kubeconfigs.
pub(crate) fn create(layout: &Layout, nodes: &[Machine]) -> Result<()> {
    let dir = layout.pki();
    fs::create_dir_all(&dir)?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
    authority(&dir)?;
    service_account_key(&dir)?;
    let server_names = format!(
        "IP:{CONTROL_ADDRESS},IP:{API_SERVICE_ADDRESS},DNS:kubernetes,DNS:kubernetes.default,\
         DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.{CLUSTER_DOMAIN}"
    );
    let client = |name, user, group| Identity { name, user, group, addresses: String::new() };
    let mut identities = vec![
        Identity { name: "apiserver", user: "kube-apiserver", group: "", addresses: server_names },
        client("apiserver-kubelet", "kube-apiserver-kubelet-client", "system:masters"),
        client("admin", "lab-admin", "system:masters"),
        client("controller-manager", "system:kube-controller-manager", ""),
        client("scheduler", "system:kube-scheduler", ""),
        client("proxy", "system:kube-proxy", ""),
        client("coredns", "system:coredns", ""),
        client("local-volumes", "lab:local-volumes", ""),
    ];
    let users: Vec<(String, String)> = nodes
        .iter()
        .map(|node| (format!("{}-client", node.name), format!("system:node:{}", node.name)))
        .collect();
    for ((name, user), node) in users.iter().zip(nodes) {
        let addresses = format!("IP:{},DNS:{}", node.address(), node.name);
        identities.push(client(name, user, "system:nodes"));
        identities.push(Identity { name: &node.name, user: &node.name, group: "", addresses });
    }
    for identity in &identities {
        certificate(&dir, identity)?;
        if identity.addresses.is_empty() {
            kubeconfig(&dir, identity.name)?;
        }
    }
    let admin = fs::read(kubeconfig_of(layout, "admin"))?;
    super::state::write_atomically(&layout.kubeconfig(), &admin)
}

/// The kubeconfig of one of the identities above.
pub(crate) fn kubeconfig_of(layout: &Layout, name: &str) -> PathBuf {
    layout.pki().join(format!("{name}.kubeconfig"))
}

fn authority(dir: &Path) -> Result<()> {
    if dir.join("ca.crt").exists() {
        return Ok(());
    }
    let mut command =
        request(dir, "ca", "/CN=tikv-operator-lab", "basicConstraints=critical,CA:TRUE")?;
    shell::output(command.args(["-addext", "keyUsage=critical,keyCertSign,cRLSign"]))?;
    finish(dir, "ca")
}

fn certificate(dir: &Path, identity: &Identity<'_>) -> Result<()> {
    if dir.join(format!("{}.crt", identity.name)).exists() {
        return Ok(());
    }
    let subject = if identity.group.is_empty() {
        format!("/CN={}", identity.user)
    } else {
        format!("/O={}/CN={}", identity.group, identity.user)
    };
    let mut command = request(dir, identity.name, &subject, "basicConstraints=critical,CA:FALSE")?;
    command.arg("-CA").arg(dir.join("ca.crt")).arg("-CAkey").arg(dir.join("ca.key"));
    if identity.addresses.is_empty() {
        command.args(["-addext", "extendedKeyUsage=clientAuth"]);
    } else {
        command.args(["-addext", "extendedKeyUsage=serverAuth"]);
        command.args(["-addext", &format!("subjectAltName={}", identity.addresses)]);
    }
    shell::output(&mut command)?;
    finish(dir, identity.name)
}

/// A command that makes a key and a certificate under temporary names.
fn request(dir: &Path, name: &str, subject: &str, constraint: &str) -> Result<Command> {
    // The distribution's own configuration would add extensions that contradict ours.
    let config = dir.join("openssl.cnf");
    fs::write(&config, "[req]\ndistinguished_name = name\nprompt = no\n[name]\n")?;
    let mut command = Command::new("openssl");
    command
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-sha256", "-days", "3650", "-subj", subject, "-addext", constraint])
        .arg("-config")
        .arg(config)
        .arg("-keyout")
        .arg(dir.join(format!("{name}.key")))
        .arg("-out")
        .arg(dir.join(format!("{name}.new")));
    Ok(command)
}

/// The certificate appears by a rename, after its key: an interrupted start never leaves half a pair.
fn finish(dir: &Path, name: &str) -> Result<()> {
    fs::rename(dir.join(format!("{name}.new")), dir.join(format!("{name}.crt")))
        .with_context(|| format!("cannot place the certificate {name}"))
}

fn service_account_key(dir: &Path) -> Result<()> {
    let key = dir.join("service-accounts.key");
    if !key.exists() {
        let made = dir.join("service-accounts.new");
        shell::output(
            Command::new("openssl")
                .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out"])
                .arg(&made),
        )?;
        fs::rename(made, key)?;
    }
    Ok(())
}

fn kubeconfig(dir: &Path, name: &str) -> Result<()> {
    let read = |file: String| -> Result<String> {
        let path = dir.join(file);
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(base64(&text))
    };
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": Lab::CONTEXT,
        "contexts": [{
            "name": Lab::CONTEXT,
            "context": {"cluster": Lab::CONTEXT, "user": name},
        }],
        "clusters": [{
            "name": Lab::CONTEXT,
            "cluster": {
                "server": API_SERVER,
                "certificate-authority-data": read("ca.crt".to_owned())?,
            },
        }],
        "users": [{
            "name": name,
            "user": {
                "client-certificate-data": read(format!("{name}.crt"))?,
                "client-key-data": read(format!("{name}.key"))?,
            },
        }],
    });
    let path = dir.join(format!("{name}.kubeconfig"));
    super::state::write_atomically(&path, serde_json::to_string_pretty(&config)?.as_bytes())
}

/// Standard base64 with padding (RFC 4648): the one thing for which no crate is worth its weight here.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| (group << 8) | u32::from(*byte))
            << (8 * 3_usize.saturating_sub(chunk.len()));
        for place in 0..4_usize {
            if place > chunk.len() {
                text.push('=');
                continue;
            }
            let index = (group >> (18 - 6 * place)) & 63;
            let letter = usize::try_from(index).ok().and_then(|at| LETTERS.get(at));
            text.push(letter.map_or('=', |letter| char::from(*letter)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_follows_the_examples_of_the_standard() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xff, 0xfe]), "//4=");
    }
}
