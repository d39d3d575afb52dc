//! Which fields of a child may stay changed for a while during a fight. The list is closed: whatever does not stand
//! here is a matter of security and is restored at once.

use crds::SERVICE_LABEL;
use render::Kind;

/// Whether security depends on one of these paths (as `compare::paths` writes them).
pub fn is_security(kind: Kind, paths: &[String]) -> bool {
    !paths.iter().all(|path| is_harmless(kind, path))
}

fn is_harmless(kind: Kind, path: &str) -> bool {
    if let Some(label) = path.strip_prefix("metadata.labels.") {
        // By this one the operator finds the object.
        return label != SERVICE_LABEL;
    }
    if path.starts_with("metadata.annotations") {
        // On these an annotation instructs a load balancer or cert-manager, or names a cloud identity.
        return !matches!(kind, Kind::Service | Kind::ServiceAccount | Kind::Certificate);
    }
    match kind {
        Kind::Deployment => of_deployment(path),
        Kind::PodDisruptionBudget => matches!(path, "spec.maxUnavailable" | "spec.minAvailable"),
        Kind::HorizontalPodAutoscaler => {
            matches!(path, "spec.minReplicas" | "spec.maxReplicas")
                || path == "spec.metrics[0].resource.target.averageUtilization"
        }
        Kind::ServiceAccount
        | Kind::NetworkPolicy
        | Kind::ConfigMap
        | Kind::Secret
        | Kind::Service
        | Kind::Job
        | Kind::Certificate => false,
    }
}

fn of_deployment(path: &str) -> bool {
    const NUMBERS: [&str; 4] = [
        "spec.replicas",
        "spec.minReadySeconds",
        "spec.progressDeadlineSeconds",
        "spec.revisionHistoryLimit",
    ];
    const BELOW: [&str; 4] = [
        "spec.strategy.rollingUpdate.",
        "spec.template.spec.containers[app].resources.limits",
        "spec.template.spec.containers[app].resources.requests",
        "spec.template.spec.topologySpreadConstraints",
    ];
    NUMBERS.contains(&path) || BELOW.iter().any(|prefix| path.starts_with(prefix)) || is_probe_number(path)
}

fn is_probe_number(path: &str) -> bool {
    const FIELDS: [&str; 5] =
        ["initialDelaySeconds", "periodSeconds", "timeoutSeconds", "successThreshold", "failureThreshold"];
    let field =
        path.strip_prefix("spec.template.spec.containers[app].").and_then(|rest| rest.split_once('.'));
    field.is_some_and(|(probe, field)| {
        matches!(probe, "startupProbe" | "livenessProbe" | "readinessProbe") && FIELDS.contains(&field)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn security(kind: Kind, path: &str) -> bool {
        is_security(kind, &[path.to_owned()])
    }

    #[test]
    fn numbers_labels_and_resources_may_wait() {
        for (kind, path) in [
            (Kind::Deployment, "spec.replicas"),
            (Kind::Deployment, "spec.strategy.rollingUpdate.maxSurge"),
            (Kind::Deployment, "spec.template.spec.containers[app].resources.limits.memory"),
            (Kind::Deployment, "spec.template.spec.containers[app].livenessProbe.periodSeconds"),
            (Kind::Deployment, "spec.template.spec.topologySpreadConstraints[0].maxSkew"),
            (Kind::Deployment, "metadata.annotations.example.com/a"),
            (Kind::Service, "metadata.labels.app.kubernetes.io/name"),
            (Kind::PodDisruptionBudget, "spec.maxUnavailable"),
            (Kind::HorizontalPodAutoscaler, "spec.maxReplicas"),
        ] {
            assert!(!security(kind, path), "{path}");
        }
    }

    #[test]
    fn everything_else_is_a_matter_of_security() {
        for (kind, path) in [
            (Kind::Deployment, "spec.template.spec.containers[evil]"),
            (Kind::Deployment, "spec.template.spec.containers[evil].resources.limits"),
            (Kind::Deployment, "spec.template.spec.containers[app].image"),
            (Kind::Deployment, "spec.template.spec.containers[app].command"),
            (Kind::Deployment, "spec.template.spec.containers[app].env[x.resources.limits].value"),
            (Kind::Deployment, "spec.template.spec.containers[app].livenessProbe.httpGet.path"),
            (Kind::Deployment, "spec.template.spec.containers[app].livenessProbe"),
            (Kind::Deployment, "spec.template.spec.containers[app].securityContext.privileged"),
            (Kind::Deployment, "spec.template.spec.hostNetwork"),
            (Kind::Deployment, "spec.template.spec.serviceAccountName"),
            (Kind::Deployment, "spec.template.spec.volumes[host]"),
            (Kind::Deployment, "spec.template.metadata.annotations.a"),
            (Kind::Deployment, "spec.paused"),
            (Kind::Deployment, "spec.strategy.type"),
            (Kind::Deployment, "metadata.labels"),
            (Kind::Deployment, "metadata.labels.hardened.dev/service"),
            (Kind::Deployment, "metadata.ownerReferences[0].uid"),
            (Kind::Service, "metadata.annotations.a"),
            (Kind::Service, "spec.type"),
            (Kind::Service, "spec.externalIPs"),
            (Kind::NetworkPolicy, "spec.ingress"),
            (Kind::Secret, "data.tls.crt"),
            (Kind::ConfigMap, "data.policy.json"),
            (Kind::PodDisruptionBudget, "spec.selector.matchLabels.a"),
        ] {
            assert!(security(kind, path), "{path}");
        }
    }

    #[test]
    fn one_path_of_security_among_others_decides() {
        assert!(is_security(
            Kind::Deployment,
            &["spec.replicas".into(), "spec.template.spec.hostPID".into()]
        ));
        assert!(!is_security(Kind::Deployment, &["spec.replicas".into()]));
    }
}
