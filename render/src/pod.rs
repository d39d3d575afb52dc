//! What every pod of a service has, the workload's and those of its Jobs: an identity without a token, the limits of Pod
//! Security `restricted`, and the nodes and pull secrets of the spec.

use crds::HardenedService;
use k8s_openapi::api::core::v1::{LocalObjectReference, PodSpec};
use kube::ResourceExt;

use crate::{scheduling, security, some};

pub fn common(service: &HardenedService) -> PodSpec {
    let workload = &service.spec.workload;
    let pull = workload.image_pull_secrets.iter();
    PodSpec {
        service_account_name: Some(service.name_any()),
        // The server writes the old name of the field as well.
        service_account: Some(service.name_any()),
        automount_service_account_token: Some(false),
        // Otherwise every Service of the namespace becomes environment of the process.
        enable_service_links: Some(false),
        security_context: Some(security::pod()),
        host_users: workload.user_namespaces.unwrap_or_default().then_some(false),
        node_selector: some(workload.node_selector.clone()),
        tolerations: some(workload.tolerations.iter().map(scheduling::toleration).collect()),
        image_pull_secrets: some(pull.map(|of| LocalObjectReference { name: of.name.clone() }).collect()),
        dns_policy: Some("ClusterFirst".into()),
        scheduler_name: Some("default-scheduler".into()),
        ..PodSpec::default()
    }
}
