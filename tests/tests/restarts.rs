//! Is each new revision of the pods entered in status once, with its cause and what changed, whoever made it and
//! whenever the operator dies?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::{Restart, RestartCause};
use kube::api::Patch;
use render::Kind;
use serde_json::{Value, json};
use testbed::drift::{attack, essence, undone};
use testbed::fixture::{OPERATOR, Service, example};
use testbed::install::kubectl;
use testbed::ledger::{complete, state};
use testbed::operator::Options;
use testbed::{Cluster, FaultProxy, Look, Namespace, Operator, wait_until};

const SOON: Duration = Duration::from_secs(30);
const ENV: &str = "spec.template.spec.containers[app].env";
const EVIL: &str = "spec.template.spec.containers[evil]";

async fn made(cluster: &Cluster, namespace: &Namespace) -> Result<Service> {
    let service = Service::create(cluster, &namespace.name, &example("minimal-production")?).await?;
    service.made().await?;
    let ledger = complete(cluster, &service, 1).await?;
    ensure!(ledger.is_empty(), "the first revision is no restart: {ledger:?}");
    Ok(service)
}

async fn mode(service: &Service, value: &str) -> Result<()> {
    let patch = json!({"spec": {"workload": {"env": [{"name": "MODE", "value": value}]}}});
    service.patch(&patch).await.map(drop)
}

async fn add_container(service: &Service) -> Result<()> {
    let before = service.child(Kind::Deployment, &service.name).await?.context("no Deployment")?;
    let patch = json!([{"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "evil", "image": "e"}}]);
    let patch = Patch::Json::<Value>(serde_json::from_value(patch)?);
    let answer = attack(service, Kind::Deployment, &service.name, &patch).await?;
    ensure!(answer.is_ok(), "{answer:?}");
    undone(service, Kind::Deployment, &service.name, |live| essence(live) == essence(&before)).await?;
    Ok(())
}

/// Cause and number of entries, in order.
fn causes(ledger: &[Restart]) -> Vec<RestartCause> {
    let mut causes: Vec<_> = ledger.iter().map(|entry| entry.cause).collect();
    causes.dedup();
    causes
}

/// What the running operator has counted, by cause.
async fn counted(operator: &Operator) -> Result<Vec<String>> {
    let (_, text) = operator.get("/metrics").await?;
    let lines = text.lines().filter_map(|line| line.strip_prefix("hardened_restarts_total"));
    let mut lines: Vec<_> = lines.map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_revision_is_entered_once_with_its_cause_and_a_new_operator_enters_none() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("ledger").await?;
    let mut operator = Operator::start(&cluster).await?;
    let service = made(&cluster, &namespace).await?;

    let mark = match cluster.audit() {
        Some(audit) => Some((audit.mark().await?, audit)),
        None => None,
    };
    mode(&service, "one").await?;
    let ledger = complete(&cluster, &service, 2).await?;
    assert_eq!(
        (ledger[0].cause, &*ledger[0].keys),
        (RestartCause::SpecChanged, &[format!("{ENV}[MODE]")][..])
    );
    if let Some((mark, audit)) = mark {
        let seen = audit.since(mark).await?.by(OPERATOR).within(&namespace.name);
        let status = seen.subresource("hardenedservices", "status").writes();
        eprintln!("{} status writes for one change of the spec", status.count());
        // The new generation, the new pods, the new revision: each is one change.
        assert!(status.count() <= 4, "{status}");
    }

    add_container(&service).await?;
    let ledger = complete(&cluster, &service, 2).await?;
    let attacked = ledger[1..].iter().all(|e| e.cause == RestartCause::DriftReverted && e.keys == [EVIL]);
    // Two revisions, or none when the Deployment controller never saw the attack.
    assert!(attacked && [1, 3].contains(&ledger.len()), "{ledger:#?}");

    let (newest, _) = state(&service).await?;
    let deployment = format!("deployment/{}", service.name);
    kubectl(&cluster, &["rollout", "restart", &deployment, "--namespace", &namespace.name], "")?;
    let ledger = complete(&cluster, &service, newest + 1).await?;
    assert_eq!(ledger.last().context("empty")?.cause, RestartCause::Manual, "{ledger:#?}");
    let count = |cause| ledger.iter().filter(|entry| entry.cause == cause).count();
    let mut expected = vec![
        format!("{{cause=\"Manual\"}} {}", count(RestartCause::Manual)),
        format!("{{cause=\"SpecChanged\"}} {}", count(RestartCause::SpecChanged)),
    ];
    if count(RestartCause::DriftReverted) > 0 {
        expected.insert(0, format!("{{cause=\"DriftReverted\"}} {}", count(RestartCause::DriftReverted)));
    }
    assert_eq!(counted(&operator).await?, expected);

    operator.kill().await?;
    operator.restart().await?;
    assert_eq!(complete(&cluster, &service, newest + 1).await?, ledger, "a new operator made entries");
    assert!(counted(&operator).await?.is_empty(), "a new operator counted old entries");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_while_no_operator_ran_is_entered_when_one_runs() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("away").await?;
    let mut operator = Operator::start(&cluster).await?;
    let service = made(&cluster, &namespace).await?;
    operator.kill().await?;
    mode(&service, "one").await?;
    operator.restart().await?;
    let ledger = complete(&cluster, &service, 2).await?;
    assert_eq!(causes(&ledger), [RestartCause::SpecChanged], "{ledger:#?}");
    assert_eq!(counted(&operator).await?, ["{cause=\"SpecChanged\"} 1"]);

    operator.kill().await?;
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "evil", "image": "e"}]}}}});
    let answer = attack(&service, Kind::Deployment, &service.name, &Patch::Strategic(patch)).await?;
    ensure!(answer.is_ok(), "{answer:?}");
    wait_until(SOON, "the revision of the attack", async || match state(&service).await {
        Ok((3, _)) => Look::Done(()),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await?;
    operator.restart().await?;
    let ledger = complete(&cluster, &service, 4).await?;
    assert_eq!(causes(&ledger), [RestartCause::SpecChanged, RestartCause::DriftReverted], "{ledger:#?}");
    assert!(ledger.len() == 3 && ledger[1..].iter().all(|entry| entry.keys == [EVIL]), "{ledger:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_dies_right_after_it_changed_the_pods_leaves_their_cause_behind() -> Result<()> {
    let cluster = Cluster::get().await?;
    let namespace = cluster.namespace("dies").await?;
    let proxy = FaultProxy::start(&cluster).await?;
    let options = Options { kubeconfig: Some(proxy.kubeconfig()), ..Options::default() };
    let mut operator = Operator::start_with(&cluster, options).await?;
    let service = made(&cluster, &namespace).await?;
    // The write of the Deployment; the next one would be that of the status.
    proxy.kill_after_writes(1, operator.pid());
    mode(&service, "one").await?;
    operator.wait_end().await?;
    let last = proxy.writes().pop().context("no write")?;
    assert!(last.starts_with("PUT") && last.contains("/deployments/"), "{last}");
    operator.restart().await?;
    let ledger = complete(&cluster, &service, 2).await?;
    assert_eq!(causes(&ledger), [RestartCause::SpecChanged], "{ledger:#?}");
    assert_eq!(ledger[0].keys, [format!("{ENV}[MODE]")]);
    assert_eq!(counted(&operator).await?, ["{cause=\"SpecChanged\"} 1"]);
    Ok(())
}
