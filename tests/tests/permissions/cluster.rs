//! Rights on the whole cluster: the operator is started without one after the other.

use anyhow::{Context, Result, ensure};
use crds::HardenedService;
use kube::api::Patch;
use render::Kind;
use serde_json::{Value, json};
use testbed::drift::{attack, told, undone};
use testbed::fixture::{OPERATOR, Service, condition, wanted};
use testbed::operator::Options;
use testbed::rights::{self, Right};
use testbed::{Cluster, Look, Namespace, Operator, wait_until};

use crate::{BACK, CLUSTER_ROLE, SOON, full, is_missed, kind_of, name_of, until_logged, until_readyz};

#[tokio::test]
async fn each_right_on_the_cluster_that_is_missing_is_named_and_comes_back_without_a_restart() -> Result<()> {
    let cluster = Cluster::get().await?;
    let settings = tempfile::NamedTempFile::new()?;
    std::fs::write(settings.path(), json!({"jobs": {"image": "example.com/operator:1"}}).to_string())?;
    let args = vec!["--settings".to_owned(), settings.path().display().to_string()];
    let mut operator = Operator::start_with(&cluster, Options { args, ..Options::default() }).await?;
    let namespace = cluster.namespace("cluster").await?;
    let all = rights::of_cluster_role(&cluster, CLUSTER_ROLE).await?;
    ensure!(all.len() > 20, "only {} rights", all.len());
    for (index, right) in all.iter().enumerate() {
        operator.stop().await?;
        let but_one = rights::rules(all.iter().filter(|other| *other != right));
        rights::set_cluster_role(&cluster, CLUSTER_ROLE, but_one).await?;
        let case = Case { cluster: &cluster, namespace: &namespace, right, name: format!("case{index}") };
        let start = std::time::Instant::now();
        let result = case.run(&mut operator, &all).await;
        println!("{:>5.1} s  {}", start.elapsed().as_secs_f32(), right.words());
        // Also after a failure: the role is everybody's.
        rights::set_cluster_role(&cluster, CLUSTER_ROLE, rights::rules(&all)).await?;
        let log = || operator.log().lines().rev().take(40).collect::<Vec<_>>().join("\n");
        result.with_context(|| format!("without '{}'; the log ends with\n{}", right.words(), log()))?;
    }
    Ok(())
}

struct Case<'a> {
    cluster: &'a Cluster,
    namespace: &'a Namespace,
    right: &'a Right,
    name: String,
}

impl Case<'_> {
    async fn run(&self, operator: &mut Operator, all: &[Right]) -> Result<()> {
        rights::until_allowed(self.cluster, OPERATOR, None, self.right, false).await?;
        let sees = self.right.resource != "hardenedservices";
        if sees {
            operator.restart().await?;
        } else {
            operator.restart_unready()?;
        }
        let mut service = full()?;
        service.metadata.name = Some(self.name.clone());
        let service = Service::create(self.cluster, &self.namespace.name, &service).await?;
        self.is_missed(operator, &service).await?;
        rights::set_cluster_role(self.cluster, CLUSTER_ROLE, rights::rules(all)).await?;
        wait_until(BACK, "all to be well", async || {
            let made = service.made().await.map(drop);
            match operator.get("/readyz").await {
                Ok((200, body)) if made.is_ok() && !body.contains("denied") => Look::Done(()),
                other => Look::NotYet(format!("{made:?} {other:?}")),
            }
        })
        .await?;
        Ok(())
    }

    /// What tells of the missing right, and what works without it.
    async fn is_missed(&self, operator: &Operator, service: &Service) -> Result<()> {
        let words = self.right.words();
        match (&*self.right.resource, &*self.right.verb) {
            // Only the admission plugin OwnerReferencesPermissionEnforcement asks for it.
            ("hardenedservices/finalizers", _) => service.made().await.map(drop),
            ("hardenedservices", _) => until_readyz(operator, self.right, 503).await,
            ("hardenedservices/status", _) => self.without_status(operator, service).await,
            ("events", "create") => {
                service.made().await?;
                until_logged(operator, &words).await
            }
            ("events", _) => self.without_series(operator, service).await,
            ("customresourcedefinitions", _) => {
                service.made().await?;
                until_readyz(operator, self.right, 200).await?;
                steadily_refused(operator).await
            }
            // No service has a Job while no value is tried.
            ("jobs", _) => {
                service.made().await?;
                until_readyz(operator, self.right, 200).await
            }
            ("namespaces", _) => {
                until_readyz(operator, self.right, 200).await?;
                let named = |service: &HardenedService| {
                    condition(service, "Ready").is_some_and(|ready| {
                        ready.reason == "PermissionDenied" && ready.message.contains(&words)
                    })
                };
                service.until("the right to be named", named).await.map(drop)
            }
            _ => {
                let kind = kind_of(self.right).context("a right on something else")?;
                until_readyz(operator, self.right, 200).await?;
                let what = format!("'{words}' to be missed");
                service.until(&what, |service| is_missed(service, self.right, kind, None)).await.map(drop)
            }
        }
    }

    /// Children are made all the same; an event, the log (once) and a metric tell.
    async fn without_status(&self, operator: &Operator, service: &Service) -> Result<()> {
        told(self.cluster, service, "PermissionDenied", &[&self.right.words()]).await?;
        for (kind, name) in wanted(&service.get().await?) {
            ensure!(service.child(kind, &name).await?.is_some(), "no {} {name}", kind.as_str());
        }
        let refused =
            async || anyhow::Ok(metric(&operator.get("/metrics").await?.1, "statuses_denied_total"));
        let before = refused().await?;
        service.patch(&json!({"metadata": {"annotations": {"example.com/touched": "yes"}}})).await?;
        wait_until(SOON, "another pass", async || match refused().await {
            Ok(now) if now > before => Look::Done(()),
            other => Look::NotYet(format!("{other:?}")),
        })
        .await?;
        let object = format!("{}.{}", service.name, service.namespace);
        let told = |line: &&str| line.contains("status not written") && line.contains(&object);
        let log = operator.log();
        let lines: Vec<_> = log.lines().filter(told).collect();
        ensure!(lines.len() == 1, "told {} times of an unchanged status: {lines:#?}", lines.len());
        Ok(())
    }

    /// The second of two equal events is counted up at the first.
    async fn without_series(&self, operator: &Operator, service: &Service) -> Result<()> {
        service.made().await?;
        let child = name_of(service, Kind::Service)?;
        for _ in 0..2 {
            let patch = json!({"metadata": {"labels": {"app.kubernetes.io/part-of": "mallory"}}});
            let _ = attack(service, Kind::Service, &child, &Patch::Merge(patch)).await?;
            undone(service, Kind::Service, &child, |live: &Value| {
                live["metadata"]["labels"]["app.kubernetes.io/part-of"] == *service.name
            })
            .await?;
        }
        until_logged(operator, &self.right.words()).await
    }
}

/// Between two attempts that are refused nobody is told that all is well, though the list before a watch succeeds.
async fn steadily_refused(operator: &Operator) -> Result<()> {
    let refusals = || operator.log().matches("with 403").count();
    let before = (refusals(), operator.log().matches("watch allowed again").count());
    wait_until(SOON, "more attempts", async || match refusals() {
        now if now >= before.0 + 2 => Look::Done(()),
        now => Look::NotYet(now),
    })
    .await?;
    ensure!(
        operator.log().matches("watch allowed again").count() == before.1,
        "told of a right that is missing"
    );
    Ok(())
}

fn metric(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("hardened_{name} ")));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
}
