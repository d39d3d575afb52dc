//! The report of a Job's pod, if it is that pod's. Whoever makes pods in the namespace may make one that claims to be the
//! Job's: so the pod must run our image with our arguments, the Secrets of the spec, and nothing beside.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use kube::core::DynamicObject;
use postgres_hardening::Report;
use render::{DatabaseJob, Facts};

use crate::{error::Error, issuer::Case, jobs};

/// What a Job's pods left.
pub enum Found {
    /// The report of one that was just as the Job's template asks for.
    Report(Box<Report>),
    /// Nothing but pods that somebody changed.
    Changed,
    /// No report.
    Nothing,
}

/// Looks for it.
pub async fn report(case: &Case<'_>, live: &DynamicObject, job: &DatabaseJob) -> Result<Found, Error> {
    let facts = Facts { database: Some(job.clone()), ..case.facts.clone() };
    let wanted = render::database::job(case.service, &facts).and_then(|job| job.spec?.template.spec);
    let name = render::database::name(case.service, &job.run);
    let pods = jobs::pods(case, &name).await?;
    let uid = live.metadata.uid.as_ref();
    let of_job = pods.iter().filter(|pod| {
        let mut owners = pod.metadata.owner_references.iter().flatten();
        owners.any(|owner| owner.controller == Some(true) && Some(&owner.uid) == uid)
    });
    Ok(wanted.map_or(Found::Nothing, |wanted| among(of_job, &wanted)))
}

fn among<'a>(pods: impl Iterator<Item = &'a Pod>, wanted: &PodSpec) -> Found {
    let mut found = Found::Nothing;
    for pod in pods {
        let Some(report) = message(pod) else { continue };
        if pod.spec.as_ref().is_some_and(|spec| is_as_wanted(spec, wanted)) {
            return Found::Report(Box::new(report));
        }
        found = Found::Changed;
    }
    found
}

fn message(pod: &Pod) -> Option<Report> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let status = statuses.iter().find(|status| status.name == render::database::CONTAINER)?;
    jobs::report(status).filter(|_| status.restart_count == 0)
}

/// Whether the pod has everything that decides who wrote the message. Another container beside it, as a mesh puts there,
/// cannot: it shares neither processes nor files.
fn is_as_wanted(pod: &PodSpec, wanted: &PodSpec) -> bool {
    let named = |pod: &PodSpec| {
        let mut all = pod.containers.iter().filter(|c| c.name == render::database::CONTAINER);
        all.next().cloned()
    };
    let (Some(there), Some(ours)) = (named(pod), named(wanted)) else { return false };
    // `kubectl debug` reaches the files of a running container.
    let alone = pod.ephemeral_containers.as_ref().is_none_or(Vec::is_empty)
        && pod.share_process_namespace != Some(true);
    alone
        && there.image == ours.image
        && there.args == ours.args
        && there.command.is_none()
        && there.env.as_ref().is_none_or(Vec::is_empty)
        && there.env_from.as_ref().is_none_or(Vec::is_empty)
        && there.volume_mounts == ours.volume_mounts
        && mounted_secrets(pod, &there) == mounted_secrets(wanted, &ours)
}

/// The Secrets behind the container's volumes, in the order of its mounts.
fn mounted_secrets(pod: &PodSpec, container: &Container) -> Vec<Option<String>> {
    let of = |name: &str| {
        let mut volumes = pod.volumes.iter().flatten();
        volumes.find(|volume| volume.name == name)?.secret.as_ref()?.secret_name.clone()
    };
    container.volume_mounts.iter().flatten().map(|mount| of(&mount.name)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn wanted() -> PodSpec {
        serde_json::from_value(json!({
            "containers": [{
                "name": "postgres", "image": "ours", "args": ["harden-postgres", "--plan={}"],
                "volumeMounts": [{"name": "connection", "mountPath": "/etc/x", "readOnly": true}],
            }],
            "volumes": [{"name": "connection", "secret": {"secretName": "admin"}}],
        }))
        .unwrap()
    }

    /// A pod whose message is a good report, changed by a merge patch.
    fn pod(path: &str, value: Value) -> Pod {
        let mut pod = json!({
            "spec": wanted(),
            "status": {"containerStatuses": [
                {"name": "mesh", "image": "x", "imageID": "x", "ready": false, "restartCount": 3},
                {
                    "name": "postgres", "image": "x", "imageID": "x", "ready": false, "restartCount": 0,
                    "state": {"terminated": {"exitCode": 0, "message": r#"{"evidence": {"serverVersion": 150018}}"#}},
                },
            ]},
        });
        if let Some(place) = pod.pointer_mut(path) {
            *place = value;
        } else {
            let (parent, name) = path.rsplit_once('/').unwrap();
            pod.pointer_mut(parent).unwrap()[name] = value;
        }
        serde_json::from_value(pod).unwrap()
    }

    fn found(path: &str, value: Value) -> Found {
        among([pod(path, value)].iter(), &wanted())
    }

    #[test]
    fn the_report_of_the_jobs_own_pod_is_believed_also_beside_a_container_of_a_mesh() {
        let Found::Report(report) = found("/metadata", json!({})) else { panic!("not believed") };
        assert_eq!(report.evidence.unwrap().server_version, 150_018);
        let mesh = json!([{"name": "mesh", "image": "mesh"}, wanted().containers[0]]);
        assert!(matches!(found("/spec/containers", mesh), Found::Report(_)));
    }

    #[test]
    fn a_pod_that_somebody_changed_is_not_believed() {
        for (path, value) in [
            ("/spec/containers/0/image", json!("theirs")),
            ("/spec/containers/0/args", json!(["harden-postgres", "--plan={\"extensions\": []}"])),
            ("/spec/containers/0/command", json!(["/bin/echo"])),
            ("/spec/containers/0/env", json!([{"name": "LD_PRELOAD", "value": "x"}])),
            ("/spec/containers/0/envFrom", json!([{"secretRef": {"name": "x"}}])),
            ("/spec/containers/0/volumeMounts/0/mountPath", json!("/etc/y")),
            ("/spec/containers/0/name", json!("other")),
            ("/spec/volumes/0/secret/secretName", json!("theirs")),
            ("/spec/ephemeralContainers", json!([{"name": "debug", "image": "x"}])),
            ("/spec/shareProcessNamespace", json!(true)),
        ] {
            assert!(matches!(found(path, value), Found::Changed), "{path}");
        }
    }

    #[test]
    fn what_is_no_report_of_a_first_try_is_none() {
        let status = "/status/containerStatuses/1";
        for (path, value) in [
            ("/state/terminated/message", json!("Come to evil.example")),
            ("/state/terminated/message", json!(r#"{"evidence": {"serverVersion": 1}, "hint": "x"}"#)),
            ("/state/terminated", json!(null)),
            ("/restartCount", json!(1)),
        ] {
            assert!(matches!(found(&format!("{status}{path}"), value), Found::Nothing), "{path}");
        }
    }
}
