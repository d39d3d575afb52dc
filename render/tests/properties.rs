//! What holds for the children of every custom resource that the CRD accepts.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod arbitrary;

use std::{collections::BTreeSet, process::Command};

use crds::{HardenedService, SERVICE_LABEL};
use kube::ResourceExt;
use proptest::prelude::*;
use render::edge::{Files, Upstream, nginx};
use render::{Body, Facts, desired, hosts, referenced_secrets};
use serde_json::{Value, json};

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pods_pass_pod_security_restricted(service in arbitrary::service()) {
        let pod = deployment(&service)["spec"]["template"]["spec"].clone();
        prop_assert_eq!(violations(&pod), Vec::<String>::new());
    }

    #[test]
    fn an_nginx_can_be_configured_by_each(service in arbitrary::service()) {
        let path = |name: &str| format!("/etc/nginx/tls/{name}");
        let host = nginx::Host {
            upstream: Upstream { address: "app:8443".into(), server_name: "app".into(), ca: path("ca") },
            files: Files { certificate: path("cert"), key: path("key"), static_folder: None },
            listen: nginx::Listen::default(),
            version: nginx::Version::DEBIAN_12,
        };
        let conf = nginx::conf(&service, &host);
        prop_assert!(conf.is_ok(), "{conf:?}");
    }

    #[test]
    fn children_carry_our_name_labels_and_owner_and_nothing_of_the_custom_resource(service in arbitrary::service()) {
        for (kind, metadata, _) in children(&service) {
            let name = metadata["name"].as_str().unwrap();
            prop_assert!((1..=63).contains(&name.len()), "{kind} {name}");
            let mut labels = metadata["labels"].clone();
            labels.as_object_mut().unwrap().remove("app.kubernetes.io/component").unwrap();
            let ours = service.name_any();
            prop_assert_eq!(labels, json!({
                "app.kubernetes.io/instance": ours, "app.kubernetes.io/managed-by": "hardened-operator",
                "app.kubernetes.io/name": ours, "app.kubernetes.io/part-of": ours, "hardened.dev/service": ours,
            }));
            prop_assert_eq!(&metadata["annotations"], &Value::Null);
            prop_assert_eq!(&metadata["namespace"], "team");
            prop_assert_eq!(&metadata["ownerReferences"], &json!([{
                "apiVersion": "hardened.dev/v1alpha1", "kind": "HardenedService", "name": ours,
                "uid": service.metadata.uid, "controller": true, "blockOwnerDeletion": true,
            }]));
        }
    }

    #[test]
    fn kind_and_name_are_unique(service in arbitrary::service()) {
        let all = children(&service);
        let unique: BTreeSet<_> = all.iter().map(|(kind, metadata, _)| (*kind, metadata["name"].to_string())).collect();
        prop_assert_eq!(unique.len(), all.len());
    }

    #[test]
    fn every_selector_is_our_one_label(service in arbitrary::service()) {
        let expected = json!({SERVICE_LABEL: service.name_any()});
        let mut seen = 0;
        for (kind, _, object) in children(&service) {
            let of = |pointer: &str| object.pointer(pointer).unwrap().clone();
            let selectors = match kind {
                "Service" => vec![of("/spec/selector")],
                "NetworkPolicy" => vec![of("/spec/podSelector/matchLabels")],
                "PodDisruptionBudget" => vec![of("/spec/selector/matchLabels")],
                "Deployment" => {
                    let spread = of("/spec/template/spec/topologySpreadConstraints");
                    let spread = spread.as_array().unwrap().iter().map(|c| c["labelSelector"]["matchLabels"].clone());
                    spread.chain([of("/spec/selector/matchLabels")]).collect()
                }
                _ => continue,
            };
            seen += selectors.len();
            prop_assert!(selectors.iter().all(|s| s == &expected), "{kind}: {selectors:?}");
        }
        prop_assert!(seen >= 4);
        prop_assert_eq!(&deployment(&service)["spec"]["template"]["metadata"]["labels"][SERVICE_LABEL], &expected[SERVICE_LABEL]);
    }

    #[test]
    fn two_calls_give_the_same(service in arbitrary::service()) {
        prop_assert_eq!(desired(&service, &facts()), desired(&service.clone(), &facts()));
    }

    #[test]
    fn nothing_is_written_that_the_server_drops(service in arbitrary::service()) {
        for (kind, _, object) in children(&service) {
            prop_assert_eq!(dropped(&object, kind), Vec::<String>::new());
        }
    }

    #[test]
    fn no_rule_of_the_network_policy_is_open_to_everybody(service in arbitrary::service()) {
        let spec = object(&service, "NetworkPolicy")["spec"].clone();
        prop_assert_eq!(&spec["policyTypes"], &json!(["Ingress", "Egress"]));
        for (direction, side) in [("ingress", "from"), ("egress", "to")] {
            let rules = spec[direction].as_array().unwrap();
            prop_assert!(!rules.is_empty());
            for rule in rules {
                prop_assert!(!rule["ports"].as_array().unwrap().is_empty());
                let peers = rule[side].as_array().unwrap();
                prop_assert!(!peers.is_empty());
                for peer in peers {
                    let chosen = ["namespaceSelector", "podSelector"].map(|s| &peer[s]);
                    let some = chosen.iter().any(|s| !s.is_null()) || !peer["ipBlock"].is_null();
                    let labelled = chosen.iter().filter(|s| !s.is_null()).all(|s| !s["matchLabels"].as_object().unwrap().is_empty());
                    prop_assert!(some && labelled, "{peer}");
                    let wide = peer["ipBlock"]["cidr"] == "0.0.0.0/0" || peer["ipBlock"]["cidr"] == "169.0.0.0/8";
                    prop_assert!(!wide || peer["ipBlock"]["except"] == json!(["169.254.0.0/16"]), "{peer}");
                }
            }
        }
    }

    #[test]
    fn our_environment_is_there_and_every_name_stands_once(service in arbitrary::service()) {
        let pod = deployment(&service)["spec"]["template"]["spec"].clone();
        let list = |pointer: &str| pod.pointer(pointer).unwrap().as_array().unwrap().clone();
        let different = |list: &[Value], key: &str| list.iter().map(|o| o[key].to_string()).collect::<BTreeSet<_>>().len();
        let (env, volumes, mounts) = (list("/containers/0/env"), list("/volumes"), list("/containers/0/volumeMounts"));
        prop_assert_eq!(different(&env, "name"), env.len());
        prop_assert_eq!(different(&volumes, "name"), volumes.len());
        prop_assert_eq!(different(&mounts, "mountPath"), volumes.len());
        let names: BTreeSet<_> = env.iter().map(|e| e["name"].as_str().unwrap()).collect();
        prop_assert!(service.spec.workload.env.iter().all(|e| names.contains(e.name.as_str())));
        let value = |name: &str| env.iter().find(|e| e["name"] == name).unwrap()["value"].clone();
        prop_assert_eq!(value("TLS_DIR"), "/etc/hardened/tls");
        prop_assert_eq!(value("ENVIRONMENT"), service.spec.environment.as_str());
    }

    #[test]
    fn every_secret_that_reaches_the_container_is_ours_or_reported(service in arbitrary::service()) {
        let pod = deployment(&service)["spec"]["template"]["spec"].clone();
        let ours = render::child_name(&service.name_any(), "tls");
        let mounted = pod["volumes"].as_array().unwrap().iter().filter_map(|v| v["secret"]["secretName"].as_str());
        let mounted: BTreeSet<_> = mounted.filter(|name| *name != ours).map(str::to_owned).collect();
        let reported = referenced_secrets(&service).into_iter().filter(|(field, _)| *field != render::PROVIDED_CERTIFICATE);
        let reported: BTreeSet<_> = reported.map(|(_, name)| name).filter(|name| *name != ours).collect();
        prop_assert_eq!(mounted, reported);
        prop_assert!(!pod.to_string().contains("secretKeyRef"));
    }

    #[test]
    fn the_policy_trusts_exactly_the_names_of_the_certificate(service in arbitrary::service()) {
        let all = children(&service);
        let policy = all.iter().find(|(_, _, o)| !o["data"]["policy.json"].is_null()).unwrap().2.clone();
        let policy: Value = serde_json::from_str(policy["data"]["policy.json"].as_str().unwrap()).unwrap();
        prop_assert_eq!(&policy["trustedHosts"], &json!(hosts::certificate_names(&service, &facts())));
        let denied = hosts::denied(&service, &facts());
        prop_assert!(denied.iter().all(|host| !policy["trustedHosts"].as_array().unwrap().contains(&json!(host))));
    }
}

