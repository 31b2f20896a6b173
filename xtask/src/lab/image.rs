//! How is a container image made without Docker and without a registry?
//!
//! An image is one layer of listed files and an entry point, written as the archive that
//! `docker save` writes. The same files give the same bytes, so that what is unchanged can be known.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::tools::{Binaries, shell};

/// The image that holds a pod's namespaces.
pub(crate) const PAUSE: &str = "localhost/tikv-operator-lab/pause:1";
/// A shell and small tools, for tests; Debian's static busybox.
pub(crate) const BUSYBOX: &str = "localhost/tikv-operator-lab/busybox:1";

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The accounts that programs look up; pods name their users by number.
const PASSWD: &str =
    "root:x:0:0:root:/:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnobody:x:65534:\n";

/// An image that can be loaded into the nodes.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    name: String,
    entrypoint: Vec<String>,
    environment: Vec<String>,
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone)]
enum Entry {
    Bytes(Vec<u8>, u32),
    File(PathBuf),
    Link(String),
    Directory(u32),
}

/// An image as bytes.
#[derive(Debug)]
pub(crate) struct Archive {
    /// Name with tag, as pods write it.
    pub(crate) name: String,
    /// Digest of the image's configuration: the same for the same content.
    pub(crate) id: String,
    /// The tar file.
    pub(crate) bytes: Vec<u8>,
}

impl Image {
    /// An image without programs yet. The name has a tag; the entry point is a path in the image.
    pub(crate) fn new(name: &str, entrypoint: &[&str]) -> Self {
        let mut image = Self {
            name: name.to_owned(),
            entrypoint: entrypoint.iter().map(|word| (*word).to_owned()).collect(),
            environment: vec![PATH.to_owned()],
            entries: BTreeMap::new(),
        };
        image.entries.insert("tmp".to_owned(), Entry::Directory(0o1777));
        image
            .with_file("/etc/passwd", PASSWD.as_bytes())
            .with_file("/etc/group", GROUP.as_bytes())
            .with_file("/etc/nsswitch.conf", b"hosts: files dns\n")
    }

    /// Sets an environment variable of the programs.
    pub(crate) fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push(format!("{name}={value}"));
        self
    }

    /// Adds a readable file.
    pub(crate) fn with_file(mut self, path: &str, content: &[u8]) -> Self {
        self.entries.insert(inside(path), Entry::Bytes(content.to_vec(), 0o644));
        self
    }

    /// Adds a symbolic link.
    pub(crate) fn with_link(mut self, path: &str, target: &str) -> Self {
        self.entries.insert(inside(path), Entry::Link(target.to_owned()));
        self
    }

    /// Adds a program of this machine without its debugging symbols, and the libraries it loads.
    pub(crate) fn with_program(mut self, path: &str, program: &Path) -> Result<Self> {
        self.entries.insert(inside(path), Entry::Bytes(stripped(program)?, 0o755));
        for library in libraries(program)? {
            self.entries.insert(inside(&library.display().to_string()), Entry::File(library));
        }
        Ok(self)
    }

    /// Writes the image as a `docker save` archive.
    pub(crate) fn archive(&self) -> Result<Archive> {
        let layer = self.layer()?;
        let config = serde_json::to_vec(&json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "Entrypoint": self.entrypoint,
                "Env": self.environment,
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))]},
        }))?;
        let id = digest(&config);
        let manifest = serde_json::to_vec(&json!([{
            "Config": format!("{id}.json"),
            "RepoTags": [self.name],
            "Layers": ["layer.tar"],
        }]))?;
        let mut archive = tar::Builder::new(Vec::new());
        append(&mut archive, &format!("{id}.json"), &config, 0o644)?;
        append(&mut archive, "layer.tar", &layer, 0o644)?;
        append(&mut archive, "manifest.json", &manifest, 0o644)?;
        Ok(Archive { name: self.name.clone(), id, bytes: archive.into_inner()? })
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut layer = tar::Builder::new(Vec::new());
        let mut written: Vec<String> = Vec::new();
        for (path, entry) in &self.entries {
            let mut parents: Vec<&Path> = Path::new(path).ancestors().skip(1).collect();
            parents.pop();
            for parent in parents.into_iter().rev() {
                let parent = parent.display().to_string();
                if !written.contains(&parent) && !self.entries.contains_key(&parent) {
                    append_special(&mut layer, &parent, tar::EntryType::Directory, (0o755, ""))?;
                    written.push(parent);
                }
            }
            match entry {
                Entry::Bytes(content, permissions) => {
                    append(&mut layer, path, content, *permissions)?;
                }
                Entry::File(source) => {
                    let content = fs::read(source)
                        .with_context(|| format!("cannot read {}", source.display()))?;
                    append(&mut layer, path, &content, 0o755)?;
                }
                Entry::Link(target) => {
                    append_special(&mut layer, path, tar::EntryType::Symlink, (0o777, target))?;
                }
                Entry::Directory(permissions) => {
                    append_special(
                        &mut layer,
                        path,
                        tar::EntryType::Directory,
                        (*permissions, ""),
                    )?;
                }
            }
        }
        Ok(layer.into_inner()?)
    }
}

