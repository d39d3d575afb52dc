//! How many pods there are and how many may be away: what the spec says, what is live, what was before.

#![allow(clippy::unwrap_used, reason = "a fixture that does not parse fails the test")]

mod arbitrary;

use crds::HardenedService;
use proptest::prelude::*;
use render::{Body, Facts, Kind, desired, replicas_are_fixed};
use serde_json::{Value, json};

/// Title, workload, pods that status remembers, live count; then replicas of the Deployment and `maxUnavailable`.
type Case = (&'static str, Value, i32, Option<i32>, i32, Option<i32>);

fn cases() -> Vec<Case> {
    let scaled = |min: i32| json!({"autoscaling": {"minReplicas": min, "maxReplicas": 20}});
    let asked = json!({"replicas": 1, "disruption": {"maxUnavailable": 1}});
    vec![
        ("a new service", json!({}), 0, None, 2, Some(1)),
        ("fixed at none", json!({"replicas": 0}), 0, None, 0, None),
        ("fixed at one", json!({"replicas": 1}), 0, Some(1), 1, None),
        ("fixed at one, while ten still live", json!({"replicas": 1}), 10, Some(10), 1, None),
        ("fixed at one, with a budget asked for", asked, 0, None, 1, Some(1)),
        ("fixed at two", json!({"replicas": 2}), 0, None, 2, Some(1)),
        ("open, scaled to one by somebody", json!({}), 2, Some(1), 2, None),
        ("open, scaled to none by somebody", json!({}), 2, Some(0), 2, None),
        ("open, scaled to ten by somebody", json!({}), 2, Some(10), 2, Some(1)),
        ("open, its Deployment of ten deleted", json!({}), 10, None, 10, Some(1)),
        ("a new autoscaler", scaled(3), 0, None, 3, Some(1)),
        ("an autoscaler that may go down to one", scaled(1), 0, None, 1, None),
        ("the same with ten pods now", scaled(1), 10, Some(10), 1, Some(1)),
        ("an autoscaler, its Deployment of ten deleted", scaled(3), 10, None, 10, Some(1)),
        ("the same, above its maximum", scaled(3), 30, None, 20, Some(1)),
        ("the same, below its minimum", scaled(3), 1, None, 3, Some(1)),
    ]
}

#[test]
fn the_count_and_the_budget_follow_the_spec_then_the_live_number_then_the_last_one() {
    for (title, workload, last, live, replicas, budget) in cases() {
        let mut spec = json!({"environment": "staging", "workload": {"image": "example.com/app:1"}});
        spec["workload"].as_object_mut().unwrap().extend(workload.as_object().unwrap().clone());
        let service: HardenedService = serde_json::from_value(json!({
            "apiVersion": "hardened.dev/v1alpha1", "kind": "HardenedService",
            "metadata": {"name": "app", "namespace": "team"}, "spec": spec, "status": {"replicas": last},
        }))
        .unwrap();
        let facts = Facts { live_replicas: live, ..Facts::default() };
        assert_eq!(rendered(&service, &facts), (replicas, budget), "{title}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_budget_ever_keeps_a_node_from_being_drained(
        service in arbitrary::service(), live in proptest::option::of(0..=500)
    ) {
        let facts = Facts { live_replicas: live, ..Facts::default() };
        for child in desired(&service, &facts).into_objects() {
            if child.kind == Kind::PodDisruptionBudget {
                let Body::Object(budget) = child.body else { unreachable!("a budget is no Secret") };
                prop_assert!(budget["spec"]["maxUnavailable"].as_i64() >= Some(1));
                prop_assert_eq!(&budget["spec"]["minAvailable"], &Value::Null);
                prop_assert_eq!(&budget["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow");
            }
        }
    }

    #[test]
    fn replicas_follow_the_spec_or_a_default(service in arbitrary::service()) {
        let workload = &service.spec.workload;
        let expected = match (&workload.autoscaling, workload.replicas) {
            (Some(autoscaling), _) => autoscaling.min_replicas.unwrap_or(2),
            (None, Some(replicas)) => replicas,
            (None, None) if service.spec.environment.as_str() == "development" => 1,
            (None, None) => 2,
        };
        prop_assert_eq!(rendered(&service, &Facts::default()).0, expected);
        prop_assert_eq!(replicas_are_fixed(&service), workload.replicas.is_some());
    }
}

/// Replicas of the Deployment, and `maxUnavailable` of the budget when there is one.
fn rendered(service: &HardenedService, facts: &Facts) -> (i32, Option<i32>) {
    let children = desired(service, facts);
    let budget = children.pod_disruption_budget.map(|budget| budget.spec.unwrap().max_unavailable.unwrap());
    let budget = budget.map(|most| serde_json::from_value(json!(most)).unwrap());
    (children.deployment.spec.replicas.unwrap(), budget)
}
