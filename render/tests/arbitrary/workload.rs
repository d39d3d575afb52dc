//! Random `spec.workload`. It names every field of the type.

use proptest::{
    collection::{btree_map, vec},
    prelude::*,
};
use serde_json::{Value, json};

use super::{label_key, label_value, may, must, names, numbered, object, one_of};

const GIB: u64 = 1024 * 1024;

/// `by_digest`: the image's form; `never`: whether pull policy Never is allowed.
pub fn workload(by_digest: bool, never: bool) -> BoxedStrategy<Value> {
    let image = if by_digest {
        "[a-z]{1,8}(/[a-z0-9]{1,5}){1,2}@sha256:[a-f0-9]{64}"
    } else {
        "[a-z]{1,8}(:[0-9]{1,5}/[a-z]{1,5})?(:[a-z0-9_][a-z0-9_.-]{0,9})?"
    };
    let pull: &[_] = if never { &["Always", "IfNotPresent", "Never"] } else { &["Always", "IfNotPresent"] };
    let (texts, own_labels) = ("[ -~]{0,20}", "team|tier|example\\.com/x|[A-Za-z]{1,10}");
    let fields = vec![
        must("image", image),
        may("imagePullPolicy", one_of(pull)),
        may(
            "imagePullSecrets",
            names("[a-z]{1,10}", 3)
                .prop_map(|all| all.into_iter().map(|name| json!({"name": name})).collect::<Vec<_>>()),
        ),
        may("command", vec(texts, 0..3)),
        may("args", vec(texts, 0..3)),
        may("env", env()),
        may("ports", ports()),
        may("resources", resources()),
        may("probes", probes()),
        may("terminationGracePeriodSeconds", 10..=3600),
        may("priorityClassName", "[a-z]{1,10}"),
        may("nodeSelector", btree_map(label_key(), label_value(), 0..3)),
        may("tolerations", vec(toleration(), 0..3)),
        may("topologySpreadConstraints", spread()),
        may("podLabels", btree_map(own_labels, label_value(), 0..3)),
        may("podAnnotations", btree_map(own_labels, texts, 0..3)),
        may("userNamespaces", any::<bool>()),
        may("disruption", object(vec![must("maxUnavailable", 1..=500)])),
        may("volumes", volumes()),
        may("identity", identity()),
    ];
    let fixed = may("replicas", prop_oneof![Just(0), 0..=500]);
    let scaled = may("autoscaling", (1..=500, 2..=500, 1..=100, any::<u8>()).prop_map(autoscaling));
    any::<bool>()
        .prop_flat_map(move |scale| {
            let mut fields = fields.clone();
            fields.push(if scale { scaled.clone() } else { fixed.clone() });
            object(fields)
        })
        .boxed()
}

fn autoscaling((a, b, target, present): (i32, i32, i32, u8)) -> Value {
    let mut value = json!({"maxReplicas": a.max(b)});
    if present & 1 == 1 {
        value["minReplicas"] = json!(a.min(b));
    }
    if present & 2 == 2 {
        value["targetCPUUtilizationPercentage"] = json!(target);
    }
    value
}

fn env() -> BoxedStrategy<Value> {
    const OURS: [&str; 8] = [
        "ENVIRONMENT",
        "API_BIND",
        "METRICS_BIND",
        "TLS_DIR",
        "POLICY_FILE",
        "POD_NAME",
        "POD_NAMESPACE",
        "REDIS_URL_FILE",
    ];
    let name = "[A-KM-Z][A-Z0-9_]{0,9}".prop_filter("names that the CRD refuses", |n| {
        n != "PATH"
            && !n.starts_with("KUBERNETES_")
            && !n.starts_with("HARDENED_")
            && !OURS.contains(&n.as_str())
    });
    btree_map(name, "[ -~]{0,20}", 0..6)
        .prop_map(|all| all.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect())
        .boxed()
}

fn ports() -> BoxedStrategy<Value> {
    let either = prop_oneof![
        (1024..=65_535).prop_map(|http| json!({"http": http})),
        (1024..=65_535).prop_map(|metrics| json!({"metrics": metrics})),
        (1024..=30_000, 30_001..=65_535)
            .prop_map(|(http, metrics)| json!({"http": http, "metrics": metrics})),
    ];
    either
        .prop_filter("the other's default", |p| p["http"] != json!(9090) && p["metrics"] != json!(8443))
        .boxed()
}

