//! The control group that all pods live in, for version 1 and 2. Nothing outside it is touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::process::Signal;

use crate::process;

/// Name of the group in each hierarchy.
pub const NAME: &str = "hardened-testbed";
const MOUNT: &str = "/sys/fs/cgroup";
const LIMIT: Duration = Duration::from_secs(10);

/// Makes the group; the kubelet wants its root to exist.
pub fn create() -> Result<()> {
    for root in roots() {
        fs::create_dir_all(root.join(NAME))?;
    }
    Ok(())
}

/// Kills what runs in the group and removes it.
pub fn remove() -> Result<()> {
    let groups: Vec<_> =
        roots().into_iter().map(|root| root.join(NAME)).filter(|group| group.is_dir()).collect();
    let start = Instant::now();
    for group in &groups {
        // A process that dies can leave a group busy for a moment.
        while !remove_tree(group) {
            if start.elapsed() > LIMIT {
                bail!("{} is still in use", group.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// The mounted hierarchies: the one of version 2, or each of version 1 that a process can join.
fn roots() -> Vec<PathBuf> {
    let mount = Path::new(MOUNT);
    if mount.join("cgroup.procs").exists() {
        return vec![mount.to_path_buf()];
    }
    let folders = fs::read_dir(mount).into_iter().flatten().flatten().map(|entry| entry.path());
    folders.filter(|path| path.join("cgroup.procs").exists() && !path.is_symlink()).collect()
}

fn remove_tree(group: &Path) -> bool {
    for line in fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines() {
        if let Ok(pid) = line.parse() {
            process::signal(pid, Signal::KILL);
        }
    }
    let inner = fs::read_dir(group).into_iter().flatten().flatten().map(|entry| entry.path());
    // All are visited, also after one that cannot go yet.
    let left = inner.filter(|path| path.is_dir()).filter(|path| !remove_tree(path)).count();
    left == 0 && fs::remove_dir(group).is_ok()
}
