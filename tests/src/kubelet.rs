//! kubelet and kube-proxy: their configuration for the testbed's one node. Whether the node is ready shows in the
//! cluster, not here.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::network::{NETNS, NODE};
use crate::pki::{self, Authority};
use crate::process::{self, Part};
use crate::state::State;
use crate::{cgroups, containerd};

/// Name of the node.
pub const NODE_NAME: &str = "node-1";

/// Starts both inside the node's network namespace.
pub fn start(state: &State, authority: &Authority<'_>, bin: &Path, server: &str) -> Result<()> {
    authority.server("kubelet-server", &[NODE_NAME, &NODE.to_string()])?;
    authority.client("kubelet", &format!("system:node:{NODE_NAME}"), Some("system:nodes"))?;
    authority.client("kube-proxy", "system:kube-proxy", None)?;
    let kubelet = pki::kubeconfig(state, "kubelet", server, "kubelet.kubeconfig")?;
    pki::kubeconfig(state, "kube-proxy", server, "kube-proxy.kubeconfig")?;
    let config = state.write("kubelet.json", kubelet_config(state).to_string())?;
    let args = vec![
        format!("--config={}", config.display()),
        format!("--kubeconfig={}", kubelet.display()),
        format!("--root-dir={}", state.arg("kubelet")),
        format!("--cert-dir={}", state.arg("kubelet/pki")),
        format!("--node-ip={NODE}"),
        format!("--hostname-override={NODE_NAME}"),
    ];
    component(state, bin, "kubelet", args)?;
    let config = state.write("kube-proxy.json", proxy_config(state).to_string())?;
    component(state, bin, "kube-proxy", vec![format!("--config={}", config.display())])
}

fn component(state: &State, bin: &Path, name: &str, args: Vec<String>) -> Result<()> {
    process::start(state, &Part { name, program: &bin.join(name), args, netns: Some(NETNS) })
}

fn kubelet_config(state: &State) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{}", containerd::socket(state)),
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": state.arg("pki/ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": state.arg("pki/kubelet-server.crt"),
        "tlsPrivateKeyFile": state.arg("pki/kubelet-server.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", cgroups::NAME),
        "failCgroupV1": false,
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        // A test machine's disk is often nearly full; pods must not be evicted for that.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "podLogsDir": state.arg("pod-logs"),
        "volumePluginDir": state.arg("kubelet/volume-plugins"),
        "serializeImagePulls": false,
        "clusterDomain": "cluster.local",
        "nodeStatusUpdateFrequency": "2s",
    })
}

fn proxy_config(state: &State) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": NODE_NAME,
        "clientConnection": {"kubeconfig": state.arg("kube-proxy.kubeconfig")},
        "clusterCIDR": crate::network::PODS,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        // The host's limits on tracked connections are not the node's to change.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    })
}
