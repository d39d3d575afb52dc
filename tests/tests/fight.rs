//! What happens when another tool sets a field back after every restore? Restoring a number waits longer and longer,
//! restoring what security depends on never waits, and status and one event name the tool.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use render::Kind;
use serde_json::{Value, json};
use testbed::drift::UNDONE;
use testbed::fixture::{self, OPERATOR, Service, condition, example};
use testbed::{Cluster, Look, Operator, wait_until};

const TOOL: &str = "replica-tool";
/// How often the other tool applies what it wants.
const PERIOD: Duration = Duration::from_secs(2);
/// As long it does so.
const FIGHT: Duration = Duration::from_secs(36);

/// The other tool: it applies its object by force until it is told to end.
struct Tool(tokio::task::JoinHandle<()>, Arc<AtomicUsize>);

impl Tool {
    fn start(service: &Service, object: Value) -> Self {
        let (api, name) = (service.children_api(Kind::Deployment), service.name.clone());
        let applied = Arc::new(AtomicUsize::new(0));
        let count = applied.clone();
        let task = tokio::spawn(async move {
            let params = PatchParams::apply(TOOL).force();
            loop {
                let done = api.patch(&name, &params, &Patch::Apply(&object)).await;
                // The Deployment may be refused for a moment; what counts is how often it was taken.
                count.fetch_add(usize::from(done.is_ok()), Ordering::Relaxed);
                tokio::time::sleep(PERIOD).await;
            }
        });
        Self(task, applied)
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn apply(spec: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec})
}

async fn made(cluster: &Cluster, namespace: &str) -> Result<Service> {
    let mut service = example("minimal-production")?;
    service.spec.workload.replicas = Some(3);
    let service = Service::create(cluster, namespace, &service).await?;
    service.made().await?;
    if let Some(audit) = cluster.audit() {
        fixture::rest(&audit, namespace).await?;
    }
    Ok(service)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_a_tool_sets_again_and_again_is_restored_less_and_less_often() -> Result<()> {
    let cluster = Cluster::get().await?;
    let Some(audit) = cluster.audit() else { return Ok(()) };
    let namespace = cluster.namespace("number").await?;
    let _operator = Operator::start(&cluster).await?;
    let service = made(&cluster, &namespace.name).await?;
    let mark = audit.mark().await?;
    let tool = Tool::start(&service, apply(&json!({"replicas": 5})));
    let start = Instant::now();
    let fighting = service.until_reason("FieldFight").await?;
    for type_ in ["Ready", "WorkloadReady"] {
        let message = &condition(&fighting, type_).context("no condition")?.message;
        for part in ["Deployment", &service.name, "spec.replicas", TOOL, "spec.workload.replicas"] {
            assert!(message.contains(part), "{type_}: {part} is missing in {message}");
        }
    }
    assert_eq!(condition(&fighting, "Stalled").context("no Stalled")?.status, "True");
    tokio::time::sleep(FIGHT.saturating_sub(start.elapsed())).await;
    let applied = tool.1.load(Ordering::Relaxed);
    drop(tool);
    let seen = audit.since(mark).await?.by(OPERATOR).within(&namespace.name);
    let tried = seen.clone().resource("deployments").writes();
    let writes = tried.clone().only(|request| request.code < 300);
    let status = seen.clone().subresource("hardenedservices", "status").writes();
    let asked = seen.clone().resource("deployments").dry_runs().only(|request| request.code < 300);
    eprintln!(
        "{applied} applied, {} restored, {} dry runs, {} status writes",
        writes.count(),
        asked.count(),
        status.count()
    );
    // Five at once, then after 10 s and after 20 s more.
    assert!(applied > 12 && (5..=7).contains(&writes.count()), "{applied} applied: {writes}");
    // Each write is asked first, also one that loses a race; so is each wait, once.
    assert!(asked.count() <= tried.count() + 4, "{asked}");
    // Whether the pods are complete changes with each flip.
    assert!(status.count() <= 2 * writes.count() + 6, "{status}");
    assert_eq!(events(&cluster, &service).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_a_tool_adds_again_and_again_is_gone_at_once_each_time() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("container").await?;
    let _operator = Operator::start(&cluster).await?;
    let service = made(&cluster, &namespace.name).await?;
    let evil = json!({"name": "evil", "image": "registry.example/evil:1"});
    let tool = Tool::start(&service, apply(&json!({"template": {"spec": {"containers": [evil]}}})));
    let start = Instant::now();
    let mut since: Option<Instant> = None;
    let mut longest = Duration::ZERO;
    while start.elapsed() < FIGHT {
        let live = service.child(Kind::Deployment, &service.name).await?.context("no Deployment")?;
        since = is_evil(&live).then(|| since.unwrap_or_else(Instant::now));
        longest = longest.max(since.map(|since| since.elapsed()).unwrap_or_default());
        ensure!(longest < UNDONE, "the container stays for {longest:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let fighting = service.until_reason("FieldFight").await?;
    let message = &condition(&fighting, "Ready").context("no Ready")?.message;
    assert!(message.contains("containers[evil]") && message.contains(TOOL), "{message}");
    let applied = tool.1.load(Ordering::Relaxed);
    eprintln!("{applied} applied, the longest stayed {} ms", longest.as_millis());
    assert!(applied > 12, "{applied} applied");
    drop(tool);
    wait_until(UNDONE, "the container to be gone", async || {
        match service.child(Kind::Deployment, &service.name).await {
            Ok(Some(live)) if !is_evil(&live) => Look::Done(()),
            other => Look::NotYet(format!("{other:?}")),
        }
    })
    .await?;
    assert_eq!(events(&cluster, &service).await?, 1);
    Ok(())
}

fn is_evil(deployment: &Value) -> bool {
    deployment["spec"]["template"]["spec"].to_string().contains("evil")
}

/// How often the fight was told, repetitions counted.
async fn events(cluster: &Cluster, service: &Service) -> Result<i32> {
    let api = Api::<Event>::namespaced(cluster.client.clone(), &service.namespace);
    let events = api.list(&ListParams::default()).await?.items.into_iter();
    let counts = events
        .filter(|event| event.reason.as_deref() == Some("FieldFight"))
        .map(|event| event.series.map_or(1, |series| series.count));
    Ok(counts.sum())
}
