//! Scales the pods by CPU. It needs a metrics API in the cluster.

use crds::HardenedService;
use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec,
    MetricTarget, ResourceMetricSource,
};
use kube::ResourceExt;

use crate::{
    defaults,
    meta::{self, Component},
};

pub fn horizontal_pod_autoscaler(service: &HardenedService) -> Option<HorizontalPodAutoscaler> {
    let autoscaling = service.spec.workload.autoscaling.as_ref()?;
    let target = autoscaling.target_cpu_utilization_percentage.unwrap_or(defaults::TARGET_CPU);
    Some(HorizontalPodAutoscaler {
        metadata: meta::named_as_service(service, Component::Workload),
        spec: HorizontalPodAutoscalerSpec {
            min_replicas: Some(autoscaling.min_replicas.unwrap_or(defaults::MIN_REPLICAS)),
            max_replicas: autoscaling.max_replicas,
            metrics: Some(vec![MetricSpec {
                type_: "Resource".into(),
                resource: Some(ResourceMetricSource {
                    name: "cpu".into(),
                    target: MetricTarget {
                        type_: "Utilization".into(),
                        average_utilization: Some(target),
                        ..MetricTarget::default()
                    },
                }),
                ..MetricSpec::default()
            }]),
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".into()),
                kind: "Deployment".into(),
                name: service.name_any(),
            },
            ..HorizontalPodAutoscalerSpec::default()
        },
        ..HorizontalPodAutoscaler::default()
    })
}
