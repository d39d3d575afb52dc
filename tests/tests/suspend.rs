//! What does `suspend` stop, and when does work go on? While suspended nothing is written but the status that says so.

use std::time::Duration;

use anyhow::{Context, Result};
use crds::{HardenedService, SERVICE_LABEL};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, Patch};
use render::Kind;
use serde_json::{Value, json};
use testbed::drift::attack;
use testbed::fixture::{self, OPERATOR, Service, condition, example};
use testbed::{Cluster, Look, Operator, wait_until};

/// So far ahead a suspension ends by itself.
const AHEAD: SignedDuration = SignedDuration::from_secs(8);
const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn while_suspended_nothing_is_corrected_or_changed_and_work_goes_on_when_it_ends() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace("suspended").await?;
    let service = Service::create(&cluster, &namespace.name, &example("minimal-production")?).await?;
    service.made().await?;
    suspend(&service, json!({"suspend": true})).await?;
    if let Some(audit) = cluster.audit() {
        // The event about the suspension comes after the status that told of it.
        fixture::rest(&audit, &namespace.name).await?;
        let mark = audit.mark().await?;
        plant(&service).await?;
        service.children_api(Kind::Service).delete(&service.name, &DeleteParams::background()).await?;
        fixture::rest(&audit, &namespace.name).await?;
        let seen = audit.since(mark).await?.by(OPERATOR).within(&namespace.name).besides_watches();
        assert_eq!(seen.count(), 0, "{seen}");
    } else {
        plant(&service).await?;
    }
    // A new spec is not worked on either, except that status says for which it waits.
    let patch = json!({"spec": {"workload": {"env": [{"name": "MODE", "value": "two"}]}}});
    service.patch(&patch).await?;
    service.until_reason("Suspended").await?;
    assert!(is_planted(&service).await?, "a suspended service was corrected");
    assert!(!deployment(&service).await?.contains("MODE"), "a new spec was worked on");
    service.patch(&json!({"spec": {"suspend": false}})).await?;
    until_mended(&service).await?;
    service.made().await?;
    assert!(deployment(&service).await?.contains("MODE"));
    Ok(())
}

#[tokio::test]
async fn a_suspension_with_an_end_says_when_and_ends_by_itself() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace("until").await?;
    let service = Service::create(&cluster, &namespace.name, &example("minimal-production")?).await?;
    service.made().await?;
    let until = Timestamp::from_second((Timestamp::now() + AHEAD).as_second())?;
    let resource = suspend(&service, json!({"suspend": true, "suspendUntil": until.to_string()})).await?;
    let message = &condition(&resource, "Ready").context("no Ready")?.message;
    assert!(message.contains(&until.to_string()), "{message}");
    plant(&service).await?;
    until_mended(&service).await?;
    assert!(Timestamp::now() >= until, "it was corrected before the time was over");
    service.until_reason("Progressing").await?;
    Ok(())
}

#[tokio::test]
async fn a_service_that_is_suspended_from_the_start_gets_no_child_and_can_be_deleted() -> Result<()> {
    let cluster = Cluster::get().await?;
    let _operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace("asleep").await?;
    let mut asleep = example("minimal-production")?;
    asleep.spec.suspend = true;
    let service = Service::create(&cluster, &namespace.name, &asleep).await?;
    service.until_reason("Suspended").await?;
    if let Some(audit) = cluster.audit() {
        fixture::rest(&audit, &namespace.name).await?;
    }
    assert!(service.children().await?.is_empty(), "a suspended service got children");
    service.patch(&json!({"spec": {"suspend": false}})).await?;
    service.made().await?;
    suspend(&service, json!({"suspend": true})).await?;
    service.api().delete(&service.name, &DeleteParams::background()).await?;
    wait_until(SOON, &format!("everything with {SERVICE_LABEL} to be gone"), async || {
        let gone = service.api().get_opt(&service.name).await.is_ok_and(|found| found.is_none());
        match service.children().await {
            Ok(children) if gone && children.is_empty() => Look::Done(()),
            other => Look::NotYet(format!("resource gone: {gone}, children: {:?}", other.map(|c| c.len()))),
        }
    })
    .await
}

/// Suspends the service and waits until status says so, and that it is nothing that a person must mend.
async fn suspend(service: &Service, spec: Value) -> Result<HardenedService> {
    service.patch(&json!({"spec": spec})).await?;
    let resource = service.until_reason("Suspended").await?;
    let message = &condition(&resource, "Ready").context("no Ready")?.message;
    assert!(message.contains("spec.suspend"), "{message}");
    assert_eq!(condition(&resource, "Stalled").context("no Stalled")?.status, "False");
    Ok(resource)
}

/// Adds a key to the policy, as somebody else.
async fn plant(service: &Service) -> Result<()> {
    let patch = Patch::Merge(json!({"data": {"planted": "true"}}));
    let answer = attack(service, Kind::ConfigMap, &policy(service), &patch).await?;
    anyhow::ensure!(answer.is_ok(), "{answer:?}");
    Ok(())
}

async fn is_planted(service: &Service) -> Result<bool> {
    let policy = service.child(Kind::ConfigMap, &policy(service)).await?.context("no policy")?;
    Ok(!policy["data"]["planted"].is_null())
}

async fn until_mended(service: &Service) -> Result<()> {
    wait_until(SOON, "the planted key to go", async || match is_planted(service).await {
        Ok(false) => Look::Done(()),
        other => Look::NotYet(format!("{other:?}")),
    })
    .await
}

fn policy(service: &Service) -> String {
    format!("{}-policy", service.name)
}

async fn deployment(service: &Service) -> Result<String> {
    let live = service.child(Kind::Deployment, &service.name).await?.context("no Deployment")?;
    Ok(live["spec"].to_string())
}
