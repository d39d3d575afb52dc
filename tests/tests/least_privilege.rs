//! Is every right that the chart grants used, and none missing? A service's whole life, with everything that others may
//! do to it, compared by the audit log with the roles.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use render::Kind;
use serde_json::{Value, json};
use testbed::audit::{Request, Requests};
use testbed::certificate;
use testbed::cluster::{CLUSTER_ROLE, NAMESPACE_ROLE};
use testbed::drift::{self, attack, undone};
use testbed::fixture::{OPERATOR, Service, example, rest, wanted};
use testbed::operator::Options;
use testbed::progress::not_checked;
use testbed::rights::{self, Right};
use testbed::{Audit, Cluster, Look, Namespace, Operator, home, wait_until};

const LIMIT: Duration = Duration::from_secs(30);
const PART_OF: &str = "app.kubernetes.io/part-of";

/// Rights that no request here needs, and why the chart grants them all the same.
const UNUSED: [(&str, &str); 1] = [(
    "update hardenedservices.hardened.dev/finalizers",
    "asked for by the admission plugin OwnerReferencesPermissionEnforcement (OpenShift), which is off by default",
)];

#[tokio::test]
async fn what_the_chart_grants_is_what_the_operator_uses() -> Result<()> {
    let cluster = Cluster::get().await?;
    let Some(audit) = cluster.audit() else {
        not_checked("rights are compared with the audit log");
        return Ok(());
    };
    let home = home::home(&cluster, "least-home").await?;
    let namespace = cluster.namespace("least").await?;
    let mark = audit.mark().await?;
    live(&cluster, &audit, &home, &namespace).await?;
    let seen = audit.since(mark).await?.by(OPERATOR);

    let denied = seen.clone().only(|request| request.code == 403);
    ensure!(denied.count() == 0, "denied: {denied}");
    let mut unused = Vec::new();
    let here = |own: &Namespace, request: &Request| request.namespace == own.name;
    for right in rights::of_cluster_role(&cluster, CLUSTER_ROLE).await? {
        unused.extend(is_unused(&seen, &right, "cluster", |_| true));
    }
    for right in rights::of_cluster_role(&cluster, NAMESPACE_ROLE).await? {
        unused.extend(is_unused(&seen, &right, "namespace", |request| here(&namespace, request)));
    }
    for right in rights::of_roles(&cluster, &home.name).await? {
        unused.extend(is_unused(&seen, &right, "home", |request| here(&home, request)));
    }
    let used: BTreeSet<_> = seen.0.iter().filter(|request| !request.resource.is_empty()).map(words).collect();
    println!("{} requests, {} kinds of them, unused: {unused:?}", seen.count(), used.len());
    let expected: Vec<_> = UNUSED.iter().map(|(right, _)| format!("{right} any (cluster)")).collect();
    ensure!(unused == expected, "granted and never used: {unused:#?}, expected {UNUSED:#?}");
    Ok(())
}

/// The right, when no request needed it.
fn is_unused(
    seen: &Requests,
    right: &Right,
    place: &str,
    within: impl Fn(&Request) -> bool,
) -> Option<String> {
    let (plural, subresource) = right.resource.split_once('/').unwrap_or((&right.resource, ""));
    // A PUT that made the object was allowed as both.
    let made = |request: &Request| right.verb == "create" && request.verb == "update" && request.code == 201;
    let needs = |request: &&Request| {
        (request.verb == right.verb || made(request))
            && request.group == right.group
            && request.resource == plural
            && request.subresource == subresource
            && right.name.as_ref().is_none_or(|name| *name == request.name)
            && within(request)
    };
    let name = right.name.as_deref().unwrap_or("any");
    seen.0.iter().find(needs).is_none().then(|| format!("{} {name} ({place})", right.words()))
}

fn words(request: &Request) -> String {
    let Request { verb, group, resource, subresource, .. } = request;
    format!("{verb} {group} {resource} {subresource}")
}

/// From the first start to the last service's end.
async fn live(cluster: &Cluster, audit: &Audit, home: &Namespace, namespace: &Namespace) -> Result<()> {
    let settings = tempfile::NamedTempFile::new()?;
    std::fs::write(settings.path(), json!({"jobs": {"image": "example.com/operator:1"}}).to_string())?;
    let more = ["--ca-overlap", "0", "--settings", &settings.path().display().to_string()].map(str::to_owned);
    let options = Options { args: [home::at(home), more.to_vec()].concat(), ..Options::default() };
    let mut operator = Operator::start_with(cluster, options).await?;
    let service = rich(cluster, namespace).await?;
    let wanted = wanted(&service.get().await?);
    // Twice the same, so that the second event is counted up at the first.
    for (kind, name) in wanted.iter().chain(&wanted[..1]) {
        drift(&service, *kind, name).await?;
    }
    for (kind, name) in &wanted {
        hide(&service, *kind, name).await?;
        plant(&service, *kind, name).await?;
    }
    seal(&service).await?;
    log_in(&service, cluster).await?;
    service
        .patch(&json!({"spec": {"workload": {"autoscaling": null, "replicas": 1, "disruption": null}}}))
        .await?;
    service.made().await?;
    wait_until(LIMIT, "parts that are not asked for to go", async || {
        match service.child(Kind::PodDisruptionBudget, &service.name).await {
            Ok(None) => Look::Done(()),
            other => Look::NotYet(format!("{other:?}")),
        }
    })
    .await?;
    renew(cluster, home).await?;
    replace_ca(cluster, home).await?;
    operator.stop().await?;
    operator.restart().await?;
    service.api().delete(&service.name, &DeleteParams::default()).await?;
    rest(audit, &namespace.name).await?;
    ensure!(operator.stop().await?.success(), "it did not end well:\n{}", operator.log());
    Ok(())
}

