//! kube-apiserver: its flags, its audit policy and when it is ready. What is in the cluster is not its business.

use std::net::IpAddr;
use std::path::Path;

use anyhow::Result;
use serde_json::json;

use crate::pki::{self, Authority};
use crate::process::{self, Part};
use crate::state::State;

/// Range of the cluster's service addresses; the apiserver itself is the first.
pub const SERVICE_RANGE: &str = "10.96.0.0/16";
const SERVICE_ADDRESS: &str = "10.96.0.1";
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Where kube-apiserver listens.
#[derive(Clone, Copy, Debug)]
pub struct ApiServer {
    /// Address that it binds and advertises.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
}

impl ApiServer {
    /// Address for clients.
    pub fn url(&self) -> String {
        format!("https://{}:{}", self.address, self.port)
    }

    /// Writes its certificates, the administrator's and the operator's kubeconfig, and starts it.
    pub fn start(&self, state: &State, authority: &Authority<'_>, bin: &Path, etcd: &str) -> Result<()> {
        let names = [
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "localhost",
            "127.0.0.1",
            SERVICE_ADDRESS,
            &self.address.to_string(),
        ];
        authority.server("apiserver", &names)?;
        authority.client("apiserver-kubelet-client", "apiserver-kubelet-client", Some("system:masters"))?;
        authority.client("admin", "admin", Some("system:masters"))?;
        authority.client(pki::OPERATOR_USER, pki::OPERATOR_USER, None)?;
        pki::kubeconfig(state, "admin", &self.url(), "kubeconfig")?;
        pki::kubeconfig(state, pki::OPERATOR_USER, &self.url(), "operator.kubeconfig")?;
        state.write("audit-policy.json", audit_policy())?;
        let args = self.args(state, etcd);
        process::start(
            state,
            &Part { name: "kube-apiserver", program: &bin.join("kube-apiserver"), args, netns: None },
        )
    }

    fn args(&self, state: &State, etcd: &str) -> Vec<String> {
        // A loopback address cannot be an endpoint of a Service: without a node nobody needs it either.
        let endpoints = if self.address.is_loopback() { "none" } else { "lease" };
        let pki = |file: &str| state.arg(&format!("pki/{file}"));
        [
            ("etcd-servers", etcd.to_owned()),
            ("bind-address", self.address.to_string()),
            ("advertise-address", self.address.to_string()),
            ("secure-port", self.port.to_string()),
            ("endpoint-reconciler-type", endpoints.into()),
            ("cert-dir", state.arg("pki")),
            ("tls-cert-file", pki("apiserver.crt")),
            ("tls-private-key-file", pki("apiserver.key")),
            ("client-ca-file", pki("ca.crt")),
            ("kubelet-client-certificate", pki("apiserver-kubelet-client.crt")),
            ("kubelet-client-key", pki("apiserver-kubelet-client.key")),
            ("kubelet-preferred-address-types", "InternalIP".into()),
            ("service-account-issuer", ISSUER.into()),
            ("service-account-key-file", pki("service-account.pub")),
            ("service-account-signing-key-file", pki("service-account.key")),
            ("service-cluster-ip-range", SERVICE_RANGE.into()),
            ("authorization-mode", "Node,RBAC".into()),
            ("anonymous-auth", "false".into()),
            ("enable-admission-plugins", "NodeRestriction".into()),
            ("allow-privileged", "true".into()),
            ("profiling", "false".into()),
            ("audit-policy-file", state.arg("audit-policy.json")),
            ("audit-log-path", state.arg("audit.log")),
            // A line is written before the next request of the same connection is read, so counts are exact.
            ("audit-log-mode", "blocking".into()),
            ("audit-log-format", "json".into()),
            // The counter works with byte offsets: the file must not rotate under it.
            ("audit-log-maxsize", "16384".into()),
        ]
        .into_iter()
        .map(|(flag, value)| format!("--{flag}={value}"))
        .collect()
    }
}

fn audit_policy() -> String {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata"}],
    })
    .to_string()
}
