//! The Job that logs in to Postgres with new values before the pods get them, and the Secret that it reads. The values are
//! the operator's.

use std::collections::BTreeMap;

use crds::{HardenedService, PostgresLogin};
use k8s_openapi::api::{
    batch::v1::{Job, JobSpec},
    core::v1::{Container, PodSpec, PodTemplateSpec, Volume, VolumeMount},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use crate::{
    Facts, SecretPlan, defaults,
    meta::{self, Component},
    pod, quantity, secrets, security, volumes,
};

const DIR: &str = "/etc/hardened/login";
const VOLUME: &str = "login";
/// Seconds in which the pod must be scheduled, start, and try for half a minute.
const DEADLINE_SECONDS: i64 = 120;
/// Seconds after which an ended Job goes, so that the next one can try again.
const KEPT_SECONDS: i32 = 60;

/// Name of the Job and of its Secret. Other values have another name: neither can be changed.
pub fn name(service: &HardenedService, values: &str) -> String {
    meta::child_name(&service.name_any(), &format!("login-{values}"))
}

/// What the Job reads, without values.
pub fn secret(service: &HardenedService, facts: &Facts) -> Option<SecretPlan> {
    let values = facts.login.as_ref()?;
    let mut keys: Vec<_> = names(service).cloned().map(Into::into).collect();
    keys.sort();
    keys.dedup();
    Some(SecretPlan {
        metadata: meta::named_with(service, &format!("login-{values}"), Component::Secrets),
        type_: "Opaque",
        keys,
    })
}

/// The Job; nothing while no new values are tried.
pub fn job(service: &HardenedService, facts: &Facts) -> Option<Job> {
    let values = facts.login.as_ref()?;
    Some(Job {
        metadata: meta::named_with(service, &format!("login-{values}"), Component::Job),
        spec: Some(JobSpec {
            active_deadline_seconds: Some(DEADLINE_SECONDS),
            ttl_seconds_after_finished: Some(KEPT_SECONDS),
            backoff_limit: Some(0),
            completion_mode: Some("NonIndexed".into()),
            completions: Some(1),
            manual_selector: Some(false),
            parallelism: Some(1),
            pod_replacement_policy: Some("TerminatingOrFailed".into()),
            suspend: Some(false),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(pod_labels(service)), ..ObjectMeta::default() }),
                spec: Some(pod_spec(service, facts, values)),
            },
            ..JobSpec::default()
        }),
        ..Job::default()
    })
}

/// The pods are no part of the service: with its label they would get its traffic.
fn pod_labels(service: &HardenedService) -> BTreeMap<String, String> {
    let mut labels = meta::labels(service, Component::Job);
    labels.remove(crds::SERVICE_LABEL);
    labels.insert(crds::JOB_LABEL.into(), service.name_any());
    labels
}

fn pod_spec(service: &HardenedService, facts: &Facts, values: &str) -> PodSpec {
    let source = volumes::secret(&name(service, values));
    let login = Volume { name: VOLUME.into(), secret: Some(source), ..Volume::default() };
    // An address may name a file with the CA that the platform's or the user's volume holds.
    let users = service.spec.workload.volumes.iter().filter(|v| v.config_map.is_some() || v.secret.is_some());
    let (volumes, mounts): (Vec<_>, Vec<_>) = [(login, volumes::read_only(VOLUME, DIR))]
        .into_iter()
        .chain(secrets::mounted(service))
        .chain(users.map(volumes::users))
        .unzip();
    PodSpec {
        containers: vec![container(service, facts, mounts)],
        volumes: Some(volumes),
        termination_grace_period_seconds: Some(5),
        restart_policy: Some("Never".into()),
        ..pod::common(service)
    }
}

fn container(service: &HardenedService, facts: &Facts, mounts: Vec<VolumeMount>) -> Container {
    let image = facts.settings.jobs.image.clone().unwrap_or_default();
    let pull = defaults::image_pull_policy(&image);
    Container {
        name: "login".into(),
        image_pull_policy: Some(crate::container::pull_policy(pull).into()),
        image: Some(image),
        args: Some(args(service)),
        resources: Some(quantity::requirements(None)),
        security_context: Some(security::container()),
        termination_message_path: Some("/dev/termination-log".into()),
        termination_message_policy: Some("File".into()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

/// Names of files only.
fn args(service: &HardenedService) -> Vec<String> {
    let file = |name: &str| format!("{DIR}/{name}");
    let of = |login: &PostgresLogin| {
        let password = login.password.iter().map(|name| format!(":{}", file(name)));
        format!("{}{}", file(&login.url), password.collect::<String>())
    };
    ["postgres-login".to_owned()].into_iter().chain(logins(service).iter().map(of)).collect()
}

/// Names of the values that a login needs.
pub fn names(service: &HardenedService) -> impl Iterator<Item = &String> {
    logins(service).iter().flat_map(|login| [Some(&login.url), login.password.as_ref()]).flatten()
}

/// The addresses that are tried.
pub fn logins(service: &HardenedService) -> &[PostgresLogin] {
    service.spec.secrets.as_ref().map(|secrets| &*secrets.postgres_logins).unwrap_or_default()
}