/// A service with every kind of child, and a user's Secret.
async fn rich(cluster: &Cluster, namespace: &Namespace) -> Result<Service> {
    let mut service = example("autoscaling")?;
    service.spec.rate_limits = example("rate-limits-redis")?.spec.rate_limits;
    let kinds: Vec<_> = wanted(&service).into_iter().map(|(kind, _)| kind).collect();
    ensure!(Kind::BUILT_IN.iter().all(|kind| kinds.contains(kind)), "no child of some kind: {kinds:?}");
    service.spec.secrets = serde_json::from_value(json!({
        "sources": [{"secret": {"name": "database"}}], "postgresLogins": [{"url": "url"}],
    }))?;
    let labels = json!({crds::SERVICE_LABEL: service.metadata.name});
    let secrets = Api::<Secret>::namespaced(cluster.client.clone(), &namespace.name);
    for name in ["redis", "database"] {
        let secret =
            json!({"metadata": {"name": name, "labels": labels}, "stringData": {"url": "redis://x"}});
        secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    }
    let service = Service::create(cluster, &namespace.name, &service).await?;
    service.made().await?;
    Ok(service)
}

async fn change(service: &Service, kind: Kind, name: &str, patch: Value) -> Result<()> {
    match attack(service, kind, name, &Patch::Merge(patch)).await? {
        Ok(_) => Ok(()),
        Err(refusal) => bail!("{} {name}: {}", kind.as_str(), refusal.message),
    }
}

/// Somebody changes a child.
async fn drift(service: &Service, kind: Kind, name: &str) -> Result<()> {
    change(service, kind, name, json!({"metadata": {"labels": {PART_OF: "mallory"}}})).await?;
    undone(service, kind, name, |live| live["metadata"]["labels"][PART_OF] == *service.name).await?;
    Ok(())
}

/// Somebody takes the label away by which the operator sees a child.
async fn hide(service: &Service, kind: Kind, name: &str) -> Result<()> {
    change(service, kind, name, json!({"metadata": {"labels": {crds::SERVICE_LABEL: null}}})).await?;
    undone(service, kind, name, |live| live["metadata"]["labels"][crds::SERVICE_LABEL] == *service.name)
        .await?;
    Ok(())
}

/// Somebody makes an object that claims to be a child.
async fn plant(service: &Service, kind: Kind, like: &str) -> Result<()> {
    let (name, api) = (format!("planted-{like}"), service.children_api(kind));
    drift::plant(service, kind, like, &name).await?;
    wait_until(LIMIT, &format!("{} {name} to go", kind.as_str()), async || match api.get_opt(&name).await {
        Ok(None) => Look::Done(()),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await
}

/// Somebody makes the Secret unchangeable: it is made anew.
async fn seal(service: &Service) -> Result<()> {
    let name = format!("{}-tls", service.name);
    change(service, Kind::Secret, &name, json!({"immutable": true})).await?;
    undone(service, Kind::Secret, &name, |live| live["immutable"].is_null()).await?;
    Ok(())
}

/// A value changes with which a Job has to log in, and others do with the Job what they do with every child.
async fn log_in(service: &Service, cluster: &Cluster) -> Result<()> {
    let secrets = Api::<Secret>::namespaced(cluster.client.clone(), &service.namespace);
    let change = async |url: &str| {
        let changed = Patch::Merge(json!({"stringData": {"url": url}}));
        secrets.patch("database", &PatchParams::default(), &changed).await
    };
    change("postgres://x").await?;
    let jobs = service.children_api(Kind::Job);
    let name = wait_until(LIMIT, "a Job", async || match jobs.list(&ListParams::default()).await {
        Ok(list) => match list.items.first() {
            Some(job) => Look::Done(job.name_any()),
            None => Look::NotYet(String::new()),
        },
        Err(error) => Look::NotYet(error.to_string()),
    })
    .await?;
    drift(service, Kind::Job, &name).await?;
    hide(service, Kind::Job, &name).await?;
    plant(service, Kind::Job, &name).await?;
    change("redis://x").await?;
    service.made().await.map(drop)
}

/// Somebody asks for another CA.
async fn replace_ca(cluster: &Cluster, home: &Namespace) -> Result<()> {
    let before = certificate::ca(&cluster.client, &home.name).await?;
    certificate::ask_for_another_ca(&cluster.client, &home.name, "").await?;
    wait_until(LIMIT, "another CA alone", async || {
        match certificate::is_replaced(&cluster.client, &home.name, &before).await {
            Ok(true) => Look::Done(()),
            other => Look::NotYet(format!("{other:?}")),
        }
    })
    .await
}

/// The Lease is renewed now and then.
async fn renew(cluster: &Cluster, home: &Namespace) -> Result<()> {
    let leases = Api::<Lease>::namespaced(cluster.client.clone(), &home.name);
    let renewed = async || {
        let lease = leases.get(crds::MANAGER).await?;
        anyhow::Ok(lease.spec.and_then(|spec| spec.renew_time))
    };
    let before = renewed().await?;
    wait_until(LIMIT, "the Lease to be renewed", async || match renewed().await {
        Ok(now) if now > before => Look::Done(()),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await
}
