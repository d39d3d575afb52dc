//! The application's pods.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Autoscaling, Disruption, Identity, Probes, Resources, Toleration, TopologySpreadConstraint, Volume,
};

/// The application: one container, run under Pod Security `restricted` with a read-only root.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.replicas) && has(self.autoscaling))")
        .message("spec.workload.replicas: cannot be set together with spec.workload.autoscaling; remove replicas"),
    validation = Rule::new("!has(self.volumes) || self.volumes.all(v, self.volumes.exists_one(w, w.name == v.name) && self.volumes.exists_one(w, w.mountPath == v.mountPath))")
        .message("spec.workload.volumes: every name and every mountPath must be unique; rename one of the two"),
    validation = Rule::new("!has(self.env) || self.env.all(e, self.env.exists_one(f, f.name == e.name))")
        .message("spec.workload.env: every name must be unique; remove the second one"),
    validation = Rule::new("!has(self.env) || !has(self.identity) || self.env.all(e, !(has(self.identity.aws) && e.name in ['AWS_ROLE_ARN', 'AWS_WEB_IDENTITY_TOKEN_FILE']) && !(has(self.identity.azure) && e.name in ['AZURE_CLIENT_ID', 'AZURE_FEDERATED_TOKEN_FILE', 'AZURE_TENANT_ID']) && !(has(self.identity.gcp) && e.name == 'GOOGLE_APPLICATION_CREDENTIALS'))")
        .message("spec.workload.env: with spec.workload.identity the operator sets the variables that the cloud's SDK reads; remove yours, or remove the identity")
)]
pub struct Workload {
    /// Container image, best by digest (`name@sha256:...`); `environment: production` requires one.
    #[schemars(length(max = 512))]
    #[x_kube(validation = crate::rules::matches(
        "spec.workload.image",
        "^[a-z0-9]([-a-z0-9._]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[a-f0-9]{64})?$",
        "a lower-case image name with optional registry, tag and sha256 digest, such as ghcr.io/acme/studio:1.4.2",
    ))]
    pub image: String,
    /// When the kubelet pulls the image. Default: `IfNotPresent` for an image by digest, else Always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Secrets of this namespace with registry credentials; only the kubelet reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Entrypoint. Left out: the image's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 1024)))]
    #[x_kube(validation = crate::rules::each_matches("spec.workload.command", "^[\\t\\n -~]*$", "printable ASCII, tabs and newlines"))]
    pub command: Vec<String>,
    /// Arguments. Left out: the image's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 1024)))]
    #[x_kube(validation = crate::rules::each_matches("spec.workload.args", "^[\\t\\n -~]*$", "printable ASCII, tabs and newlines"))]
    pub args: Vec<String>,
    /// Environment variables that are no secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub env: Vec<EnvVar>,
    /// Container ports. Default: http 8443, metrics 9090.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<Ports>,
    /// Number of pods, 0 to 500. Left out: 2 at creation, then whatever `kubectl scale` or an autoscaler set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 500))]
    pub replicas: Option<i32>,
    /// A `HorizontalPodAutoscaler`; not together with `replicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// CPU, memory and local storage. Default: requests 100m, 128Mi, 64Mi and limits 1, 256Mi, 256Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Health checks by HTTP on the `http` port. Default: `/livez` for startup and liveness, `/readyz` for readiness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<Probes>,
    /// Seconds from SIGTERM to SIGKILL, preStop included, 10 to 3600. Default: 45.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 3600))]
    pub termination_grace_period_seconds: Option<i64>,
    /// Seconds without progress after which a rollout counts as failed, 10 to 3600. New values of `spec.secrets` are then taken
    /// back. Default: 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 3600))]
    pub progress_deadline_seconds: Option<i32>,
    /// `PriorityClass`; the `system-` classes are the cluster's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = crate::rules::object_name("spec.workload.priorityClassName", "self"))]
    #[x_kube(validation = Rule::new("!self.startsWith('system-')").message("spec.workload.priorityClassName: classes that begin with system- are for the cluster's own pods; use one of the platform's"))]
    pub priority_class_name: Option<String>,
    /// Node labels that must match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::labels")]
    #[x_kube(validation = crate::rules::label_keys("spec.workload.nodeSelector"))]
    #[x_kube(validation = crate::rules::label_values("spec.workload.nodeSelector"))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
    /// How pods spread over the cluster. Default: over nodes and zones, best effort.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(validation = Rule::new("self.all(c, self.exists_one(d, d.topologyKey == c.topologyKey))")
        .message("spec.workload.topologySpreadConstraints: every topologyKey must be unique; remove the second one"))]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Additional labels of the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::labels")]
    #[x_kube(validation = crate::rules::label_keys("spec.workload.podLabels"))]
    #[x_kube(validation = crate::rules::own_keys("spec.workload.podLabels"))]
    #[x_kube(validation = crate::rules::label_values("spec.workload.podLabels"))]
    pub pod_labels: BTreeMap<String, String>,
    /// Additional annotations of the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::annotations")]
    #[x_kube(validation = crate::rules::label_keys("spec.workload.podAnnotations"))]
    #[x_kube(validation = crate::rules::own_keys("spec.workload.podAnnotations"))]
    #[x_kube(validation = crate::rules::values_match("spec.workload.podAnnotations", "^[\\t\\n -~]*$", "made of values of printable ASCII, tabs and newlines"))]
    pub pod_annotations: BTreeMap<String, String>,
    /// Run in a user namespace (`hostUsers: false`); needs runc 1.2 and a recent kernel on every node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_namespaces: Option<bool>,
    /// How many pods a drain may take away. Default: one at a time when there are two or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruption: Option<Disruption>,
    /// Volumes to mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub volumes: Vec<Volume>,
    /// A cloud identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
}

