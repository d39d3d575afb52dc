//! The one container of the pod.

use crds::{HardenedService, ImagePullPolicy};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, EnvVarSource, ObjectFieldSelector, VolumeMount,
};

use crate::{defaults, identity, policy, probes, quantity, redis, secrets, security, some, volumes};

pub fn container(service: &HardenedService, mounts: Vec<VolumeMount>) -> Container {
    let workload = &service.spec.workload;
    let (http, metrics) = defaults::ports(service);
    let pull = workload.image_pull_policy.unwrap_or_else(|| defaults::image_pull_policy(&workload.image));
    Container {
        name: "app".into(),
        image: Some(workload.image.clone()),
        image_pull_policy: Some(pull_policy(pull).into()),
        command: some(workload.command.clone()),
        args: some(workload.args.clone()),
        env: Some(env(service)),
        env_from: secrets::env_from(service),
        ports: Some(vec![port("http", http), port("metrics", metrics)]),
        resources: Some(quantity::requirements(workload.resources.as_ref())),
        startup_probe: Some(probes::startup(workload)),
        liveness_probe: Some(probes::liveness(workload)),
        readiness_probe: Some(probes::readiness(workload)),
        lifecycle: Some(probes::lifecycle()),
        security_context: Some(security::container()),
        termination_message_path: Some("/dev/termination-log".into()),
        termination_message_policy: Some("File".into()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

/// As a pod has it.
pub const fn pull_policy(policy: ImagePullPolicy) -> &'static str {
    match policy {
        ImagePullPolicy::Always => "Always",
        ImagePullPolicy::IfNotPresent => "IfNotPresent",
        ImagePullPolicy::Never => "Never",
    }
}

fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.into()),
        container_port: number,
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }
}

/// Names of the variables that the container has besides those of `spec.secrets`.
pub fn variables(service: &HardenedService) -> impl Iterator<Item = String> {
    env(service).into_iter().map(|variable| variable.name)
}

/// Ours first, so that `$(POD_NAME)` works in the user's. The schema refuses a clash; in a resource that is older than
/// that rule ours wins, because the policies depend on it.
fn env(service: &HardenedService) -> Vec<EnvVar> {
    let (http, metrics) = defaults::ports(service);
    let mut all = vec![
        var("ENVIRONMENT", service.spec.environment.as_str()),
        var("API_BIND", &format!("0.0.0.0:{http}")),
        var("METRICS_BIND", &format!("0.0.0.0:{metrics}")),
        var("TLS_DIR", volumes::TLS_DIR),
        var("POLICY_FILE", &format!("{}/{}", policy::DIR, policy::KEY)),
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
    ];
    all.extend(redis::secret_ref(service).map(|_| redis::env()));
    all.extend(secrets::env(service));
    all.extend(service.spec.workload.identity.iter().flat_map(identity::env));
    for user in &service.spec.workload.env {
        if all.iter().all(|ours| ours.name != user.name) {
            all.push(var(&user.name, &user.value));
        }
    }
    all
}

/// A variable; the API server drops an empty value.
pub fn var(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.into(), value: some(value.to_owned()), ..EnvVar::default() }
}

fn field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.into(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { api_version: Some("v1".into()), field_path: path.into() }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ours_wins_in_a_resource_from_before_the_rule_against_clashes() {
        let service: HardenedService = serde_json::from_value(json!({
            "apiVersion": "hardened.dev/v1alpha1", "kind": "HardenedService", "metadata": {"name": "studio"},
            "spec": {"environment": "staging", "workload": {
                "image": "example.com/app:1", "env": [{"name": "TLS_DIR", "value": "/tmp"}, {"name": "MINE", "value": "1"}],
            }}
        }))
        .expect("a service");
        let all = env(&service);
        let of =
            |name: &str| all.iter().filter(|e| e.name == name).map(|e| e.value.clone()).collect::<Vec<_>>();
        assert_eq!(of("TLS_DIR"), [Some(volumes::TLS_DIR.to_owned())]);
        assert_eq!(of("MINE"), [Some("1".to_owned())]);
    }
}
