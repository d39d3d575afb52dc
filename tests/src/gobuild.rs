//! Builds the parts that come from Go modules into a cache outside the checkout, once per content of the module.
//! It starts nothing.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::progress::spoken;
use crate::state::checkout;

/// A Go module under `tests/go/` and the binaries that come from it.
#[derive(Debug)]
pub struct Module {
    /// Folder under `tests/go/`.
    pub name: &'static str,
    /// Shown while it builds.
    pub version: &'static str,
    /// Binary name and package.
    pub binaries: &'static [(&'static str, &'static str)],
    /// Names under which the first binary is also found: it looks at its own name.
    pub aliases: &'static [&'static str],
    /// Flags for the linker.
    pub ldflags: &'static str,
    /// Whether C code is left out, so that the binary runs in an empty image.
    pub fixed: bool,
}

/// Where everything that was built or fetched is kept: `$TESTBED_CACHE`, or below the user's cache folder.
pub fn cache() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("TESTBED_CACHE") {
        return Ok(std::path::absolute(dir)?);
    }
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(base) => PathBuf::from(base),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set; set TESTBED_CACHE")?)
            .join(".cache"),
    };
    Ok(base.join("hardened-testbed"))
}

/// The folder with the module's binaries; builds them when this content was never built.
pub fn ensure(module: &Module) -> Result<PathBuf> {
    let source = checkout().join("tests/go").join(module.name);
    let target = cache()?.join(format!("{}-{}", module.name, key(module, &source)?));
    once(&target, module.name, |work| {
        for (binary, package) in module.binaries {
            build(module, &source, &work.join(binary), package)?;
        }
        let first = module.binaries.first().map_or("", |(binary, _)| binary);
        for alias in module.aliases {
            std::os::unix::fs::symlink(first, work.join(alias))?;
        }
        Ok(())
    })
}

/// Where Go keeps the sources of a module that another one needs; it fetches them when they are not there.
pub fn sources_of(module: &Path, path: &str) -> Result<PathBuf> {
    let mut command = Command::new("go");
    command.args(["mod", "download", "-json", path]).current_dir(module);
    let output = command.env("GOTOOLCHAIN", "local").env("GOWORK", "off").output().context("start go")?;
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).context("read what go printed")?;
    let folder = answer["Dir"].as_str().with_context(|| format!("go has no sources of {path}: {answer}"))?;
    Ok(folder.into())
}

/// Fills a folder of the cache exactly once, also when several processes ask for it at the same time: one works
/// in a folder beside it and renames it when it is whole.
pub fn once(target: &Path, name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    if target.is_dir() {
        return Ok(target.to_path_buf());
    }
    let parent = target.parent().context("the cache folder has no parent")?;
    fs::create_dir_all(parent).with_context(|| format!("make the cache folder {}", parent.display()))?;
    let lock = File::create(parent.join(format!("{name}.lock")))?;
    if lock.try_lock().is_err() {
        eprintln!("another process makes {name}; waiting for it");
        lock.lock()?;
    }
    if target.is_dir() {
        return Ok(target.to_path_buf());
    }
    let work = parent.join(format!("{name}.partial"));
    let _ = fs::remove_dir_all(&work);
    fs::create_dir(&work)?;
    fill(&work)?;
    fs::rename(&work, target)?;
    Ok(target.to_path_buf())
}

/// Runs a long command at low priority; a line with the elapsed time appears every five seconds.
pub fn run_with_progress(what: &str, command: &mut Command, log: &Path) -> Result<()> {
    let file = File::create(log)?;
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .context(what.to_owned())?;
    let mut said = 0;
    loop {
        if let Some(status) = child.try_wait()? {
            if status.success() {
                eprintln!("{what}: done in {}", spoken(start.elapsed()));
                return Ok(());
            }
            let text = fs::read_to_string(log).unwrap_or_default();
            bail!("{what} failed ({status}):\n{text}");
        }
        if start.elapsed().as_secs() >= said {
            eprintln!("{what} ... {}", spoken(start.elapsed()));
            said += 5;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn build(module: &Module, source: &Path, output: &Path, package: &str) -> Result<()> {
    let mut command = Command::new("nice");
    command.args(["-n", "10", "go", "build", "-trimpath", "-o"]).arg(output);
    command.arg("-ldflags").arg(module.ldflags).arg(package).current_dir(source);
    command.env("GOTOOLCHAIN", "local").env("GOWORK", "off");
    if module.fixed {
        command.env("CGO_ENABLED", "0");
    }
    let name = output.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    run_with_progress(
        &format!("building {name} {}", module.version),
        &mut command,
        &output.with_extension("log"),
    )?;
    fs::remove_file(output.with_extension("log"))?;
    Ok(())
}

fn key(module: &Module, source: &Path) -> Result<String> {
    let mut files = Vec::new();
    sources(source, &mut files)?;
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        hash.update(file.strip_prefix(source)?.as_os_str().as_encoded_bytes());
        hash.update(fs::read(&file)?);
    }
    hash.update(format!("{:?}{:?}{}{}", module.binaries, module.aliases, module.ldflags, module.fixed));
    Ok(hex(&hash.finalize()).chars().take(16).collect())
}

/// What a module is made of, also in the folders below it.
fn sources(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, files)?;
        } else if path.extension().is_some_and(|end| end == "go" || end == "mod" || end == "sum") {
            files.push(path);
        }
    }
    Ok(())
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        for half in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(half), 16));
        }
        text
    })
}
