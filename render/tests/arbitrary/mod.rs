//! Random custom resources that the CRD accepts; a test against a real API server holds them to that. Also used there.

mod workload;

use crds::HardenedService;
use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
};
use serde_json::{Map, Value, json};

type Strings = BoxedStrategy<String>;
type Field = (&'static str, BoxedStrategy<Option<Value>>);

/// A service with a name, a namespace and a uid.
pub fn service() -> BoxedStrategy<HardenedService> {
    let name = prop_oneof!["[a-z][a-z0-9]{0,10}", "[a-z][-a-z0-9]{37}[a-z0-9]", "[a-z][-a-z0-9]{61}[a-z0-9]"];
    (name, spec())
        .prop_map(|(name, spec)| {
            let metadata = json!({
                "name": name, "namespace": "team", "uid": "5f1c7c3e-0d6b-4f7e-9a55-2f8f2f6f0b11",
                "labels": {"argocd.argoproj.io/instance": "x"}, "annotations": {"meta.helm.sh/release-name": "x"},
            });
            let object =
                json!({"apiVersion": "hardened.dev/v1alpha1", "kind": "HardenedService", "metadata": metadata, "spec": spec});
            serde_json::from_value(object).unwrap()
        })
        .boxed()
}

fn spec() -> BoxedStrategy<Value> {
    (one_of(&["development", "staging", "production"]), any::<bool>())
        .prop_flat_map(|(environment, by_digest)| {
            let production = environment == "production";
            object(vec![
                must("environment", Just(environment)),
                must("workload", workload::workload(production || by_digest, !production)),
                may(
                    "exposure",
                    object(vec![may("hostnames", names("[a-z]{1,8}(\\.[a-z][-a-z0-9]{0,6}[a-z]){1,3}", 4))]),
                ),
                may("tls", tls()),
                may("headers", headers()),
                may("rateLimits", rate_limits()),
                may("network", network()),
            ])
        })
        .boxed()
}

fn tls() -> BoxedStrategy<Value> {
    let own = object(vec![may("duration", one_of(&["2160h", "720h30m"]))]);
    prop_oneof![own, Just(json!({"issuer": {"secret": {"name": "own-certificate"}}}))].boxed()
}

fn headers() -> BoxedStrategy<Value> {
    let name = one_of(&["Referrer-Policy", "Permissions-Policy", "Cache-Control"]);
    object(vec![
        may("preset", one_of(&["Strict", "Api", "Web"])),
        may("overrides", btree_map(name, "[a-z=() ,]{1,30}[a-z]", 0..3)),
    ])
}

fn rate_limits() -> BoxedStrategy<Value> {
    let period = || one_of(&["1s", "90s", "1m", "1h30m", "24h", "1500ms"]);
    let secret = json!({"name": "redis", "key": "url"});
    let rule = object(vec![
        may("methods", names("GET|HEAD|POST|DELETE", 3)),
        must(
            "path",
            object(vec![
                may("type", one_of(&["Exact", "PathPrefix"])),
                must("value", "/[-a-zA-Z0-9_~%]{0,20}"),
            ]),
        ),
        must("requests", 1..=100_000),
        must("period", period()),
    ]);
    object(vec![
        may("store", prop_oneof![Just(json!({"memory": {}})), Just(json!({"redis": {"secretRef": secret}}))]),
        may("rules", numbered(rule, 4)),
        may("default", object(vec![must("requests", 1..=100_000), must("period", period())])),
        may("ipv6PrefixLength", 32..=128),
        may("trustedProxies", vec(one_of(&["10.0.0.0/8", "fd00::/64", "192.0.2.7/32"]), 0..3)),
    ])
}

fn network() -> BoxedStrategy<Value> {
    let selector = || object(vec![must("matchLabels", btree_map(label_key(), label_value(), 1..3))]);
    let both = move || vec![must("namespaceSelector", selector()), must("podSelector", selector())];
    let peer = move || {
        let mut fields = both();
        fields.pop();
        prop_oneof![object(both()), object(fields), object(both().split_off(1))]
    };
    let ranges = one_of(&["0.0.0.0/0", "169.0.0.0/8", "10.2.0.0/16", "::/0", "fd00::/8", "192.0.2.1/32"]);
    let destination = prop_oneof![peer(), object(vec![must("cidr", ranges)])];
    let port = object(vec![must("port", 1..=65_535), may("protocol", one_of(&["TCP", "UDP"]))]);
    let rule = (destination, vec(port, 1..3)).prop_map(|(mut rule, ports)| {
        rule["ports"] = json!(ports);
        rule
    });
    object(vec![may("ingressFrom", vec(peer(), 0..4)), may("egressTo", vec(rule, 0..4))])
}

/// An object of these members.
fn object(fields: Vec<Field>) -> BoxedStrategy<Value> {
    let (names, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    let object = move |values: Vec<Option<Value>>| -> Map<String, Value> {
        names.iter().zip(values).filter_map(|(name, value)| Some(((*name).to_owned(), value?))).collect()
    };
    values.prop_map(move |values| Value::Object(object(values))).boxed()
}

/// A member that is always there.
fn must<S: Strategy<Value: serde::Serialize> + 'static>(name: &'static str, values: S) -> Field {
    (name, values.prop_map(|value| Some(json!(value))).boxed())
}

/// A member that may be left out.
fn may<S: Strategy<Value: serde::Serialize> + 'static>(name: &'static str, values: S) -> Field {
    (name, option::of(values.prop_map(|value| json!(value))).boxed())
}

fn one_of(texts: &[&'static str]) -> BoxedStrategy<&'static str> {
    proptest::sample::select(texts.to_vec()).boxed()
}

/// Different texts of a pattern.
fn names(pattern: &'static str, most: usize) -> BoxedStrategy<std::collections::BTreeSet<String>> {
    proptest::collection::btree_set(pattern, 0..most).boxed()
}

/// Objects with different `name`s.
fn numbered(objects: BoxedStrategy<Value>, most: usize) -> BoxedStrategy<Vec<Value>> {
    let name = |(i, mut object): (usize, Value)| {
        object["name"] = json!(format!("n{i}"));
        object
    };
    vec(objects, 0..most).prop_map(move |all| all.into_iter().enumerate().map(name).collect()).boxed()
}

fn label_key() -> Strings {
    "([a-z]{1,8}\\.[a-z]{2,3}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,10}[A-Za-z0-9])?".boxed()
}

fn label_value() -> Strings {
    "([A-Za-z0-9]([-A-Za-z0-9_.]{0,10}[A-Za-z0-9])?)?".boxed()
}
