//! Does every command of the README work as it stands there, and does every command on the other
//! pages exist?
//!
//! Commands run on the lab, in order, in one shell session's environment. The one thing that is
//! changed lies outside of them: a `kubectl` before the real one in `PATH` gives the manifests
//! below `examples/` a version whose images the lab has.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::commands;
use super::page::{self, Block, Mark, blocks};
use crate::products;
use crate::site::{Site, SiteArgs};
use crate::tools::shell;

const PAGE: &str = "README.md";

/// Runs or compares every block; an error if one does not hold.
pub(crate) fn run() -> Result<()> {
    let root = products::root();
    let page = fs::read_to_string(root.join(PAGE))?;
    let blocks =
        blocks(&page).with_context(|| format!("{PAGE} has a block that is not checked"))?;
    let site = Site::open(&SiteArgs::default())?;
    let version = site.load_standins(&products::build_standins()?)?;
    let session = Session::new(&site, &version)?;
    let (mut passed, mut failed) = (0, 0);
    for block in &blocks {
        let start = Instant::now();
        let result = match &block.mark {
            Mark::Run => session.run(block),
            Mark::Ci => is_ci(&root, block),
            Mark::File(path) => is_in_file(&root, path, block),
        };
        let what = block.text.lines().next().unwrap_or_default();
        match result {
            Ok(()) => {
                passed += 1;
                println!(
                    "ok    {:>5.1} s  line {}: {what}",
                    start.elapsed().as_secs_f64(),
                    block.line
                );
            }
            Err(e) => {
                failed += 1;
                println!("FAILED  line {}: {what}\n{e:#}", block.line);
            }
        }
    }
    match plugin_commands() {
        Ok(count) => {
            passed += 1;
            println!("ok            {count} commands of `kubectl tikv` on all pages exist");
        }
        Err(e) => {
            failed += 1;
            println!("FAILED  commands of `kubectl tikv`\n{e:#}");
        }
    }
    session.end()?;
    println!("test result: {PAGE}. {passed} passed; {failed} failed; 0 ignored");
    if failed > 0 {
        bail!("{failed} blocks of {PAGE} do not hold");
    }
    Ok(())
}

/// Asks the plugin for help on each of its commands that a page names, with the words there; how
/// many there are.
fn plugin_commands() -> Result<usize> {
    let plugin = products::build(&["kubectl-tikv"])?.join("kubectl-tikv");
    let mut count = 0;
    for (page, text) in page::all()? {
        for words in commands::named(&text, "kubectl tikv") {
            shell::output(Command::new(&plugin).args(&words).arg("--help"))
                .with_context(|| format!("named by {}", page.display()))?;
            count += 1;
        }
    }
    if count == 0 {
        bail!("no page names a command of `kubectl tikv`");
    }
    Ok(count)
}

/// Copies the manifests of a directory and of those in it, for this version.
fn copy_examples(from: &Path, to: &Path, version: &str) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_examples(&entry.path(), &place, version)?;
        } else {
            let text = fs::read_to_string(entry.path())?;
            fs::write(place, with_version(&text, version))?;
        }
    }
    Ok(())
}

/// What commands of the page find around them.
struct Session<'a> {
    site: &'a Site,
    path: String,
}

impl<'a> Session<'a> {
    fn new(site: &'a Site, version: &str) -> Result<Self> {
        let dir = products::target_dir()?.join("readme");
        let examples = dir.join("examples");
        copy_examples(&products::root().join("examples"), &examples, version)?;
        let shim = dir.join("bin");
        fs::create_dir_all(&shim)?;
        write_shim(&shim.join("kubectl"), site.kubectl_path(), &examples)?;
        let path = std::env::var("PATH").unwrap_or_default();
        Ok(Self { site, path: format!("{}:{path}", shim.display()) })
    }

    fn run(&self, block: &Block) -> Result<()> {
        let mut shell = Command::new("sh");
        shell.args(["-euc", &block.text]).current_dir(products::root()).env("PATH", &self.path);
        if let Some(file) = &self.site.kubeconfig {
            shell.env("KUBECONFIG", file);
        }
        let done = shell.output().context("cannot start sh")?;
        let said = String::from_utf8_lossy(&done.stdout);
        let complained = String::from_utf8_lossy(&done.stderr);
        if !done.status.success() {
            bail!("{}\n{said}{complained}", done.status);
        }
        Ok(())
    }