/// Requests at most as large as limits, the defaults included.
fn resources() -> BoxedStrategy<Value> {
    let cpu = |range: std::ops::RangeInclusive<u64>| {
        range.prop_map(|n| if n % 1000 == 0 { format!("{}", n / 1000) } else { format!("{n}m") })
    };
    let ki = |range: std::ops::RangeInclusive<u64>| {
        (range, any::<bool>())
            .prop_map(|(n, whole)| if whole { format!("{}Mi", n / 1024) } else { format!("{n}Ki") })
    };
    let gi = prop_oneof![
        ki(256 * 1024..=GIB),
        one_of(&["1Gi", "1024Gi", "2048Mi", "3000Gi"]).prop_map(str::to_owned)
    ];
    let gi = gi.boxed();
    let requests = object(vec![
        may("cpu", cpu(1..=1000)),
        may("memory", ki(1024..=256 * 1024)),
        may("ephemeral-storage", ki(1024..=256 * 1024)),
    ]);
    let limits = object(vec![
        may("cpu", cpu(1000..=100_000)),
        may("memory", gi.clone()),
        may("ephemeral-storage", gi),
    ]);
    object(vec![may("requests", requests), may("limits", limits)])
}

fn probes() -> BoxedStrategy<Value> {
    let probe = || {
        object(vec![
            may("path", "/[-A-Za-z0-9._~/?=&]{0,10}"),
            may("periodSeconds", 1..=300),
            may("timeoutSeconds", 1..=60),
            may("failureThreshold", 1..=300),
        ])
    };
    object(vec![may("startup", probe()), may("liveness", probe()), may("readiness", probe())])
}

fn toleration() -> BoxedStrategy<Value> {
    let effect = || one_of(&["NoSchedule", "PreferNoSchedule", "NoExecute"]);
    prop_oneof![
        object(vec![may("key", label_key()), must("operator", Just("Exists")), may("effect", effect())]),
        object(vec![
            must("key", label_key()),
            may("operator", Just("Equal")),
            may("value", label_value()),
            may("effect", effect())
        ]),
        object(vec![
            must("key", label_key()),
            must("effect", Just("NoExecute")),
            may("tolerationSeconds", 0..=86_400)
        ]),
    ]
    .boxed()
}

fn spread() -> BoxedStrategy<Value> {
    let rest = object(vec![
        may("maxSkew", 1..=10),
        may("whenUnsatisfiable", one_of(&["DoNotSchedule", "ScheduleAnyway"])),
    ]);
    btree_map(label_key(), rest, 0..3)
        .prop_map(|all| {
            let constraint = |(key, mut value): (String, Value)| {
                value["topologyKey"] = json!(key);
                value
            };
            all.into_iter().map(constraint).collect()
        })
        .boxed()
}

fn volumes() -> BoxedStrategy<Vec<Value>> {
    let size = one_of(&["64Mi", "1024Ki", "2048Mi", "1Gi"]);
    let source = prop_oneof![
        object(vec![must("emptyDir", object(vec![may("sizeLimit", size)]))]),
        object(vec![must(
            "persistentVolumeClaim",
            object(vec![must("claimName", "[a-z]{1,10}"), may("readOnly", any::<bool>())])
        )]),
        object(vec![must("configMap", object(vec![must("name", "[a-z]{1,10}")]))]),
        object(vec![must("secret", object(vec![must("secretName", "[a-z]{1,10}")]))]),
    ];
    let placed = |(i, mut volume): (usize, Value)| {
        volume["mountPath"] = json!(format!("/var/lib/v{i}"));
        // Names of our own volumes are free for users.
        volume["name"] = json!(["tmp", "tls", "policy", "identity", "redis"][i]);
        volume
    };
    numbered(source.boxed(), 5).prop_map(move |all| all.into_iter().enumerate().map(placed).collect()).boxed()
}

fn identity() -> BoxedStrategy<Value> {
    let uuid = || "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
    let pool = "//iam\\.googleapis\\.com/projects/[0-9]{1,9}/locations/global/workloadIdentityPools/[a-z]{4,9}/providers/[a-z]{4,9}";
    prop_oneof![
        object(vec![must("aws", object(vec![must("roleArn", "arn:aws:iam::[0-9]{12}:role/[a-z]{1,9}")]))]),
        object(vec![must("azure", object(vec![must("clientId", uuid()), must("tenantId", uuid())]))]),
        object(vec![must("gcp", object(vec![must("audience", pool)]))]),
    ]
    .boxed()
}
