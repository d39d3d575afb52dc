//! The node's network namespace and the pair of interfaces that joins it to the host. The host's own firewall and
//! forwarding stay as they are.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::parts::quietly;
use crate::state::State;

/// Name of the network namespace.
pub const NETNS: &str = "hardened-node";
/// The host's side: the apiserver and the registry listen here.
pub const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 30, 0, 1));
/// The node's side.
pub const NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 30, 0, 11));
/// Addresses of the node's pods.
pub const PODS: &str = "10.244.0.0/24";
const NAMESPACES: &str = "/run/netns";
const LINK: &str = "hardened0";
/// Says whose node this is: only one testbed of a host can have one.
const OWNER: &str = "/run/hardened-testbed.owner";

/// Makes the namespace and both interfaces; fails when another testbed has a node.
pub fn create(state: &State) -> Result<()> {
    claim(state)?;
    ip(&format!("netns add {NETNS}"))?;
    ip(&format!("link add {LINK} type veth peer name eth0 netns {NETNS}"))?;
    ip(&format!("addr add {HOST}/24 dev {LINK}"))?;
    ip(&format!("link set {LINK} up"))?;
    ip(&format!("-n {NETNS} addr add {NODE}/24 dev eth0"))?;
    ip(&format!("-n {NETNS} link set lo up"))?;
    ip(&format!("-n {NETNS} link set eth0 up"))?;
    ip(&format!("-n {NETNS} route add default via {HOST}"))?;
    // Pods are reached and answered by their own addresses: no address is rewritten anywhere.
    ip(&format!("route add {PODS} via {NODE}"))?;
    let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
    quietly(Command::new("nsenter").arg(format!("--net=/run/netns/{NETNS}")).args(["sh", "-c", forward]))
}

/// Removes the namespace, and with it both interfaces and the route.
pub fn delete() -> Result<()> {
    if Path::new(NAMESPACES).join(NETNS).exists() {
        ip(&format!("netns delete {NETNS}"))?;
    }
    // With the namespace the kernel removes its interface, and that one's peer, a moment later: do it now.
    if Path::new("/sys/class/net").join(LINK).exists() {
        let _ = ip(&format!("link delete {LINK}"));
    }
    // `ip netns add` mounts this folder on itself.
    if std::fs::read_dir(NAMESPACES).is_ok_and(|mut entries| entries.next().is_none()) {
        quietly(Command::new("umount").arg(NAMESPACES))?;
        std::fs::remove_dir(NAMESPACES)?;
    }
    remove_if_there(Path::new(OWNER))
}

/// The state folder of the testbed that has this host's node, if there is one.
pub fn owner() -> Option<PathBuf> {
    std::fs::read_to_string(OWNER).ok().map(PathBuf::from)
}

/// Whether the node of this host, if there is one, belongs to this state folder.
pub fn is_ours(state: &State) -> bool {
    owner().is_some_and(|owner| owner == state.dir())
}

/// Processes inside the namespace.
pub fn processes() -> Vec<i32> {
    let output = Command::new("ip").args(["netns", "pids", NETNS]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

/// Removes a file; one that is not there is fine.
pub fn remove_if_there(file: &Path) -> Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn claim(state: &State) -> Result<()> {
    if let Some(owner) = owner().filter(|owner| owner != state.dir() && owner.exists()) {
        let owner = owner.display();
        bail!(
            "this host has a node already, of the testbed in {owner}; stop it with 'TESTBED_STATE={owner} testbed down'"
        );
    }
    Ok(std::fs::write(OWNER, state.dir().as_os_str().as_encoded_bytes())?)
}

fn ip(arguments: &str) -> Result<()> {
    quietly(Command::new("ip").args(arguments.split(' ')))
}
