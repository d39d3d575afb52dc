//! kube-controller-manager and kube-scheduler: their flags. When they are ready shows in the cluster, not here.

use std::path::Path;

use anyhow::Result;

use crate::pki::{self, Authority};
use crate::process::{self, Part};
use crate::state::State;

/// Starts both against the apiserver at `server`.
pub fn start(state: &State, authority: &Authority<'_>, bin: &Path, server: &str) -> Result<()> {
    let manager = vec![
        format!("--service-account-private-key-file={}", state.arg("pki/service-account.key")),
        format!("--root-ca-file={}", state.arg("pki/ca.crt")),
        "--use-service-account-credentials=true".into(),
        "--kube-api-qps=200".into(),
        "--kube-api-burst=400".into(),
    ];
    component(state, authority, bin, server, "kube-controller-manager", manager)?;
    component(state, authority, bin, server, "kube-scheduler", Vec::new())
}

fn component(
    state: &State,
    authority: &Authority<'_>,
    bin: &Path,
    server: &str,
    name: &str,
    more: Vec<String>,
) -> Result<()> {
    authority.client(name, &format!("system:{name}"), None)?;
    let kubeconfig = pki::kubeconfig(state, name, server, &format!("{name}.kubeconfig"))?;
    let mut args = vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        // One of each: nobody to agree with, and nobody asks for their metrics.
        "--leader-elect=false".into(),
        "--secure-port=0".into(),
    ];
    args.extend(more);
    process::start(state, &Part { name, program: &bin.join(name), args, netns: None })
}
