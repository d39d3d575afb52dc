//! What every Job of a service has: one try, an end in time, the operator's own image, and files instead of arguments or
//! environment for whatever is secret.

use std::collections::BTreeMap;

use crds::HardenedService;
use k8s_openapi::api::{
    batch::v1::{Job, JobSpec},
    core::v1::{Container, PodSpec, PodTemplateSpec, Volume, VolumeMount},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use crate::{
    Facts, defaults,
    meta::{self, Component},
    pod, quantity, security,
};

/// What a Job has of its own.
pub struct Work {
    /// What its name ends in.
    pub suffix: String,
    /// Name of the container.
    pub container: &'static str,
    /// Subcommand and arguments; nothing secret.
    pub args: Vec<String>,
    /// What it reads.
    pub files: Vec<(Volume, VolumeMount)>,
    /// Seconds in which the pod must be scheduled, start and end.
    pub deadline_seconds: i64,
    /// Seconds after which it goes when it has ended.
    pub kept_seconds: i32,
}

pub fn job(service: &HardenedService, facts: &Facts, work: Work) -> Job {
    Job {
        metadata: meta::named_with(service, &work.suffix, Component::Job),
        spec: Some(JobSpec {
            active_deadline_seconds: Some(work.deadline_seconds),
            ttl_seconds_after_finished: Some(work.kept_seconds),
            backoff_limit: Some(0),
            completion_mode: Some("NonIndexed".into()),
            completions: Some(1),
            manual_selector: Some(false),
            parallelism: Some(1),
            pod_replacement_policy: Some("TerminatingOrFailed".into()),
            suspend: Some(false),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(pod_labels(service)), ..ObjectMeta::default() }),
                spec: Some(pod_spec(service, facts, work)),
            },
            ..JobSpec::default()
        }),
        ..Job::default()
    }
}

/// The pods are no part of the service: with its label they would get its traffic.
fn pod_labels(service: &HardenedService) -> BTreeMap<String, String> {
    let mut labels = meta::labels(service, Component::Job);
    labels.remove(crds::SERVICE_LABEL);
    labels.insert(crds::JOB_LABEL.into(), service.name_any());
    labels
}

fn pod_spec(service: &HardenedService, facts: &Facts, work: Work) -> PodSpec {
    let (volumes, mounts): (Vec<_>, Vec<_>) = work.files.into_iter().unzip();
    let image = facts.settings.jobs.image.clone().unwrap_or_default();
    let pull = defaults::image_pull_policy(&image);
    let container = Container {
        name: work.container.into(),
        image_pull_policy: Some(crate::container::pull_policy(pull).into()),
        image: Some(image),
        args: Some(work.args),
        resources: Some(quantity::requirements(None)),
        security_context: Some(security::container()),
        termination_message_path: Some("/dev/termination-log".into()),
        termination_message_policy: Some("File".into()),
        volume_mounts: Some(mounts),
        ..Container::default()
    };
    PodSpec {
        containers: vec![container],
        volumes: Some(volumes),
        termination_grace_period_seconds: Some(5),
        restart_policy: Some("Never".into()),
        ..pod::common(service)
    }
}
