//! Does a new password reach the pods only after a real login with it, and does a value with which they do not start go
//! again, without a lost request? With the real images on the real node, and a real Postgres. Needs root, and no other node
//! on this host.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use crds::{Restart, RestartCause};
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod, Secret};
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;
use testbed::load::Load;
use testbed::postgres::{Options as Database, Postgres};
use testbed::stage::{NAME, Stage};
use testbed::vault::values::{synced, until_told};
use testbed::{Look, ledger, network, wait_until};

const RATE: u32 = 50;
const URL: &str = "REPORTS_URL";
/// The api-server takes a number.
const BREAKS: &str = "MAX_CONNECTIONS";
const PASSWORDS: [&str; 3] = ["canary-5d1f0a-one", "canary-5d1f0a-two", "canary-5d1f0a-three"];
/// Pods of a busy machine take 20 s.
const DEADLINE_SECONDS: i32 = 40;
const QUIET: Duration = Duration::from_secs(8);
const LIMIT: Duration = Duration::from_mins(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_proven_before_its_restart_and_what_pods_do_not_start_with_goes_again() -> Result<()> {
    let Some(stage) = Stage::with_jobs().await? else { return Ok(()) };
    let host = network::HOST.to_string();
    let postgres = Postgres::start_with(&Database {
        tls: Some(&[]),
        also_on: Some(&host),
        settings: "log_statement = all\n",
    })?;
    let scene = Scene { stage, postgres };
    scene.furnish().await?;

    let load = Load::start(scene.stage.target().await?, RATE);
    let [held, proven] = scene.prove().await?.map(|took| took.as_secs_f32());
    let back = scene.take_back().await?.as_secs_f32();
    let report = tokio::task::spawn_blocking(|| load.end()).await??;
    println!(
        "SOAK held after {held:.1} s, proven {proven:.1} s after the database had it, taken back after {back:.1} s; {report}"
    );
    assert_eq!(report.failed, 0, "{report}");
    scene.nothing_shown().await
}

struct Scene {
    stage: Stage,
    postgres: Postgres,
}

impl Scene {
    fn url(&self, password: &str) -> String {
        let port = self.postgres.address().port();
        let tls = "sslmode=verify-full&sslrootcert=/etc/database/ca.crt";
        format!("postgres://app:{password}@{}:{port}/shop?{tls}", network::HOST)
    }

    /// The Secret that somebody else writes.
    fn source(&self, password: &str, more: &[(&str, &str)]) -> Secret {
        let url = self.url(password);
        let all = [(URL, &*url)].into_iter().chain(more.iter().copied());
        let labels = [(crds::SERVICE_LABEL.to_owned(), NAME.to_owned())];
        Secret {
            metadata: ObjectMeta {
                name: Some("database".into()),
                labels: Some(labels.into()),
                ..ObjectMeta::default()
            },
            data: Some(all.map(|(name, value)| (name.into(), ByteString(value.into()))).collect()),
            ..Secret::default()
        }
    }

    async fn write(&self, source: &Secret) -> Result<()> {
        let params = PatchParams::apply("somebody").force();
        let mut whole = serde_json::to_value(source)?;
        (whole["apiVersion"], whole["kind"]) = ("v1".into(), "Secret".into());
        self.stage.api::<Secret>().patch("database", &params, &Patch::Apply(whole)).await?;
        Ok(())
    }

    /// A database with its user, and a service of three pods that has the address.
    async fn furnish(&self) -> Result<()> {
        self.postgres.database("shop")?;
        self.postgres.sql("shop", &format!("CREATE ROLE app LOGIN PASSWORD '{}'", PASSWORDS[0]))?;
        let ca = std::fs::read_to_string(self.postgres.ca_file())?;
        let ca = json!({"metadata": {"name": "database-ca"}, "data": {"ca.crt": ca}});
        self.stage.api::<ConfigMap>().create(&PostParams::default(), &serde_json::from_value(ca)?).await?;
        self.write(&self.source(PASSWORDS[0], &[])).await?;
        let volume =
            json!({"name": "ca", "mountPath": "/etc/database", "configMap": {"name": "database-ca"}});
        let to = json!({"cidr": format!("{}/32", network::HOST), "ports": [{"port": self.postgres.address().port()}]});
        let spec = json!({
            "network": {"egressTo": [to]},
            "secrets": {"sources": [{"secret": {"name": "database"}}], "postgresLogins": [{"url": URL}]},
            "workload": {"replicas": 3, "volumes": [volume], "progressDeadlineSeconds": DEADLINE_SECONDS},
        });
        self.stage.service.patch(&json!({ "spec": spec })).await?;
        self.until_password(PASSWORDS[0]).await?;
        // The first values break nothing that runs.
        ensure!(self.stage.api::<Job>().list(&ListParams::default()).await?.items.is_empty());
        Ok(())
    }

    async fn until_password(&self, password: &str) -> Result<()> {
        self.stage.until_everywhere(URL, &self.url(password), 3).await
    }

    async fn restarts(&self) -> Result<Vec<Restart>> {
        let (revision, _) = ledger::state(&self.stage.service).await?;
        ledger::complete(&self.stage.cluster, &self.stage.service, revision).await
    }

    /// A password that Postgres does not know yet restarts nothing; when it knows it, it is one restart.
    async fn prove(&self) -> Result<[Duration; 2]> {
        let before = self.restarts().await?;
        let begin = Instant::now();
        self.write(&self.source(PASSWORDS[1], &[])).await?;
        let told = until_told(&self.stage.service, "RotationHeld", "REPORTS_URL is not let in").await?;
        let held = begin.elapsed();
        ensure!(told.0 == "False" && told.1.contains("SQLSTATE 28P01"), "{told:?}");
        self.stage.shows_none_of::<Job>(&PASSWORDS, 1).await?;
        self.stage.shows_none_of::<Pod>(&PASSWORDS, 4).await?;
        assert_eq!(self.restarts().await?, before);
        self.stage.until_in_pods(URL, &self.url(PASSWORDS[0]), 3).await?;

        self.postgres.sql("shop", &format!("ALTER ROLE app PASSWORD '{}'", PASSWORDS[1]))?;
        let begin = Instant::now();
        wait_until(LIMIT, "the restart", async || match self.restarts().await {
            Ok(now) if now.len() > before.len() => Look::Done(()),
            other => Look::NotYet(format!("{other:?}")),
        })
        .await?;
        let proven = begin.elapsed();
        self.until_password(PASSWORDS[1]).await?;
        let new = self.restarts().await?.split_off(before.len());
        let new: Vec<_> = new.iter().map(|entry| (entry.cause, &*entry.keys)).collect();
        assert_eq!(new, [(RestartCause::SecretsChanged, &[URL.to_owned()][..])]);
        self.until_gone().await?;
        Ok([held, proven])
    }

    /// Nothing of the way is left behind.
    async fn until_gone(&self) -> Result<()> {
        wait_until(LIMIT, "what a change needs to go", async || {
            let names = async || {
                let jobs = self.stage.api::<Job>().list(&ListParams::default()).await?;
                let secrets = self.stage.api::<Secret>().list(&ListParams::default()).await?;
                let names = secrets.items.into_iter().filter_map(|secret| secret.metadata.name);
                let left = names.filter(|name| name.contains("-login-") || name.contains("-before"));
                anyhow::Ok(
                    left.chain(jobs.items.into_iter().filter_map(|job| job.metadata.name))
                        .collect::<Vec<_>>(),
                )
            };
            match names().await {
                Ok(left) if left.is_empty() => Look::Done(()),
                other => Look::NotYet(format!("{other:?}")),
            }
        })
        .await
    }

    /// The pods before never go, and the same values are not tried again.
    async fn take_back(&self) -> Result<Duration> {
        let (before, pods) = (self.restarts().await?, self.stage.pods().await?);
        let bad = self.source(PASSWORDS[1], &[(BREAKS, "many")]);
        self.write(&bad).await?;
        let begin = Instant::now();
        wait_until(LIMIT, "the values to come back", async || match self.stage.service.get().await {
            Ok(service) if synced(&service).1 == "RotationReverted" => Look::Done(()),
            other => Look::NotYet(format!("{:?}", other.map(|service| synced(&service)))),
        })
        .await?;
        let took = begin.elapsed();
        wait_until(LIMIT, "the pods before alone", async || {
            Look::when(self.stage.pods().await.unwrap_or_default(), |now| *now == pods)
        })
        .await?;
        let new = self.restarts().await?.split_off(before.len());
        let new: Vec<_> = new.iter().map(|entry| (entry.cause, &*entry.keys)).collect();
        let keys = &[BREAKS.to_owned()][..];
        let expected = [(RestartCause::SecretsChanged, keys), (RestartCause::SecretsReverted, keys)];
        assert_eq!(new, expected);
        let revision = ledger::state(&self.stage.service).await?;
        tokio::time::sleep(QUIET).await;
        assert_eq!(ledger::state(&self.stage.service).await?, revision, "tried again");

        self.write(&self.source(PASSWORDS[1], &[("OTHER", "fine")])).await?;
        self.stage.until_everywhere("OTHER", "fine", 3).await?;
        self.until_gone().await?;
        Ok(took)
    }

    /// No password in any object but the Secrets, nor in what the operator and Postgres have logged.
    async fn nothing_shown(&self) -> Result<()> {
        self.stage.shows_none_of::<Job>(&PASSWORDS, 0).await?;
        self.stage.shows_none_of::<Pod>(&PASSWORDS, 3).await?;
        self.stage.shows_none_of::<ReplicaSet>(&PASSWORDS, 3).await?;
        self.stage.shows_none_of::<Event>(&PASSWORDS, 5).await?;
        let status = json!(self.stage.service.get().await?);
        ensure!(!has_password(&status.to_string()), "{status:#}");
        ensure!(!has_password(&self.stage.operator.log()), "the operator's log");
        let logged = self.postgres.log();
        // Postgres logs the statements by which the test itself sets passwords.
        let other: Vec<_> = logged.lines().filter(|line| !line.contains(" ROLE app ")).collect();
        ensure!(!has_password(&other.join("\n")) && other.len() > 3, "the database's log");
        Ok(())
    }
}

fn has_password(text: &str) -> bool {
    PASSWORDS.iter().any(|password| text.contains(password))
}
