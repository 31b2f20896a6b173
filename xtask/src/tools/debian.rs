//! Which of the machine's own programs are needed, and who installs those that are missing?

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{INSTEAD, shell};

/// A Debian package, and the program or file by which its presence is known.
#[derive(Debug)]
pub(crate) struct Package {
    name: &'static str,
    /// A program in `PATH`, or a file if it begins with `/`.
    proof: &'static str,
}

const fn package(name: &'static str, proof: &'static str) -> Package {
    Package { name, proof }
}

/// What building a program with C parts takes.
pub(crate) const FOR_CGO: &[Package] = &[
    package("gcc", "gcc"),
    package("libc6-dev", "/usr/include/stdio.h"),
    package("pkg-config", "pkg-config"),
    package("libseccomp-dev", "/usr/include/seccomp.h"),
];

/// What a running lab calls.
pub(crate) const FOR_LAB: &[Package] = &[
    package("iproute2", "ip"),
    package("iptables", "iptables"),
    package("util-linux", "nsenter"),
    package("mount", "mount"),
    package("openssl", "openssl"),
    package("busybox-static", "busybox"),
];

/// Installs the packages that are missing; one sentence says so where that is not possible.
pub(crate) fn ensure(packages: &[Package]) -> Result<()> {
    let missing: Vec<&str> = packages
        .iter()
        .filter(|package| !is_present(package))
        .map(|package| package.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if shell::find("apt-get").is_none() {
        bail!(
            "this machine is not a Debian and lacks the programs of these packages: {list}; {INSTEAD}"
        );
    }
    if !rustix::process::geteuid().is_root() {
        bail!(
            "these Debian packages are missing, and installing them needs root: {list}; {INSTEAD}"
        );
    }
    eprintln!("installing Debian packages: {list}");
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
        command
    };
    let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
    install.extend(&missing);
    if shell::output(&mut apt(&install)).is_err() {
        // A fresh machine has no package lists yet, or old ones.
        shell::output(&mut apt(&["update", "-qq"])).context("cannot refresh Debian's lists")?;
        shell::output(&mut apt(&install)).context("cannot install Debian packages")?;
    }
    Ok(())
}

fn is_present(package: &Package) -> bool {
    if package.proof.starts_with('/') {
        Path::new(package.proof).exists()
    } else {
        shell::find(package.proof).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presence_is_judged_by_program_or_file() {
        assert!(is_present(&package("dash", "sh")));
        assert!(is_present(&package("base-files", "/etc")));
        assert!(!is_present(&package("none", "no-such-program-here")));
        assert!(!is_present(&package("none", "/no/such/file")));
    }
}
