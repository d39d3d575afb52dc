//! Which Jobs are there for a database, whatever happens to them, and whose word counts? On a control plane without nodes: what a
//! kubelet would say of a pod, the test says.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use testbed::fixture::{Service, named, words};
use testbed::operator::Options;
use testbed::{Cluster, Look, Namespace, Operator, wait_until};

const IMAGE: &str = "example.com/hardened-operator:1";
const LIMIT: Duration = Duration::from_mins(1);
/// Longer than the interval of the spec: so long nothing more may be made.
const QUIET: Duration = Duration::from_secs(8);
const OF_JOB: &str = "batch.kubernetes.io/job-name";
const PROVEN: &str = r#"{"evidence": {"serverVersion": 150018, "passed": 3, "audit": "ServerLog"}}"#;

#[tokio::test]
async fn one_job_at_a_time_looks_at_a_database_and_only_its_own_program_is_believed() -> Result<()> {
    let cluster = Cluster::get().await?;
    let settings = tempfile::NamedTempFile::new()?;
    std::fs::write(settings.path(), json!({"jobs": {"image": IMAGE}}).to_string())?;
    let args = vec!["--settings".to_owned(), settings.path().display().to_string()];
    let mut operator = Operator::start_with(&cluster, Options { args, ..Options::default() }).await?;
    let namespace = cluster.namespace("database").await?;
    let scene = Scene::set(&cluster, namespace).await?;

    // Its Secret is not for this service, then it is.
    scene.until("False", "SecretNotAllowed", "spec.postgres.connection.secretRef").await?;
    scene.label(true).await?;
    let first = scene.only_job(None).await?;
    scene.until("False", "Progressing", "a Job brings the database").await?;

    // A pod that nobody starts, a Job that somebody deletes or edits, an operator that dies: it stays one Job.
    tokio::time::sleep(QUIET).await;
    assert_eq!(scene.only_job(None).await?.name_any(), first.name_any());
    scene.jobs().delete(&first.name_any(), &DeleteParams::background()).await?;
    let again = scene.only_job(Some(&first)).await?;
    assert_eq!(again.name_any(), first.name_any(), "the same look is another Job");
    let more = json!({"spec": {"parallelism": 0}});
    scene.jobs().patch(&first.name_any(), &PatchParams::default(), &Patch::Merge(&more)).await?;
    wait_until(LIMIT, "the edit to be undone", async || match scene.jobs().get(&first.name_any()).await {
        Ok(job) => {
            Look::when(job.spec.and_then(|spec| spec.parallelism), |parallelism| *parallelism == Some(1))
        }
        Err(_) => Look::NotYet(None),
    })
    .await?;
    operator.stop().await?;
    operator.restart().await?;
    assert_eq!(scene.only_job(None).await?.name_any(), first.name_any());

    // The word of a pod whose image somebody changed counts for nothing.
    scene.exchange_image(&first.name_any()).await?;
    scene.end(&first.name_any(), PROVEN).await?;
    scene.until("False", "JobFailed", "not believed").await?;
    ensure!(scene.database().await?["verifiedAt"].is_null());

    let second = scene.only_job(Some(&first)).await?;
    scene.end(&second.name_any(), PROVEN).await?;
    scene
        .until("True", "Ready", "3 checks passed, the line of a marked statement is in the server's log")
        .await?;
    let database = scene.database().await?;
    ensure!(database["verifiedAt"].is_string() && database["failures"] == 0, "{database}");
    ensure!(database["hardened"] == database["input"], "{database}");

    // The next one only verifies; the one before the last is gone.
    let third = scene.only_job(Some(&second)).await?;
    let args = third.spec.and_then(|spec| spec.template.spec?.containers.into_iter().next()?.args);
    ensure!(args.iter().flatten().any(|arg| arg == "--verify-only"), "{args:?}");
    let left: Vec<_> =
        scene.jobs().list(&ListParams::default()).await?.iter().map(ResourceExt::name_any).collect();
    ensure!(!left.contains(&first.name_any()) && left.len() == 2, "{left:?}");
    // Without the label it may be used no longer: what works on it goes.
    scene.label(false).await?;
    scene.until("False", "SecretNotAllowed", "spec.postgres.connection.secretRef").await?;
    wait_until(LIMIT, "no Job at work", async || {
        Look::when(scene.at_work().await.unwrap_or_default(), Vec::is_empty)
    })
    .await
    .map(drop)
}

struct Scene {
    cluster: Cluster,
    namespace: Namespace,
    service: Service,
}

