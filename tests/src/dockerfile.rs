//! Judges a Dockerfile: whether what it copies is there, and whether its image is empty besides one program. It builds
//! nothing, and knows of the format only what ours use.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::image::USER;
use crate::state::checkout;

/// The files that are in the checkout or that hack/images.sh makes.
#[derive(Debug)]
pub struct Files {
    root: PathBuf,
    made: Vec<PathBuf>,
}

impl Files {
    /// Asks the script what it would make.
    pub fn of_checkout() -> Result<Self> {
        let root = checkout();
        let output = Command::new(root.join("hack/images.sh")).arg("--list").output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let made: Vec<_> = String::from_utf8(output.stdout)?.lines().map(PathBuf::from).collect();
        ensure!(!made.is_empty(), "hack/images.sh makes nothing");
        Ok(Self { root, made })
    }

    /// Whether this path exists, or is made, or holds something that is made.
    pub fn has(&self, path: &str) -> bool {
        let plain: PathBuf = Path::new(path).components().filter(|part| *part != Component::CurDir).collect();
        self.root.join(path).exists() || self.made.iter().any(|made| made.starts_with(&plain))
    }

    /// The text of a file of the checkout.
    pub fn read(&self, path: &str) -> Result<String> {
        std::fs::read_to_string(self.root.join(path)).with_context(|| format!("read {path}"))
    }

    /// The Dockerfiles of the packages.
    pub fn dockerfiles(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.root)? {
            let path = entry?.path().join("Dockerfile");
            if path.is_file() {
                found.push(path.strip_prefix(&self.root)?.to_string_lossy().into_owned());
            }
        }
        found.sort();
        Ok(found)
    }
}

#[derive(Debug)]
struct Stage {
    name: String,
    base: String,
    /// Name in capitals, and the rest of the line.
    instructions: Vec<(String, String)>,
}

impl Stage {
    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.instructions.iter().filter(move |(found, _)| found == name).map(|(_, rest)| rest.as_str())
    }
}

/// Fails when a stage that this build needs copies what is not there, or when the image has more than one program.
pub fn check(files: &Files, text: &str, context: &str, arguments: &BTreeMap<String, String>) -> Result<()> {
    let stages = stages(text, arguments)?;
    let last = stages.last().context("the Dockerfile has no FROM")?;
    ensure!(last.base == "scratch", "the image is FROM {}, not FROM scratch", last.base);
    ensure!(last.all("USER").last() == Some(USER), "the image's user is not {USER}");
    let copies: Vec<_> = last.all("COPY").collect();
    let [copy] = copies[..] else { bail!("the image holds more than one program: {copies:?}") };
    let program = copy.split_whitespace().last().unwrap_or_default();
    let entrypoint = format!("[\"{program}\"]");
    ensure!(last.all("ENTRYPOINT").eq([entrypoint.as_str()]), "the entrypoint is not {entrypoint}");
    needed(&stages, last, &mut |stage| copied_is_there(files, &stages, stage, context))
}

/// Visits a stage and those that it is made of; no others are built.
fn needed(stages: &[Stage], stage: &Stage, visit: &mut dyn FnMut(&Stage) -> Result<()>) -> Result<()> {
    visit(stage)?;
    let froms = stage.all("COPY").filter_map(|copy| copy.strip_prefix("--from=")?.split_whitespace().next());
    for name in froms.chain([stage.base.as_str()]) {
        if let Some(stage) = stages.iter().find(|stage| stage.name == name) {
            needed(stages, stage, visit)?;
        }
    }
    Ok(())
}

fn copied_is_there(files: &Files, stages: &[Stage], stage: &Stage, context: &str) -> Result<()> {
    ensure!(stage.all("ADD").next().is_none(), "ADD may fetch or unpack; use COPY");
    for copy in stage.all("COPY") {
        let (from, words): (Vec<_>, Vec<_>) =
            copy.split_whitespace().partition(|word| word.starts_with("--from="));
        let (_, sources) = words.split_last().context("COPY without a destination")?;
        for source in sources {
            let there = match from.first().and_then(|from| from.strip_prefix("--from=")) {
                Some(name) => stages.iter().any(|stage| stage.name == name && makes(stages, stage, source)),
                None => files.has(&format!("{context}/{source}")),
            };
            ensure!(there, "COPY {copy}: {source} does not exist in {}", from.first().unwrap_or(&context));
        }
    }
    Ok(())
}

/// Whether a stage, or the one that it begins with, copies or writes to this path.
fn makes(stages: &[Stage], stage: &Stage, path: &str) -> bool {
    let words = |text: &str| text.split_whitespace().any(|word| word == path);
    stage.all("COPY").any(|copy| copy.split_whitespace().last() == Some(path))
        || stage.all("RUN").any(words)
        || stages.iter().any(|base| base.name == stage.base && makes(stages, base, path))
}

fn stages(text: &str, arguments: &BTreeMap<String, String>) -> Result<Vec<Stage>> {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let mut known = BTreeMap::new();
    let mut stages: Vec<Stage> = Vec::new();
    for line in joined.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, rest) = line.split_once(char::is_whitespace).context("an instruction of one word")?;
        match (name.to_uppercase().as_str(), stages.last_mut()) {
            ("FROM", _) => stages.push(stage(rest, &known)?),
            ("ARG", None) => {
                let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
                known.insert(key, arguments.get(key).map_or(value, String::as_str));
            }
            (other, None) => bail!("{other} before the first FROM"),
            (name, Some(stage)) => stage.instructions.push((name.to_owned(), rest.trim().to_owned())),
        }
    }
    let unknown = arguments.keys().find(|key| !known.contains_key(key.as_str()));
    ensure!(unknown.is_none(), "the Dockerfile has no ARG {}", unknown.map_or("", String::as_str));
    Ok(stages)
}

fn stage(from: &str, known: &BTreeMap<&str, &str>) -> Result<Stage> {
    let words: Vec<_> = from.split_whitespace().collect();
    let (base, name) = match words[..] {
        [base] => (base, ""),
        [base, _, name] => (base, name),
        _ => bail!("FROM {from}: this test does not know that form"),
    };
    let base = match base.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
        Some(key) => known.get(key).with_context(|| format!("FROM {from}: no ARG {key} before it"))?,
        None => base,
    };
    Ok(Stage { name: name.to_owned(), base: base.to_owned(), instructions: Vec::new() })
}
