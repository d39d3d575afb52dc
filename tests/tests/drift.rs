//! Is every field that the operator owns back soon after somebody else changed or removed it? The list of fields comes
//! from managedFields, so a new field is tested without a new line here.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use crds::HardenedService;
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::Patch;
use render::Kind;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::sign::CertifiedKey;
use serde_json::{Value, json};
use testbed::drift::{attack, essence, owned, remove, revisions, undone};
use testbed::fixture::{self, OPERATOR, Service};
use testbed::{Cluster, Namespace, Operator};

/// A Deployment has most of the fields: so many services share them.
const DEPLOYMENTS: usize = 6;
/// Children that are attacked at once: with more, both cores are busy and the test measures how long passes queue.
const AT_ONCE: usize = 4;
/// Values to try where another one must be valid; the first that the server takes is the change.
const OTHERS: &str = "x 1 2 2Gi 3Gi 30% eA== 10.0.0.0/8 10.96.0.99 https Always Never IfNotPresent TCP UDP HTTP HTTPS \
    Default ClusterFirst Recreate OnRootMismatch Cluster Local NodePort File FallbackToLogsOnError Exists Equal NoSchedule \
    NoExecute DoNotSchedule ScheduleAnyway RuntimeDefault Unconfined ClientIP AverageValue AlwaysAllow IfHealthyBudget Egress \
    memory metadata.uid";

/// What became of the changes to one child.
#[derive(Default)]
struct Tally {
    restored: usize,
    /// Set back by the server's own defaults, or equal in the first place.
    unchanged: Vec<String>,
    refused: Vec<String>,
    slowest: (Duration, String),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_owned_field_that_somebody_changes_or_removes_is_back_within_five_seconds() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("drift").await?;
    let _operator = Operator::start(&cluster).await?;
    let rich = service("rich", &namespace)?;
    let mut targets = Vec::new();
    for (kind, suffix) in
        fixture::wanted(&rich).into_iter().map(|(kind, name)| (kind, name.replacen("rich", "", 1)))
    {
        let copies = if kind == Kind::Deployment { DEPLOYMENTS } else { 1 };
        targets.extend((0..copies).map(|part| (kind, suffix.clone(), part, copies)));
    }
    targets.push((Kind::HorizontalPodAutoscaler, String::new(), 0, 1));
    // The longest first.
    targets.sort_by_key(|target| target.0 != Kind::Deployment);
    let make =
        targets.iter().enumerate().map(|(number, target)| made(&cluster, &namespace, number, target.0));
    let services = try_join_all(make).await?;
    if let Some(audit) = cluster.audit() {
        fixture::rest(&audit, &namespace.name).await?;
    }
    let mark = match cluster.audit() {
        Some(audit) => Some((audit.mark().await?, audit)),
        None => None,
    };
    // Each service has one child that is attacked: a pass that another child's change started must not help.
    let tasks = services.iter().zip(&targets).map(|(service, (kind, suffix, part, copies))| {
        let name = format!("{}{suffix}", service.name);
        let (cluster, service, kind, part, copies) =
            (cluster.clone(), service.clone(), *kind, *part, *copies);
        async move { all_fields(&cluster, &service, kind, &name, (part, copies)).await }
    });
    let mut sums = BTreeMap::<String, Tally>::new();
    let done: Vec<_> = stream::iter(tasks).buffered(AT_ONCE).try_collect().await?;
    for (done, (kind, suffix, ..)) in done.into_iter().zip(&targets) {
        let sum = sums.entry(format!("{} NAME{suffix}", kind.as_str())).or_default();
        sum.add(done);
    }
    let restored = report(&sums)?;
    if let Some((mark, audit)) = mark {
        let writes = audit.since(mark).await?.by(OPERATOR).within(&namespace.name).writes();
        let writes = writes.only(|request| request.code < 300 && request.resource != "hardenedservices");
        assert_eq!(writes.count(), restored, "one write for each change: {writes}");
    }
    Ok(())
}

/// A service whose children have every field; an autoscaler and fixed replicas exclude each other.
fn service(name: &str, namespace: &Namespace) -> Result<HardenedService> {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/rich.yaml"))?;
    let mut service: HardenedService = serde_saphyr::from_str(&text)?;
    service.metadata.name = Some(name.into());
    service.metadata.namespace = Some(namespace.name.clone());
    Ok(service)
}

async fn made(cluster: &Cluster, namespace: &Namespace, number: usize, kind: Kind) -> Result<Service> {
    let mut service = service(&format!("s{number}"), namespace)?;
    if kind == Kind::HorizontalPodAutoscaler {
        service.spec.workload.replicas = None;
        service.spec.workload.autoscaling = Some(serde_json::from_value(
            json!({"minReplicas": 3, "maxReplicas": 12, "targetCPUUtilizationPercentage": 70}),
        )?);
    }
    let made = Service::create(cluster, &namespace.name, &service).await?;
    made.made().await?;
    Ok(made)
}