#[test]
fn render_depends_on_no_client_runtime_or_server() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", "render", "--edges", "normal", "--prefix", "none", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(tree.starts_with("render v") && tree.contains("kube-core v"), "{tree}");
    for banned in ["kube-client", "kube-runtime", "tokio", "hyper", "reqwest", "rand", "tracing"] {
        let line = tree.lines().find(|line| line.split(' ').next() == Some(banned));
        assert_eq!(line, None, "{banned} is in the dependencies of render");
    }
}

fn facts() -> Facts {
    Facts {
        allowed_hosts: vec!["*.example".into()],
        ca_bundle: "pem".into(),
        restart_hash: "v1:k:h".into(),
        ..Facts::default()
    }
}

fn children(service: &HardenedService) -> Vec<(&'static str, Value, Value)> {
    let child = |child: render::Child| match child.body {
        Body::Object(object) => (child.kind.as_str(), object["metadata"].clone(), object),
        Body::Secret(plan) => {
            (child.kind.as_str(), json!(plan.metadata), json!({"type": plan.type_, "keys": plan.keys}))
        }
    };
    desired(service, &facts()).into_objects().into_iter().map(child).collect()
}

fn object(service: &HardenedService, kind: &str) -> Value {
    children(service).into_iter().find(|(k, _, _)| *k == kind).unwrap().2
}

