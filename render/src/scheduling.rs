//! Where the pods run: spread over nodes and zones, and what the user says about nodes.

use crds::{
    HardenedService, TaintEffect, Toleration as UserToleration, TolerationOperator, WhenUnsatisfiable,
};
use k8s_openapi::api::core::v1::{
    Affinity, PodAffinityTerm, PodAntiAffinity, Toleration, TopologySpreadConstraint, WeightedPodAffinityTerm,
};

use crate::meta;

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// The user's constraints, else over nodes and zones as well as the cluster allows.
pub fn spread(service: &HardenedService) -> Vec<TopologySpreadConstraint> {
    let constraint = |key: &str, max_skew: i32, when: WhenUnsatisfiable| TopologySpreadConstraint {
        label_selector: Some(meta::selector(service)),
        max_skew,
        topology_key: key.into(),
        when_unsatisfiable: match when {
            WhenUnsatisfiable::DoNotSchedule => "DoNotSchedule",
            WhenUnsatisfiable::ScheduleAnyway => "ScheduleAnyway",
        }
        .into(),
        ..TopologySpreadConstraint::default()
    };
    let users = &service.spec.workload.topology_spread_constraints;
    if users.is_empty() {
        return [HOSTNAME, ZONE].map(|key| constraint(key, 1, WhenUnsatisfiable::default())).into();
    }
    users
        .iter()
        .map(|c| {
            constraint(&c.topology_key, c.max_skew.unwrap_or(1), c.when_unsatisfiable.unwrap_or_default())
        })
        .collect()
}

/// Keeps two pods off one node where it can, also while a rollout has more of them than usual.
pub fn affinity(service: &HardenedService) -> Affinity {
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                weight: 100,
                pod_affinity_term: PodAffinityTerm {
                    label_selector: Some(meta::selector(service)),
                    topology_key: HOSTNAME.into(),
                    ..PodAffinityTerm::default()
                },
            }]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

pub fn toleration(user: &UserToleration) -> Toleration {
    Toleration {
        key: user.key.clone(),
        operator: user.operator.map(|operator| {
            match operator {
                TolerationOperator::Equal => "Equal",
                TolerationOperator::Exists => "Exists",
            }
            .into()
        }),
        value: user.value.clone().filter(|value| !value.is_empty()),
        effect: user.effect.map(|effect| {
            match effect {
                TaintEffect::NoSchedule => "NoSchedule",
                TaintEffect::PreferNoSchedule => "PreferNoSchedule",
                TaintEffect::NoExecute => "NoExecute",
            }
            .into()
        }),
        toleration_seconds: user.toleration_seconds,
    }
}
