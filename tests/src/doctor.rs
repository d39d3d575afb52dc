//! Looks whether this machine can run the testbed and names the fix for what is missing. It changes nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::gobuild;
use crate::network::{self, NETNS};
use crate::state::State;

/// What one look found.
#[derive(Debug)]
pub struct Finding {
    /// What was looked at.
    pub what: &'static str,
    /// What was seen, or what is missing.
    pub seen: Result<String, String>,
    /// How to mend it.
    pub fix: &'static str,
    /// Whether only the node needs it: a control plane starts without.
    pub node_only: bool,
}

/// Whether a control plane, and whether a node as well, can start.
pub fn verdict(findings: &[Finding]) -> (bool, bool) {
    let bad = |node_only: bool| {
        findings.iter().any(|finding| finding.seen.is_err() && finding.node_only == node_only)
    };
    (!bad(false), !bad(false) && !bad(true))
}

/// Looks at everything.
pub fn examine(state: &State) -> Vec<Finding> {
    let packages = "run tests/install-debian.sh";
    let both = |what, fix, seen| Finding { what, seen, fix, node_only: false };
    let node = |what, fix, seen| Finding { what, seen, fix, node_only: true };
    vec![
        both("go", "install Go 1.26.6 or newer (https://go.dev/dl)", version("go", &["version"])),
        both("cargo", "install Rust 1.95 with rustup (https://rustup.rs)", version("cargo", &["--version"])),
        both("python3 -m pip", packages, version("python3", &["-m", "pip", "--version"])),
        both("setsid and setpriv", "install util-linux", version("setpriv", &["--version"])),
        both("disk for the cache", "free 10 GB, or set TESTBED_CACHE to a folder with room", disk()),
        both("memory", "free 2 GB of memory", memory()),
        node("root", "run as root, or use 'testbed up --control-plane'", root()),
        node("runc", packages, version("runc", &["--version"])),
        node("nft", packages, version("nft", &["--version"])),
        node("skopeo", packages, version("skopeo", &["--version"])),
        node("docker-registry", packages, version("docker-registry", &["--version"])),
        node("CNI plugins", packages, exists("/usr/lib/cni/ptp")),
        node(
            "network namespaces",
            "use a machine or container with CAP_SYS_ADMIN and CAP_NET_ADMIN",
            namespaces(),
        ),
        node("control groups", "mount cgroup v1 or v2 at /sys/fs/cgroup, writable", cgroup()),
        node("no other kubelet", "stop the kubelet of this host", kubelet(state)),
        node("network 172.30.0.0/24", "free these addresses on the host", addresses(state)),
        node("short state folder", "set TESTBED_STATE to a path of at most 60 characters", length(state)),
    ]
}

fn version(program: &str, arguments: &[&str]) -> Result<String, String> {
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            Ok(text.lines().next().unwrap_or_default().to_owned())
        }
        Ok(output) => Err(format!("{program} fails: {}", output.status)),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

fn exists(path: &str) -> Result<String, String> {
    if Path::new(path).exists() { Ok(path.to_owned()) } else { Err(format!("{path} is missing")) }
}

fn root() -> Result<String, String> {
    if rustix::process::geteuid().is_root() { Ok("yes".into()) } else { Err("not root".into()) }
}

fn disk() -> Result<String, String> {
    let mut folder = gobuild::cache().map_err(|error| error.to_string())?;
    while !folder.exists() && folder.pop() {}
    let output = Command::new("df").args(["--output=avail", "-B1M"]).arg(&folder).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let free: u64 = text.lines().nth(1).and_then(|line| line.trim().parse().ok()).unwrap_or_default();
    let seen = format!("{free} MB free in {}", folder.display());
    if free >= 10_000 { Ok(seen) } else { Err(seen) }
}

fn memory() -> Result<String, String> {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("MemAvailable:")).unwrap_or_default();
    let free: u64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or_default();
    let seen = format!("{} MB available", free / 1024);
    if free >= 2 * 1024 * 1024 { Ok(seen) } else { Err(seen) }
}

fn namespaces() -> Result<String, String> {
    match Command::new("unshare").args(["--net", "true"]).output() {
        Ok(output) if output.status.success() => Ok("can be made".into()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn cgroup() -> Result<String, String> {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return Ok("version 2".into());
    }
    match ["cpu", "memory", "pids"].iter().find(|name| !Path::new("/sys/fs/cgroup").join(name).exists()) {
        None => Ok("version 1".into()),
        Some(name) => Err(format!("no version 2, and no {name} of version 1")),
    }
}

fn kubelet(state: &State) -> Result<String, String> {
    let socket = std::os::unix::net::UnixStream::connect(crate::node::DEVICE_SOCKET);
    if socket.is_err() || network::is_ours(state) { Ok("none".into()) } else { Err("one runs".into()) }
}

fn addresses(state: &State) -> Result<String, String> {
    if network::is_ours(state) {
        return Ok("this testbed's node uses it".into());
    }
    if Path::new("/run/netns").join(NETNS).exists() {
        return Err(format!("network namespace {NETNS} exists already"));
    }
    let output = Command::new("ip").args(["route", "show", "root", "172.30.0.0/16"]).output();
    let routes =
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    match routes.lines().next() {
        Some(route) => Err(format!("the host routes it: {route}")),
        None => Ok("free".into()),
    }
}

/// Sockets lie in the folder, and the kernel limits their paths to 107 characters.
fn length(state: &State) -> Result<String, String> {
    let length = state.dir().as_os_str().len();
    if length <= 60 { Ok(format!("{length} characters")) } else { Err(format!("{length} characters")) }
}
