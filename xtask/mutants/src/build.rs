//! What does the compiler say of changes, and which programs are the tests?

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// Cargo in the copy of the repository.
#[derive(Debug)]
pub(crate) struct Cargo {
    pub(crate) tree: PathBuf,
    pub(crate) target: PathBuf,
}

/// The compiler's complaint about places of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) file: PathBuf,
    /// First the one that it names first.
    pub(crate) bytes: Vec<usize>,
    /// As the compiler prints it.
    pub(crate) words: String,
}

/// A program of tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestProgram {
    /// `core/golden`.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Where it expects to be started.
    pub(crate) directory: PathBuf,
}

impl Cargo {
    /// Compiles `core` without making a program; the complaints, of which there are none if all is well.
    pub(crate) fn check(&self) -> Result<Vec<Complaint>> {
        let (ok, messages) = self.run(&["check", "--package", "tikv-operator-core"])?;
        let complaints: Vec<Complaint> = messages.iter().filter_map(complaint).collect();
        if !ok && complaints.is_empty() {
            bail!("core does not compile, and no place is named");
        }
        Ok(if ok { Vec::new() } else { complaints })
    }

    /// Builds the tests of these packages. Those of `core` alone are built sooner than optimised.
    pub(crate) fn tests(&self, packages: &[&str]) -> Result<Vec<TestProgram>> {
        let mut arguments = vec!["test", "--no-run"];
        if packages == ["tikv-operator-core"] {
            arguments.extend(["--config", "profile.dev.package.tikv-operator-core.opt-level=1"]);
        }
        for package in packages {
            arguments.extend(["--package", package]);
        }
        let (ok, messages) = self.run(&arguments)?;
        if !ok {
            let complaint = messages.iter().find_map(complaint).map(|complaint| complaint.words);
            bail!("the tests do not compile: {}", complaint.unwrap_or_default());
        }
        let mut programs: Vec<TestProgram> =
            messages.iter().filter_map(|message| program(message, &self.tree)).collect();
        programs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(programs)
    }

    fn run(&self, arguments: &[&str]) -> Result<(bool, Vec<Value>)> {
        let output = Command::new("cargo")
            .args(arguments)
            .args(["--message-format=json", "--quiet"])
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_INCREMENTAL", if arguments.contains(&"check") { "1" } else { "0" })
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .stderr(Stdio::inherit())
            .output()
            .context("cannot start cargo")?;
        let text = String::from_utf8(output.stdout).context("messages of cargo")?;
        let messages = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok((output.status.success(), messages))
    }
}

fn complaint(message: &Value) -> Option<Complaint> {
    let message = message.get("message").filter(|message| message["level"] == "error")?;
    let spans: Vec<&Value> = message["spans"].as_array()?.iter().collect();
    let (first, others): (Vec<&Value>, Vec<&Value>) =
        spans.into_iter().partition(|span| span["is_primary"] == true);
    let file = first.first()?["file_name"].as_str()?;
    let here = first.iter().chain(&others).filter(|span| span["file_name"] == file);
    let bytes = here.filter_map(|span| usize::try_from(span["byte_start"].as_u64()?).ok());
    Some(Complaint {
        file: file.into(),
        bytes: bytes.collect(),
        words: message["rendered"].as_str().unwrap_or_default().to_owned(),
    })
}

fn program(message: &Value, tree: &Path) -> Option<TestProgram> {
    if message["reason"] != "compiler-artifact"
        || message.pointer("/profile/test") != Some(&true.into())
    {
        return None;
    }
    let path = PathBuf::from(message["executable"].as_str()?);
    let manifest = PathBuf::from(message["manifest_path"].as_str()?);
    let directory = manifest.parent().unwrap_or(tree).to_owned();
    let package = directory.file_name()?.to_string_lossy().into_owned();
    let target = message.pointer("/target/name")?.as_str()?;
    Some(TestProgram { name: format!("{package}/{target}"), path, directory })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_of_cargo_are_understood() {
        let error = json!({"reason": "compiler-message", "message": {"level": "error",
            "rendered": "no", "spans": [
                {"file_name": "a.rs", "byte_start": 1, "is_primary": false},
                {"file_name": "b.rs", "byte_start": 9, "is_primary": false},
                {"file_name": "b.rs", "byte_start": 7, "is_primary": true}]}});
        let found = complaint(&error).unwrap();
        assert_eq!((found.file, found.bytes), (PathBuf::from("b.rs"), vec![7, 9]));
        let artifact = json!({"reason": "compiler-artifact", "profile": {"test": true},
            "executable": "/t/golden-1", "manifest_path": "/r/crates/core/Cargo.toml",
            "target": {"name": "golden"}});
        let found = program(&artifact, Path::new("/r")).unwrap();
        assert_eq!((&*found.name, found.directory), ("core/golden", "/r/crates/core".into()));
    }
}