    /// Takes away what the demonstration leaves for the user to look at.
    fn end(&self) -> Result<()> {
        let namespace = crate::demo::NAMESPACE;
        self.site.ask(&["delete", "namespace", namespace, "--ignore-not-found", "--wait=false"])?;
        Ok(())
    }
}

/// The manifest with the version of images that the lab has under their default names.
fn with_version(manifest: &str, version: &str) -> String {
    let lines = manifest.lines().map(|line| match line.strip_prefix("  version: ") {
        Some(_) => format!("  version: {version}\n"),
        None => format!("{line}\n"),
    });
    lines.collect()
}

/// A kubectl that reads `examples/` elsewhere and is otherwise the real one.
fn write_shim(path: &Path, kubectl: &Path, examples: &Path) -> Result<()> {
    let script = format!(
        "#!/bin/sh\n\
         for word do\n  shift\n  case $word in\n    examples/*) word='{}'/${{word#examples/}} ;;\n  esac\n  \
         set -- \"$@\" \"$word\"\ndone\nexec '{}' \"$@\"\n",
        examples.display(),
        kubectl.display(),
    );
    fs::write(path, script)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// The block is what `.ci/run` runs, word for word.
fn is_ci(root: &Path, block: &Block) -> Result<()> {
    let ci = fs::read_to_string(root.join(".ci/run"))?;
    let commands: Vec<_> = ci
        .lines()
        .filter(|l| !l.starts_with('#') && !l.starts_with("set ") && !l.starts_with("cd "))
        .filter(|l| !l.trim().is_empty())
        .map(|l| l.trim_start_matches("exec "))
        .collect();
    let wanted: Vec<_> = block.text.lines().collect();
    if commands != wanted {
        bail!(".ci/run runs {commands:?}, the page says {wanted:?}");
    }
    Ok(())
}

/// The block's lines stand in the file, together and in order, whatever their indentation.
fn is_in_file(root: &Path, path: &str, block: &Block) -> Result<()> {
    let file: PathBuf = root.join(path);
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {path}"))?;
    let lines = |text: &str| -> Vec<String> {
        text.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect()
    };
    let (have, want) = (lines(&text), lines(&block.text));
    if want.is_empty() || !have.windows(want.len()).any(|part| part == want.as_slice()) {
        bail!("{path} does not hold these lines");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_an_example_is_replaced_and_nothing_else() {
        let text = "spec:\n  version: v8.5.7\n  pd:\n    version: own\n";
        assert_eq!(with_version(text, "v1"), "spec:\n  version: v1\n  pd:\n    version: own\n");
    }

    #[test]
    fn examples_in_directories_are_copied_too() {
        let dir = std::env::temp_dir().join(format!("xtask-examples-{}", std::process::id()));
        fs::create_dir_all(dir.join("from/tasks")).unwrap();
        fs::write(dir.join("from/tasks/a.yaml"), "spec:\n  version: v8.5.7\n").unwrap();
        copy_examples(&dir.join("from"), &dir.join("to"), "v1").unwrap();
        let copied = fs::read_to_string(dir.join("to/tasks/a.yaml")).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(copied, "spec:\n  version: v1\n");
    }

    #[test]
    fn the_shim_moves_examples_and_keeps_words_whole() {
        let dir = std::env::temp_dir().join(format!("xtask-shim-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        write_shim(&dir.join("kubectl"), Path::new("/bin/echo"), Path::new("/e x")).unwrap();
        let said = Command::new(dir.join("kubectl"))
            .args(["apply", "-f", "examples/a.yaml", "two words"])
            .output()
            .unwrap();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stdout), "apply -f /e x/a.yaml two words\n");
    }

    #[test]
    fn lines_that_are_not_in_the_file_are_noticed() {
        let dir = std::env::temp_dir().join(format!("xtask-file-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("a.rs"), "fn a() {\n    b();\n    c();\n}\n").unwrap();
        let block = |text: &str| Block { line: 1, mark: Mark::Run, text: text.to_owned() };
        assert!(is_in_file(&dir, "a.rs", &block("b();\nc();\n")).is_ok());
        assert!(is_in_file(&dir, "a.rs", &block("c();\nb();\n")).is_err());
        assert!(is_in_file(&dir, "a.rs", &block("")).is_err());
        fs::remove_dir_all(&dir).unwrap();
    }
}