impl Scene {
    async fn set(cluster: &Cluster, namespace: Namespace) -> Result<Self> {
        let mut wanted = named("postgres", "shop")?;
        let postgres = json!({
            "connection": {"secretRef": {"name": "admin"}, "host": "db", "database": "shop"},
            "verifyInterval": "5s",
        });
        wanted.spec.postgres = serde_json::from_value(postgres)?;
        let secret =
            json!({"metadata": {"name": "admin"}, "stringData": {"username": "dba", "password": "p"}});
        let secrets = Api::<Secret>::namespaced(cluster.client.clone(), &namespace.name);
        secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
        let service = Service::create(cluster, &namespace.name, &wanted).await?;
        Ok(Self { cluster: cluster.clone(), namespace, service })
    }

    fn jobs(&self) -> Api<Job> {
        Api::namespaced(self.cluster.client.clone(), &self.namespace.name)
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.cluster.client.clone(), &self.namespace.name)
    }

    async fn label(&self, on: bool) -> Result<()> {
        let secrets = Api::<Secret>::namespaced(self.cluster.client.clone(), &self.namespace.name);
        let label = if on { json!("shop") } else { Value::Null };
        let patch = json!({"metadata": {"labels": {crds::SERVICE_LABEL: label}}});
        secrets.patch("admin", &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }

    async fn until(&self, status: &str, reason: &str, message: &str) -> Result<()> {
        self.service
            .until(&format!("DatabaseReady={status} ({reason}: {message})"), |service| {
                let said = words(service, "DatabaseReady");
                said.0 == status && said.1 == reason && said.2.contains(message)
            })
            .await
            .map(drop)
    }

    async fn database(&self) -> Result<Value> {
        let status = self.service.get().await?.status.context("no status")?;
        Ok(serde_json::to_value(status.database)?)
    }

    async fn at_work(&self) -> Result<Vec<Job>> {
        let ended = |job: &Job| {
            let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.into_iter().any(|c| ["Complete", "Failed"].contains(&&*c.type_) && c.status == "True")
        };
        let all = self.jobs().list(&ListParams::default()).await?;
        Ok(all
            .items
            .into_iter()
            .filter(|job| !ended(job) && job.metadata.deletion_timestamp.is_none())
            .collect())
    }

    /// The Job that is at work, once it is another object than this one.
    async fn only_job(&self, than: Option<&Job>) -> Result<Job> {
        let uid = than.and_then(ResourceExt::uid);
        let found = wait_until(LIMIT, "one Job at work", async || match self.at_work().await {
            Ok(jobs) if jobs.len() == 1 && jobs[0].uid() != uid => Look::Done(jobs.into_iter().next()),
            other => Look::NotYet(other.map(|jobs| jobs.len()).ok()),
        });
        found.await?.context("no Job")
    }

    async fn pod_of(&self, job: &str) -> Result<Pod> {
        let of_job = ListParams::default().labels(&format!("{OF_JOB}={job}"));
        let found = wait_until(LIMIT, "the Job's pod", async || match self.pods().list(&of_job).await {
            Ok(pods) => pods.items.into_iter().next().map_or(Look::NotYet(()), Look::Done),
            Err(_) => Look::NotYet(()),
        });
        found.await
    }

    /// What the kubelet says of a pod that ended.
    async fn end(&self, job: &str, message: &str) -> Result<()> {
        let pod = self.pod_of(job).await?.name_any();
        let at = "2026-01-01T00:00:00Z";
        let ended = json!({"exitCode": 0, "message": message, "startedAt": at, "finishedAt": at});
        let status = json!({"status": {"phase": "Succeeded", "containerStatuses": [{
            "name": "postgres", "image": IMAGE, "imageID": IMAGE, "ready": false, "restartCount": 0,
            "state": {"terminated": ended},
        }]}});
        self.pods().patch_status(&pod, &PatchParams::default(), &Patch::Merge(&status)).await?;
        Ok(())
    }

    /// What whoever may write pods can do to the Job's.
    async fn exchange_image(&self, job: &str) -> Result<()> {
        let pod = self.pod_of(job).await?.name_any();
        let patch =
            json!([{"op": "replace", "path": "/spec/containers/0/image", "value": "example.com/forger:1"}]);
        let patch: Patch<()> = Patch::Json(serde_json::from_value(patch)?);
        self.pods().patch(&pod, &PatchParams::default(), &patch).await?;
        Ok(())
    }
}