fn deployment(service: &HardenedService) -> Value {
    object(service, "Deployment")
}

/// Pod Security `restricted`, field by field, and what we add to it.
fn violations(pod: &Value) -> Vec<String> {
    let container = &pod["containers"][0];
    let (of_pod, of_container) = (&pod["securityContext"], &container["securityContext"]);
    let allowed = ["configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"];
    let volumes = pod["volumes"].as_array().unwrap();
    let checks = [
        ("one container", pod["containers"].as_array().unwrap().len() == 1),
        ("no other containers", pod["initContainers"].is_null() && pod["ephemeralContainers"].is_null()),
        (
            "host namespaces",
            ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"].iter().all(|f| pod[f].is_null()),
        ),
        ("host users", pod["hostUsers"] != json!(true)),
        ("host ports", container["ports"].as_array().unwrap().iter().all(|p| p["hostPort"].is_null())),
        (
            "volume types",
            volumes
                .iter()
                .all(|v| v.as_object().unwrap().keys().all(|k| k == "name" || allowed.contains(&k.as_str()))),
        ),
        (
            "bounded scratch",
            volumes.iter().all(|v| v["emptyDir"].is_null() || v["emptyDir"]["sizeLimit"].is_string()),
        ),
        ("privileged", of_container["privileged"].is_null() && of_container["procMount"].is_null()),
        ("escalation", of_container["allowPrivilegeEscalation"] == json!(false)),
        ("capabilities", of_container["capabilities"] == json!({"drop": ["ALL"]})),
        ("non-root", of_pod["runAsNonRoot"] == json!(true) && of_container["runAsNonRoot"] == json!(true)),
        ("user", of_pod["runAsUser"] == json!(65532) && of_container["runAsUser"] == json!(65532)),
        ("group", of_pod["runAsGroup"] == json!(65532) && of_pod["fsGroup"] == json!(65532)),
        (
            "seccomp",
            of_pod["seccompProfile"] == json!({"type": "RuntimeDefault"})
                && of_container["seccompProfile"].is_null(),
        ),
        (
            "sysctls, SELinux, AppArmor",
            ["sysctls", "seLinuxOptions", "appArmorProfile"].iter().all(|f| of_pod[f].is_null()),
        ),
        ("read-only root", of_container["readOnlyRootFilesystem"] == json!(true)),
        ("API token", pod["automountServiceAccountToken"] == json!(false)),
        ("Service links", pod["enableServiceLinks"] == json!(false)),
        (
            "probe hosts",
            ["startupProbe", "livenessProbe", "readinessProbe"]
                .iter()
                .all(|p| container[p]["httpGet"]["host"].is_null()),
        ),
    ];
    checks.iter().filter(|(_, holds)| !holds).map(|(what, _)| (*what).to_owned()).collect()
}

/// Paths of values that Kubernetes leaves out of its answer: null, empty lists, maps and texts, and zeros that mean
/// "not set". Maps of the user's own keys may hold empty texts.
fn dropped(value: &Value, path: &str) -> Vec<String> {
    const FREE: [&str; 6] = ["/labels", "/annotations", "/matchLabels", "/nodeSelector", "/data", "/command"];
    const POINTERS: [&str; 8] = [
        "/automountServiceAccountToken",
        "/enableServiceLinks",
        "/allowPrivilegeEscalation",
        "/hostUsers",
        "/maxUnavailable",
        "/replicas",
        "/tolerationSeconds",
        "/args",
    ];
    let empty = match value {
        Value::Null => true,
        Value::Bool(set) => !set && !POINTERS.iter().any(|p| path.ends_with(p)),
        Value::Number(n) => n.as_i64() == Some(0) && !POINTERS.iter().any(|p| path.ends_with(p)),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    };
    if empty {
        return vec![path.to_owned()];
    }
    match value {
        _ if FREE.iter().any(|f| path.ends_with(f)) || path.ends_with("/args") => Vec::new(),
        Value::Array(list) => list.iter().flat_map(|v| dropped(v, path)).collect(),
        Value::Object(map) => map.iter().flat_map(|(k, v)| dropped(v, &format!("{path}/{k}"))).collect(),
        _ => Vec::new(),
    }
}