/// Changes and removes every owned field of one child, or this part of them, one after the other.
async fn all_fields(
    cluster: &Cluster,
    service: &Service,
    kind: Kind,
    name: &str,
    (part, parts): (usize, usize),
) -> Result<Tally> {
    let revision = match kind {
        Kind::Deployment => Some(revisions(cluster, service).await?.remove(0)),
        _ => None,
    };
    let object = service.child(kind, name).await?.context("the child is gone")?;
    let mut fields = owned(&object, OPERATOR)?;
    fields.sort();
    fields.dedup();
    ensure!(fields.len() > 5, "{} {name}: only {fields:?}", kind.as_str());
    let mut tally = Tally::default();
    for (pointer, single) in fields.iter().skip(part).step_by(parts) {
        let value = object.pointer(pointer).with_context(|| format!("no {pointer}"))?;
        let remove = vec![json!([{"op": "remove", "path": pointer}])];
        let replace = |value| json!([{"op": "replace", "path": pointer, "value": value}]);
        let change = if *single { others(value).into_iter().map(replace).collect() } else { Vec::new() };
        for (what, patches) in [("change", change), ("remove", remove)] {
            if !patches.is_empty() {
                one_field(service, kind, name, &format!("{what} {pointer}"), patches, &mut tally).await?;
            }
        }
    }
    if let Some(revision) = revision {
        assert_eq!(revisions(cluster, service).await?[0], revision, "other pods run than before");
    }
    Ok(tally)
}

/// Makes the first change that the server takes, and waits until it is undone.
async fn one_field(
    service: &Service,
    kind: Kind,
    name: &str,
    what: &str,
    patches: Vec<Value>,
    tally: &mut Tally,
) -> Result<()> {
    let before = service.child(kind, name).await?.context("the child is gone")?;
    let mut refusal = None;
    for patch in patches {
        let parsed = Patch::Json::<Value>(serde_json::from_value(patch.clone())?);
        match attack(service, kind, name, &parsed).await? {
            Err(status) => refusal = Some(format!("{what}: {}", status.message)),
            Ok(after) if essence(&after) == essence(&before) => {
                refusal = refusal.or_else(|| Some(String::new()));
            }
            Ok(after) => {
                let took = undone(service, kind, name, |live| is_back(kind, &before, &after, live)).await;
                let took = (took.with_context(|| format!("{what} by {patch}"))?, what.to_owned());
                tally.restored += 1;
                tally.slowest = took.max(std::mem::take(&mut tally.slowest));
                return Ok(());
            }
        }
    }
    match refusal {
        Some(refusal) if !refusal.is_empty() => tally.refused.push(refusal),
        _ => tally.unchanged.push(what.to_owned()),
    }
    Ok(())
}

/// As before. A certificate or key that was touched is not put back, but issued anew.
fn is_back(kind: Kind, before: &Value, after: &Value, live: &Value) -> bool {
    let (mut left, mut right) = (essence(before), essence(live));
    let pair = ["tls.crt", "tls.key"];
    if kind == Kind::Secret && pair.iter().any(|key| before["data"][key] != after["data"][key]) {
        remove(&mut left, "/data", &pair);
        remove(&mut right, "/data", &pair);
        return left == right && after["data"] != live["data"] && is_pair(live).is_some();
    }
    left == right
}

/// Whether key and certificate in a Secret belong together.
fn is_pair(secret: &Value) -> Option<()> {
    let secret: k8s_openapi::api::core::v1::Secret = serde_json::from_value(secret.clone()).ok()?;
    let data = secret.data?;
    let chain =
        CertificateDer::pem_slice_iter(&data.get("tls.crt")?.0).collect::<Result<Vec<_>, _>>().ok()?;
    let key = PrivateKeyDer::from_pem_slice(&data.get("tls.key")?.0).ok()?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, key, &provider).ok().map(drop)
}

/// Other values in the place of this one, most likely valid first.
fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::Bool(value) => vec![json!(!value)],
        Value::Number(number) => {
            let number = number.as_i64().unwrap_or_default();
            [number + 1, number - 1, 0, 1]
                .into_iter()
                .filter(|other| *other != number)
                .map(Value::from)
                .collect()
        }
        Value::String(text) => {
            let pool = OTHERS.split(' ').filter(|other| other != text).map(str::to_owned);
            std::iter::once(format!("{text}x")).chain(pool).map(Value::from).collect()
        }
        Value::Array(items) => inside(items.iter().enumerate(), |index, other| {
            let mut items = items.clone();
            items[index] = other;
            Value::from(items)
        }),
        Value::Object(map) => inside(map.iter(), |key, other| {
            let mut map = map.clone();
            map.insert(key.clone(), other);
            Value::from(map)
        }),
        Value::Null => Vec::new(),
    }
}

/// A list or map that is one field: each of its values changed in turn.
fn inside<'a, K: Copy>(
    items: impl Iterator<Item = (K, &'a Value)>,
    with: impl Fn(K, Value) -> Value,
) -> Vec<Value> {
    items
        .flat_map(|(key, item)| others(item).into_iter().map(move |other| (key, other)))
        .map(|(key, other)| with(key, other))
        .collect()
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.restored += other.restored;
        self.unchanged.extend(other.unchanged);
        self.refused.extend(other.refused);
        self.slowest = other.slowest.max(std::mem::take(&mut self.slowest));
    }
}

/// Prints what was tried and how it ended; gives how many changes were undone.
fn report(sums: &BTreeMap<String, Tally>) -> Result<usize> {
    let mut all = 0;
    for (child, Tally { restored, unchanged, refused, slowest }) in sums {
        let tried = restored + unchanged.len() + refused.len();
        eprintln!(
            "{child}: {tried} tried, {restored} restored (slowest {} ms: {}), {} refused by the server, {} without effect",
            slowest.0.as_millis(),
            slowest.1,
            refused.len(),
            unchanged.len()
        );
        for refused in refused {
            eprintln!("  refused: {refused}");
        }
        for unchanged in unchanged {
            eprintln!("  without effect: {unchanged}");
        }
        // The selectors of a Deployment and the type of a Secret are immutable; most of everything can be changed.
        if *restored * 2 < tried {
            bail!("{child}: only {restored} of {tried} changes were possible");
        }
        all += restored;
    }
    Ok(all)
}