impl Archive {
    /// Reads an archive that another program wrote; its name is that of its first tag, if it says one.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut name = String::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries()? {
            let mut entry =
                entry.with_context(|| format!("{} is not a tar file", path.display()))?;
            if entry.path()?.as_ref() == Path::new("manifest.json") {
                let mut text = String::new();
                entry.read_to_string(&mut text)?;
                let manifest: serde_json::Value = serde_json::from_str(&text)?;
                let tag = manifest.pointer("/0/RepoTags/0").and_then(serde_json::Value::as_str);
                tag.unwrap_or_default().clone_into(&mut name);
            }
        }
        Ok(Self { name, id: digest(&bytes), bytes })
    }
}

/// The image of the program that holds a pod's namespaces.
pub(crate) fn pause(binaries: &Binaries) -> Result<Image> {
    Image::new(PAUSE, &["/pause"]).with_program("/pause", binaries.path("pause")?)
}

/// Debian's static busybox with a link for each of its commands.
pub(crate) fn busybox() -> Result<Image> {
    let program = shell::find("busybox").context("Debian's busybox-static is not installed")?;
    let mut image = Image::new(BUSYBOX, &[]).with_program("/bin/busybox", &program)?;
    for command in shell::output(Command::new(&program).arg("--list"))?.lines() {
        if command != "busybox" {
            image = image.with_link(&format!("/bin/{command}"), "busybox");
        }
    }
    Ok(image)
}

/// The shared libraries that a program loads, by the paths at which it looks for them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let Some(ldd) = shell::find("ldd") else {
        bail!("`ldd` is needed to find the libraries of {}", program.display());
    };
    let said = Command::new(ldd).arg(program).output().context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&said.stdout);
    let complaint = String::from_utf8_lossy(&said.stderr);
    if complaint.contains("not a dynamic executable") || text.contains("statically linked") {
        return Ok(Vec::new());
    }
    if !said.status.success() {
        bail!("ldd does not understand {}: {}", program.display(), complaint.trim());
    }
    let mut found = parse_ldd(&text)?;
    // glibc before 2.34 looks names up by libraries that it loads at run time.
    for directory in found.clone().iter().filter_map(|library| {
        library.ends_with("libc.so.6").then(|| library.parent().map(Path::to_path_buf)).flatten()
    }) {
        let plugins = ["libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2"];
        found.extend(plugins.map(|name| directory.join(name)).into_iter().filter(|l| l.exists()));
    }
    Ok(found)
}

fn parse_ldd(text: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.ends_with("not found") {
            bail!("a library is missing on this machine: {line}");
        }
        let path = line.split_once("=> ").map_or(line, |(_, path)| path);
        let path = path.split(' ').next().unwrap_or_default();
        if path.starts_with('/') {
            found.push(PathBuf::from(path));
        }
    }
    Ok(found)
}