/// An object of this namespace by name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
pub struct LocalObjectReference {
    /// Its name.
    #[schemars(length(max = 253))]
    #[x_kube(validation = crate::rules::object_name("spec.workload.imagePullSecrets.name", "self"))]
    pub name: String,
}

/// When the kubelet pulls an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(transform = crate::schema::without_description)]
pub enum ImagePullPolicy {
    /// At every start.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// Never; it must be on the node.
    Never,
}

/// An environment variable with a plain value.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
pub struct EnvVar {
    /// Name: letters, digits and underscore, not beginning with a digit.
    #[schemars(length(max = 128))]
    #[x_kube(validation = crate::rules::matches(
        "spec.workload.env.name", "^[A-Za-z_][A-Za-z0-9_]*$", "letters, digits and _, not beginning with a digit",
    ))]
    #[x_kube(validation = Rule::new("!self.matches('^(LD_.*|KUBERNETES_.*|PATH|HARDENED_.*)$')")
        .message("spec.workload.env.name: PATH and names that begin with LD_, KUBERNETES_ or HARDENED_ are not allowed, because they can change what runs; use another name"))]
    #[x_kube(validation = Rule::new("!(self in ['ENVIRONMENT', 'API_BIND', 'METRICS_BIND', 'TLS_DIR', 'POLICY_FILE', 'POD_NAME', 'POD_NAMESPACE', 'REDIS_URL_FILE'])")
        .message("spec.workload.env.name: ENVIRONMENT, API_BIND, METRICS_BIND, TLS_DIR, POLICY_FILE, POD_NAME, POD_NAMESPACE and REDIS_URL_FILE are set by the operator; remove it, or use another name"))]
    pub name: String,
    /// Value. `$(NAME)` is expanded by Kubernetes.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    #[x_kube(validation = Rule::new("!self.contains('\\x00')")
        .message("spec.workload.env.value: must not contain the character NUL; remove it"))]
    pub value: String,
}

/// Ports of the container, above 1023 because the pod has no capability to bind lower ones.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("(has(self.http) ? self.http : 8443) != (has(self.metrics) ? self.metrics : 9090)")
        .message("spec.workload.ports: http (default 8443) and metrics (default 9090) must differ; change one of them")
)]
pub struct Ports {
    /// HTTPS. Default: 8443.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 65535))]
    pub http: Option<i32>,
    /// Prometheus metrics. Default: 9090.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 65535))]
    pub metrics: Option<i32>,
}
