//! Who uses a control plane that the tests started: when the last user is gone, it is stopped. It never stops one
//! that somebody started with `testbed up`.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::lifecycle;
use crate::process::{self, birth};
use crate::state::State;

const KEEP: &str = "users/keep";

/// Notes this run as a user: the `cargo test` that started it when there is one, so that all its test binaries
/// share one control plane, otherwise this process.
pub fn enter(state: &State) -> Result<()> {
    let parent = i32::try_from(std::os::unix::process::parent_id())?;
    let own = i32::try_from(std::process::id())?;
    let by_cargo =
        fs::read_to_string(format!("/proc/{parent}/comm")).is_ok_and(|name| name.trim() == "cargo");
    let pid = if by_cargo { parent } else { own };
    let born = birth(pid).context("read the own start time")?;
    state.write(&format!("users/{pid}"), format!("{pid} {born}\n")).map(drop)
}

/// The `testbed` program: this one, or the one that cargo built beside the test binaries.
pub fn program() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    if own.file_name().is_some_and(|name| name == "testbed") {
        return Ok(own);
    }
    let folder = own.parent().and_then(|deps| deps.parent()).context("find the target folder")?;
    Ok(folder.join("testbed"))
}

/// Says that somebody wants the testbed to stay until `testbed down`.
pub fn keep(state: &State) -> Result<()> {
    state.write(KEEP, "").map(drop)
}

/// Starts a process that stops the testbed when its last user is gone.
pub fn start_watch(state: &State) -> Result<()> {
    let log = File::create(state.folder("log")?.join("watch.log"))?;
    let mut command = Command::new("setsid");
    command.arg(program()?).arg("watch").env("TESTBED_STATE", state.dir());
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn().context("start the watch")?;
    Ok(())
}

/// Waits until no user is left and stops the testbed; ends early when the testbed is another one or is to be kept.
pub fn watch(state: &State) -> Result<()> {
    let watched = process::pid(state, "etcd");
    loop {
        std::thread::sleep(Duration::from_millis(500));
        if watched.is_none() || process::pid(state, "etcd") != watched || state.path(KEEP).exists() {
            return Ok(());
        }
        if !any(state) && lifecycle::down_if_unused(state)? {
            return Ok(());
        }
    }
}

/// Forgets all users, as nothing runs that they could use.
pub fn forget(state: &State) -> Result<()> {
    process::remove_folder(&state.path("users"))
}

/// Whether a noted user still lives.
pub fn any(state: &State) -> bool {
    let notes = fs::read_dir(state.path("users")).into_iter().flatten().flatten();
    notes.map(|note| note.path()).any(|note| process::recorded(&note).is_some())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_user_that_is_noted_again_and_again_is_never_taken_for_gone() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::at(folder.path()).unwrap();
        enter(&state).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..2000).for_each(|_| enter(&state).unwrap());
                done.store(true, Ordering::Relaxed);
            });
            while !done.load(Ordering::Relaxed) {
                assert!(any(&state), "the watch would stop the testbed under its user");
            }
        });
    }
}