/// The program without debugging symbols where `strip` is at hand; they are most of its size.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    let read = |path: &Path| {
        fs::read(path).with_context(|| format!("cannot read the program {}", path.display()))
    };
    let Some(strip) = shell::find("strip") else { return read(program) };
    let name = format!(
        "xtask-strip-{}-{}",
        std::process::id(),
        digest(program.as_os_str().as_encoded_bytes())
    );
    let small = std::env::temp_dir().join(name);
    let done = shell::output(Command::new(strip).arg("-o").arg(&small).arg(program));
    let content = if done.is_ok() { read(&small) } else { read(program) };
    if small.exists() {
        fs::remove_file(&small)?;
    }
    content
}

fn append(
    archive: &mut tar::Builder<Vec<u8>>,
    path: &str,
    content: &[u8],
    mode: u32,
) -> Result<()> {
    let mut header = header(tar::EntryType::Regular, mode);
    header.set_size(u64::try_from(content.len())?);
    archive.append_data(&mut header, path, content).with_context(|| format!("cannot add {path}"))
}

fn append_special(
    archive: &mut tar::Builder<Vec<u8>>,
    path: &str,
    kind: tar::EntryType,
    (mode, target): (u32, &str),
) -> Result<()> {
    let mut header = header(kind, mode);
    header.set_size(0);
    if kind == tar::EntryType::Symlink {
        archive.append_link(&mut header, path, target)
    } else {
        archive.append_data(&mut header, format!("{path}/"), std::io::empty())
    }
    .with_context(|| format!("cannot add {path}"))
}

/// Owned by root and without a time, so that the bytes depend on the content alone.
fn header(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn inside(path: &str) -> String {
    path.trim_start_matches('/').to_owned()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_give_the_same_image() {
        let image = |text: &str| {
            Image::new("a:1", &["/a"]).with_file("/etc/x", text.as_bytes()).archive().unwrap()
        };
        assert_eq!(image("one").id, image("one").id);
        assert_eq!(image("one").bytes, image("one").bytes);
        assert_ne!(image("one").id, image("two").id);
    }

    #[test]
    fn an_archive_holds_what_a_runtime_looks_for() {
        let archive = Image::new("a:1", &["/a"]).with_link("/bin/b", "a").archive().unwrap();
        let mut names = Vec::new();
        let mut layer = Vec::new();
        for entry in tar::Archive::new(archive.bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            names.push(entry.path().unwrap().display().to_string());
            if names.last().unwrap() == "layer.tar" {
                entry.read_to_end(&mut layer).unwrap();
            }
        }
        assert_eq!(
            names,
            [format!("{}.json", archive.id), "layer.tar".into(), "manifest.json".into()]
        );
        let paths: Vec<String> = tar::Archive::new(layer.as_slice())
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        let wanted =
            ["bin/", "bin/b", "etc/", "etc/group", "etc/nsswitch.conf", "etc/passwd", "tmp/"];
        assert_eq!(paths, wanted);
    }

    #[test]
    fn libraries_are_read_from_ldd() {
        let text = "\tlinux-vdso.so.1 (0x00007ffc)\n\
            \tlibgcc_s.so.1 => /lib/x86_64-linux-gnu/libgcc_s.so.1 (0x00007f)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let wanted = ["/lib/x86_64-linux-gnu/libgcc_s.so.1", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(parse_ldd(text).unwrap(), wanted.map(PathBuf::from));
        assert!(parse_ldd("\tlibz.so.1 => not found\n").is_err());
        let own = std::env::current_exe().unwrap();
        assert!(libraries(&own).unwrap().iter().any(|l| l.ends_with("libc.so.6")));
    }

    #[test]
    fn an_archive_of_another_program_says_its_name() {
        let written = Image::new("x.example/a:1", &["/a"]).archive().unwrap();
        let path = std::env::temp_dir().join(format!("xtask-archive-{}", std::process::id()));
        fs::write(&path, &written.bytes).unwrap();
        assert_eq!(Archive::read(&path).unwrap().name, "x.example/a:1");
        fs::remove_file(path).unwrap();
    }
}
