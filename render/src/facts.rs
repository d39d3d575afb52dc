//! Everything besides the spec that decides what the children look like.

use std::{collections::BTreeMap, num::NonZeroUsize};

use serde::{Deserialize, Serialize};

use crate::{CertManagerSettings, DatabaseJob, Kind, VaultConnection};

/// Facts that the operator observed or minted. They hold no secret: keys and values stay in the operator.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The platform's settings.
    pub settings: Settings,
    /// Patterns of the namespace's annotation `hardened.dev/allowed-hosts`: exact names, or `*.` and a suffix for one label.
    pub allowed_hosts: Vec<String>,
    /// Certificates (PEM) that clients of the service should trust.
    pub ca_bundle: String,
    /// Tells that it is longer than the issuer's for a while: value of an annotation beside it.
    pub ca_bundle_seal: Option<String>,
    /// Value of the pod template's annotation `hardened.dev/restart-hash`.
    pub restart_hash: String,
    /// New values of `spec.secrets` with which a Job logs in to Postgres first: what their names end in.
    pub login: Option<String>,
    /// The Job that is to work on the database.
    pub database: Option<DatabaseJob>,
    /// Whether the values before are kept, in case the pods do not start with the new ones.
    pub keeps_values_before: bool,
    /// Pods that the live Deployment asks for, when there is one.
    pub live_replicas: Option<i32>,
}

/// Settings of the platform that reach the children.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Settings {
    /// DNS suffix of the cluster.
    pub cluster_domain: String,
    /// Pods that answer DNS (port 53).
    pub dns: Vec<Peer>,
    /// The edge (ingress controller or Gateway) that may connect to the `http` port.
    pub edge: Vec<Peer>,
    /// Monitoring that may connect to the `metrics` port.
    pub monitoring: Vec<Peer>,
    /// The prober that may connect to both ports.
    pub prober: Vec<Peer>,
    /// Annotations that others may put on Services, `ServiceAccounts` and pod templates.
    pub tolerated_annotations: Vec<String>,
    /// Vaults that services may use, by the name that they give.
    pub vault_connections: BTreeMap<String, VaultConnection>,
    /// What services may use of cert-manager.
    pub cert_manager: CertManagerSettings,
    /// Restarts because of new values.
    pub restarts: Restarts,
    /// Jobs of services.
    pub jobs: Jobs,
}

/// Jobs that work for a service, such as a login to Postgres with new values.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Jobs {
    /// The operator's own image, from which they run. Without it there are none.
    pub image: Option<String>,
    /// Whether they may change the configuration of a Postgres server (`ALTER SYSTEM`) for what pgaudit needs, where the login
    /// of a service may. Nobody restarts the server.
    pub alter_system: bool,
}

impl Settings {
    /// The kinds of children that are always watched.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + use<> {
        Kind::BUILT_IN.into_iter().chain(self.jobs.image.is_some().then_some(Kind::Job))
    }
}

/// How many services restart at the same time because values of `spec.secrets` changed.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Restarts {
    /// At most so many.
    pub at_once: NonZeroUsize,
}

impl Default for Restarts {
    fn default() -> Self {
        Self { at_once: NonZeroUsize::MIN.saturating_add(9) }
    }
}

/// Pods chosen by labels of their namespace and of their own.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Peer {
    /// Labels of the namespace; at least one.
    pub namespace_labels: BTreeMap<String, String>,
    /// Labels of the pods; none means every pod of the namespace.
    pub pod_labels: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        let peer = |namespace: &str, pod: Option<(&str, &str)>| Peer {
            namespace_labels: BTreeMap::from([("kubernetes.io/metadata.name".into(), namespace.into())]),
            pod_labels: pod.map(|(key, value)| (key.into(), value.into())).into_iter().collect(),
        };
        Self {
            cluster_domain: "cluster.local".into(),
            dns: vec![peer("kube-system", Some(("k8s-app", "kube-dns")))],
            edge: Vec::new(),
            monitoring: vec![peer("monitoring", None)],
            // The operator looks at certificates while its CA is replaced.
            prober: [("app.kubernetes.io/component", "prober"), ("hardened.dev/component", "operator")]
                .map(|label| peer("hardened-system", Some(label)))
                .into(),
            tolerated_annotations: Vec::new(),
            vault_connections: BTreeMap::new(),
            cert_manager: CertManagerSettings::default(),
            restarts: Restarts::default(),
            jobs: Jobs::default(),
        }
    }
}
