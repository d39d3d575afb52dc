//! The operator that an upgrade starts from, built from the repository's own history into the cache. It installs
//! nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::gobuild::{self, run_with_progress};
use crate::parts::quietly;
use crate::progress::not_checked;
use crate::state::checkout;

/// The last commit of the work before this one: with it CRs and keys were made that an upgrade must leave as they are.
const COMMIT: &str = "cf8df9849f3d04410b041dfbd76dc5af09a8e33f";
/// What is kept of the earlier checkout beside the program.
const KEPT: [&str; 2] = ["charts", "examples"];

/// An earlier operator with its chart and examples.
#[derive(Clone, Debug)]
pub struct Previous {
    folder: PathBuf,
}

impl Previous {
    /// The program.
    pub fn program(&self) -> PathBuf {
        self.folder.join("hardened-operator")
    }

    /// The chart.
    pub fn chart(&self) -> PathBuf {
        self.folder.join("charts/hardened-operator")
    }

    /// The folder of examples.
    pub fn examples(&self) -> PathBuf {
        self.folder.join("examples")
    }
}

/// Builds it when it was never built. A clone without that commit has none, and this says so.
pub fn build() -> Result<Option<Previous>> {
    let target = gobuild::cache()?.join(format!("operator-{}", &COMMIT[..12]));
    // What was built once needs no history.
    if !target.is_dir() && !has_commit() {
        not_checked(&format!("this clone has no commit {}, as a shallow one has none", &COMMIT[..12]));
        return Ok(None);
    }
    let folder = gobuild::once(&target, "operator-previous", fill)?;
    Ok(Some(Previous { folder }))
}

fn has_commit() -> bool {
    quietly(git().args(["cat-file", "-e", &format!("{COMMIT}^{{commit}}")])).is_ok()
}

fn git() -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(checkout());
    git
}

/// A target folder of its own: crates of the same names lie in the checkout's.
fn fill(work: &Path) -> Result<()> {
    let (source, archive) = (work.join("source"), work.join("source.tar"));
    fs::create_dir(&source)?;
    quietly(git().args(["archive", "--output"]).arg(&archive).arg(COMMIT))?;
    quietly(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&source))?;
    let mut cargo = Command::new("nice");
    cargo.args(["-n", "10", "cargo", "build", "--locked", "--package", "operator", "--target-dir", "target"]);
    cargo.current_dir(&source);
    let what = format!("building the operator of {}", &COMMIT[..12]);
    run_with_progress(&what, &mut cargo, &work.join("cargo.log"))?;
    fs::copy(source.join("target/debug/hardened-operator"), work.join("hardened-operator"))?;
    for folder in KEPT {
        fs::rename(source.join(folder), work.join(folder))?;
    }
    fs::remove_dir_all(&source)?;
    fs::remove_file(&archive)?;
    Ok(())
}
