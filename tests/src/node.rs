//! The one real node: what it needs of the host, the order of its parts, and what must be cleared behind it.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use rustix::process::Signal;

use crate::parts::{self, quietly};
use crate::pki::Authority;
use crate::process;
use crate::progress::not_checked;
use crate::state::State;
use crate::{cgroups, containerd, image, kubelet, network, registry};

/// Settings of the whole kernel that a kubelet changes.
const TUNABLES: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];
const SAVED: &str = "kernel-settings";
/// Where every containerd of a host keeps its shims' sockets.
const SHIM_SOCKETS: &str = "/run/containerd/s";
/// Where the kubelet links the logs of containers, whatever its own folder is.
const LOG_LINKS: &str = "/var/log/containers";

/// Where every kubelet of a host listens for device plugins, whatever its own folder is.
pub const DEVICE_SOCKET: &str = "/var/lib/kubelet/device-plugins/kubelet.sock";
/// Where every container runtime of a host notes what it gave to a network plugin.
const CNI_CACHE: &str = "/var/lib/cni/results";

/// Whether a test can have the node of this host; otherwise it says why not.
pub fn is_free() -> bool {
    if !rustix::process::geteuid().is_root() {
        not_checked("a node needs root");
        return false;
    }
    let owner = network::owner().filter(|owner| owner.exists());
    if let Some(owner) = &owner {
        not_checked(&format!("this host's node belongs to the testbed in {}", owner.display()));
    }
    owner.is_none()
}

/// Makes the network and starts the registry; both come before the apiserver, which binds to that network.
pub fn prepare(state: &State) -> Result<()> {
    if UnixStream::connect(DEVICE_SOCKET).is_ok() {
        bail!("a kubelet runs on this host already; the testbed's node cannot run beside it");
    }
    network::create(state)?;
    registry::start(state)
}

/// Starts containerd with the sandbox image; the registry must be ready.
pub fn start_runtime(state: &State) -> Result<()> {
    let sandbox = image::load(state, "pause:1", &parts::pause()?.join("pause"))?;
    containerd::start(state, &parts::containerd()?, &sandbox)
}

/// Starts kubelet and kube-proxy; the apiserver and containerd must be ready.
pub fn start(state: &State, authority: &Authority<'_>, bin: &Path, server: &str) -> Result<()> {
    cgroups::create()?;
    let saved: Vec<_> =
        TUNABLES.iter().map(|name| fs::read_to_string(tunable(name)).unwrap_or_default()).collect();
    state.write(SAVED, saved.concat())?;
    kubelet::start(state, authority, bin, server)
}

/// Clears everything that a node of this state folder left on the host; its parts must be stopped already.
pub fn clear(state: &State) -> Result<()> {
    if network::is_ours(state) {
        let sockets = shim_sockets();
        let processes = network::processes();
        for pid in &processes {
            process::signal(*pid, Signal::KILL);
        }
        cgroups::remove()?;
        processes.iter().try_for_each(|pid| process::wait_gone(*pid))?;
        for socket in sockets {
            network::remove_if_there(Path::new(&socket))?;
        }
        network::remove_if_there(Path::new(DEVICE_SOCKET))?;
        remove_where(CNI_CACHE, |path| name_starts_with(path, containerd::NETWORK))?;
        remove_where(LOG_LINKS, |path| {
            fs::read_link(path).is_ok_and(|target| target.starts_with(state.dir()))
        })?;
        remove_empty(&[SHIM_SOCKETS, "/run/containerd", CNI_CACHE, "/var/lib/cni", LOG_LINKS]);
        remove_empty(&["/var/lib/kubelet/device-plugins", "/var/lib/kubelet"]);
        network::delete()?;
        restore(state)?;
    }
    unmount_below(state.dir())
}

fn tunable(name: &str) -> String {
    format!("/proc/sys/{name}")
}

fn restore(state: &State) -> Result<()> {
    let Ok(saved) = fs::read_to_string(state.path(SAVED)) else { return Ok(()) };
    for (name, value) in TUNABLES.iter().zip(saved.lines()) {
        if fs::read_to_string(tunable(name)).is_ok_and(|now| now.trim() != value) {
            fs::write(tunable(name), value)?;
        }
    }
    Ok(())
}

/// Sockets of shims inside the node's network namespace; those of another containerd are not among them.
fn shim_sockets() -> Vec<String> {
    let table = network::processes().first().map(|pid| format!("/proc/{pid}/net/unix"));
    let text = table.and_then(|table| fs::read_to_string(table).ok()).unwrap_or_default();
    let paths = text.lines().filter_map(|line| line.split_whitespace().last());
    paths.filter(|path| path.starts_with(SHIM_SOCKETS)).map(str::to_owned).collect()
}

fn remove_where(folder: &str, test: impl Fn(&Path) -> bool) -> Result<()> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| test(path)).try_for_each(|path| Ok(fs::remove_file(path)?))
}

fn name_starts_with(path: &Path, start: &str) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(start.as_bytes()))
}

/// Removes folders that nobody uses; a folder with something in it stays.
fn remove_empty(folders: &[&str]) {
    for folder in folders {
        let _ = fs::remove_dir(folder);
    }
}

/// Unmounts what lies below a folder, the last mounted first.
fn unmount_below(folder: &Path) -> Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let mut points: Vec<_> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| point.replace("\\040", " "))
        .filter(|point| Path::new(point).starts_with(folder))
        .collect();
    points.reverse();
    points.iter().try_for_each(|point| quietly(Command::new("umount").args(["--lazy", point])))
}
