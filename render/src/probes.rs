//! Health checks and the drain. All three probes go by HTTPS to the `http` port, so they see what clients see.

use crds::Workload;
use k8s_openapi::{
    api::core::v1::{HTTPGetAction, Lifecycle, LifecycleHandler, Probe, SleepAction},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::defaults;

/// A probe's path, period and failures in a row that count.
type Default3 = (&'static str, i32, i32);

/// Two minutes to start, looked at often, so that a fast start is noticed at once.
pub fn startup(workload: &Workload) -> Probe {
    probe(workload.probes.as_ref().and_then(|p| p.startup.as_ref()), ("/livez", 2, 60))
}

/// Slow and patient: a restart helps only a process that hangs.
pub fn liveness(workload: &Workload) -> Probe {
    probe(workload.probes.as_ref().and_then(|p| p.liveness.as_ref()), ("/livez", 10, 3))
}

/// Quick to take a pod out of the traffic.
pub fn readiness(workload: &Workload) -> Probe {
    probe(workload.probes.as_ref().and_then(|p| p.readiness.as_ref()), ("/readyz", 5, 3))
}

fn probe(spec: Option<&crds::Probe>, (path, period, threshold): Default3) -> Probe {
    let spec = spec.cloned().unwrap_or_default();
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(spec.path.unwrap_or_else(|| path.into())),
            port: IntOrString::String("http".into()),
            scheme: Some("HTTPS".into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(spec.period_seconds.unwrap_or(period)),
        timeout_seconds: Some(spec.timeout_seconds.unwrap_or(3)),
        failure_threshold: Some(spec.failure_threshold.unwrap_or(threshold)),
        success_threshold: Some(1),
        ..Probe::default()
    }
}

/// The pod still serves while its endpoint leaves every proxy; a shell for `sleep` is not needed.
pub fn lifecycle() -> Lifecycle {
    Lifecycle {
        pre_stop: Some(LifecycleHandler {
            sleep: Some(SleepAction { seconds: defaults::PRE_STOP_SECONDS }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    }
}
