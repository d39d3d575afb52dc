//! The pods: one container under Pod Security `restricted`, replaced without a gap.

use crds::{HardenedService, RESTART_ANNOTATION};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{PodSpec, PodTemplateSpec},
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use crate::{
    Facts,
    container::container,
    defaults,
    meta::{self, Component},
    pod, replicas, scheduling, some, volumes,
};

pub fn deployment(service: &HardenedService, facts: &Facts) -> Deployment {
    Deployment {
        metadata: meta::named_as_service(service, Component::Workload),
        spec: DeploymentSpec {
            replicas: Some(replicas::at_creation(service, facts)),
            selector: meta::selector(service),
            // A new pod is ready before an old one goes.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::String("25%".into())),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            progress_deadline_seconds: Some(
                service.spec.workload.progress_deadline_seconds.unwrap_or(defaults::PROGRESS_SECONDS),
            ),
            revision_history_limit: Some(10),
            template: PodTemplateSpec {
                metadata: Some(template_metadata(service, facts)),
                spec: Some(pod_spec(service)),
            },
            ..DeploymentSpec::default()
        },
        ..Deployment::default()
    }
}

fn template_metadata(service: &HardenedService, facts: &Facts) -> ObjectMeta {
    let workload = &service.spec.workload;
    let mut labels = workload.pod_labels.clone();
    labels.extend(meta::labels(service, Component::Workload));
    let mut annotations = workload.pod_annotations.clone();
    if !facts.restart_hash.is_empty() {
        annotations.insert(RESTART_ANNOTATION.into(), facts.restart_hash.clone());
    }
    ObjectMeta { labels: Some(labels), annotations: some(annotations), ..ObjectMeta::default() }
}

fn pod_spec(service: &HardenedService) -> PodSpec {
    let workload = &service.spec.workload;
    let (volumes, mounts): (Vec<_>, Vec<_>) = volumes::mounted(service).into_iter().unzip();
    PodSpec {
        containers: vec![container(service, mounts)],
        volumes: Some(volumes),
        affinity: Some(scheduling::affinity(service)),
        topology_spread_constraints: Some(scheduling::spread(service)),
        priority_class_name: workload.priority_class_name.clone(),
        termination_grace_period_seconds: Some(
            workload.termination_grace_period_seconds.unwrap_or(defaults::GRACE_SECONDS),
        ),
        restart_policy: Some("Always".into()),
        ..pod::common(service)
    }
}
