//! containerd: its configuration for a node whose state lies in one folder. It pulls from the testbed's registry only
//! by name and by plain HTTP.

use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::Result;
use serde_json::json;

use crate::network::NETNS;
use crate::process::{self, Part};
use crate::registry;
use crate::state::State;

/// Name of the pod network, which the files in the host's CNI cache begin with.
pub const NETWORK: &str = "hardened-testbed";

/// Starts it inside the node's network namespace.
pub fn start(state: &State, bin: &Path, sandbox_image: &str) -> Result<()> {
    let certs = format!("containerd/certs.d/{}/hosts.toml", registry::NAME);
    state.write(
        &certs,
        format!("[host.\"http://{}\"]\n  capabilities = [\"pull\", \"resolve\"]\n", registry::address()),
    )?;
    state.write("cni/10-node.conflist", network_config(state))?;
    let config = state.write("containerd/config.toml", config(state, sandbox_image))?;
    // The shim is found by PATH.
    let path = format!("PATH={}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let args = vec![
        path,
        bin.join("containerd").display().to_string(),
        "--config".into(),
        config.display().to_string(),
    ];
    process::start(state, &Part { name: "containerd", program: Path::new("env"), args, netns: Some(NETNS) })
}

/// Whether it accepts connections.
pub fn ready(state: &State) -> bool {
    UnixStream::connect(socket(state)).is_ok()
}

/// Its socket.
pub fn socket(state: &State) -> String {
    state.arg("containerd/containerd.sock")
}

/// Each pod gets a link of its own, so traffic between two pods is routed and kube-proxy sees it; a bridge would
/// pass it below the firewall unless the host loads `br_netfilter`.
fn network_config(state: &State) -> String {
    json!({
        "cniVersion": "0.4.0",
        "name": NETWORK,
        "plugins": [
            {
                "type": "ptp",
                "ipam": {
                    "type": "host-local",
                    "dataDir": state.arg("cni-data"),
                    "ranges": [[{"subnet": crate::network::PODS}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
    .to_string()
}

fn config(state: &State, sandbox_image: &str) -> String {
    // restrict_oom_score_adj: without CAP_SYS_RESOURCE runc cannot lower the score and fails.
    format!(
        r#"version = 3
imports = []
root = "{folder}/root"
state = "{folder}/state"

[grpc]
  address = "{socket}"

[ttrpc]
  address = "{socket}.ttrpc"

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{sandbox_image}"

[plugins."io.containerd.cri.v1.images".registry]
  config_path = "{folder}/certs.d"

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  cdi_spec_dirs = []

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  Root = "{folder}/runc"
  SystemdCgroup = false

[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["/usr/lib/cni"]
  conf_dir = "{cni}"
  use_internal_loopback = true

[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"

[plugins."io.containerd.nri.v1.nri"]
  disable = true
"#,
        folder = state.arg("containerd"),
        socket = socket(state),
        cni = state.arg("cni"),
    )
}
