//! A service on a node, a Postgres beside it, and the Secrets between the two.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use crds::DatabaseStatus;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use testbed::fixture::words;
use testbed::postgres::{Options as Database, Postgres};
use testbed::stage::{NAME, Stage};
use testbed::{Look, network, wait_until};

/// Of the login that changes, of the one that verifies, and one that is wrong.
pub const CANARIES: [&str; 3] = ["canary-8e41c7-one", "canary-8e41c7-two", "canary-8e41c7-three"];
pub const AUDITOR: &str = "auditor";
pub const INTERVAL: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_mins(2);
/// What a server needs for everything to pass. Its log is where the verifying login may read it.
const SETTINGS: &str = "\
shared_preload_libraries = 'pgaudit'
log_connections = on
log_disconnections = on
log_statement = all
logging_collector = on
";

/// With these the verifying login finds a line in the server's log.
const LOG: &str = "pg_current_logfile(), pg_stat_file(text), pg_read_binary_file(text, bigint, bigint)";

pub struct Scene {
    pub stage: Stage,
    pub postgres: Postgres,
}

impl Scene {
    /// A service that is ready, and a database that nobody has touched.
    pub async fn set() -> Result<Option<Self>> {
        let Some(stage) = Stage::with_jobs().await? else { return Ok(None) };
        let host = network::HOST.to_string();
        let postgres =
            Postgres::start_with(&Database { tls: Some(&[]), also_on: Some(&host), settings: SETTINGS })?;
        let scene = Self { stage, postgres };
        scene.furnish().await?;
        Ok(Some(scene))
    }

    async fn furnish(&self) -> Result<()> {
        let [admin, auditor, _] = CANARIES;
        self.postgres.database("shop")?;
        for sql in [
            &format!("CREATE ROLE dba LOGIN SUPERUSER PASSWORD '{admin}'"),
            &format!("CREATE ROLE {AUDITOR} LOGIN PASSWORD '{auditor}'"),
            &format!("GRANT pg_read_all_settings TO {AUDITOR}"),
            &format!("GRANT SET ON PARAMETER pgaudit.log_client TO {AUDITOR}"),
            &format!("GRANT SELECT (rolname, rolpassword) ON pg_authid TO {AUDITOR}"),
            &format!("GRANT EXECUTE ON FUNCTION {LOG} TO {AUDITOR}"),
        ] {
            self.postgres.sql("shop", sql)?;
        }
        self.login(admin).await?;
        self.secret("auditor", &json!({"username": AUDITOR, "password": auditor})).await?;
        self.trust_right().await?;
        let to = json!({"cidr": format!("{}/32", network::HOST), "ports": [{"port": self.postgres.address().port()}]});
        self.stage.service.patch(&json!({"spec": {"network": {"egressTo": [to]}}})).await.map(drop)
    }

    /// The login that changes, in the form of `CloudNativePG`.
    pub async fn login(&self, password: &str) -> Result<()> {
        let (host, port) = (network::HOST, self.postgres.address().port());
        let uri = format!("postgresql://dba:{password}@{host}:{port}/shop");
        self.secret("admin", &json!({"uri": uri, "dbname": "shop", "user": "dba", "password": password}))
            .await
    }

    /// The server's own CA.
    pub async fn trust_right(&self) -> Result<()> {
        let ca = std::fs::read_to_string(self.postgres.ca_file())?;
        self.secret("server-ca", &json!({"ca.crt": ca, "ca.key": "not for Jobs"})).await
    }

    /// The CA of somebody else.
    pub async fn trust_another(&self) -> Result<()> {
        let ca = std::fs::read_to_string(self.stage.cluster.state().path("pki/ca.crt"))?;
        self.secret("server-ca", &json!({ "ca.crt": ca })).await
    }

    async fn secret(&self, name: &str, values: &Value) -> Result<()> {
        let labels = json!({ crds::SERVICE_LABEL: NAME });
        let whole = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": labels}, "stringData": values,
        });
        let params = PatchParams::apply("somebody").force();
        self.stage.api::<Secret>().patch(name, &params, &Patch::Apply(whole)).await?;
        Ok(())
    }

    /// Asks for the usual plan.
    pub async fn ask(&self) -> Result<()> {
        self.patch(&json!({
            "connection": {
                "secretRef": {"name": "admin"},
                "verifierSecretRef": {"name": "auditor"},
                "host": network::HOST.to_string(),
                "port": self.postgres.address().port(),
                "database": "shop",
            },
            "tls": {"caSecretRef": {"name": "server-ca"}},
            "verifyInterval": "5s",
        }))
        .await
    }

    pub async fn patch(&self, postgres: &Value) -> Result<()> {
        self.stage.service.patch(&json!({"spec": {"postgres": postgres}})).await.map(drop)
    }

    /// Waits until `DatabaseReady` says so.
    pub async fn until(&self, status: &str, reason: &str, message: &str) -> Result<()> {
        wait_until(LIMIT, &format!("DatabaseReady={status} ({reason}: {message})"), async || {
            match self.stage.service.get().await {
                Ok(service) => {
                    let said = words(&service, "DatabaseReady");
                    if said.0 == status && said.1 == reason && said.2.contains(message) {
                        return Look::Done(());
                    }
                    Look::NotYet(format!("{said:?}"))
                }
                Err(error) => Look::NotYet(format!("{error:#}")),
            }
        })
        .await
    }

    /// Takes something from the database; gives the time until that was told. Then a Job brings it back.
    pub async fn noticed(&self, sql: &str, message: &str) -> Result<Duration> {
        self.postgres.sql("shop", sql)?;
        let begin = Instant::now();
        self.until("False", "VerificationFailed", message).await?;
        let took = begin.elapsed();
        self.until("True", "Ready", "in the server's log").await?;
        Ok(took)
    }

    pub async fn database(&self) -> Result<DatabaseStatus> {
        let service = self.stage.service.get().await?;
        service.status.and_then(|status| status.database).context("status has no database")
    }

    pub async fn until_verified_after(&self, before: Option<Time>) -> Result<()> {
        wait_until(LIMIT, "another verification", async || match self.database().await {
            Ok(now) if now.verified_at > before => Look::Done(()),
            other => Look::NotYet(format!("{other:?}")),
        })
        .await
    }

    pub async fn until_extension(&self, name: &str) -> Result<()> {
        let sql = format!("SELECT count(*) FROM pg_extension WHERE extname = '{name}'");
        wait_until(LIMIT, &format!("extension {name}"), async || {
            Look::when(self.postgres.sql("shop", &sql).unwrap_or_default(), |count| count == "1")
        })
        .await
        .map(drop)
    }

    /// However often it was looked at: the last Job that ended, and the next one.
    pub async fn few_jobs(&self) -> Result<()> {
        wait_until(LIMIT, "at most two Jobs", async || {
            match self.stage.api::<Job>().list(&ListParams::default()).await {
                Ok(jobs) => Look::when(jobs.items.len(), |count| (1..=2).contains(count)),
                Err(_) => Look::NotYet(0),
            }
        })
        .await
        .map(drop)
    }

    /// Without the group nothing of it is left but the database as it is.
    pub async fn forget(&self) -> Result<()> {
        self.stage.service.patch(&json!({"spec": {"postgres": null}})).await?;
        wait_until(LIMIT, "everything of the database to go", async || {
            let jobs =
                self.stage.api::<Job>().list(&ListParams::default()).await.map(|jobs| jobs.items.len());
            let told = self.stage.service.get().await.map(|service| {
                let known = service.status.as_ref().is_some_and(|status| status.database.is_some());
                (known, words(&service, "DatabaseReady").0)
            });
            match (jobs, told) {
                (Ok(0), Ok((false, said))) if said.is_empty() => Look::Done(()),
                other => Look::NotYet(format!("{other:?}")),
            }
        })
        .await?;
        let left =
            self.postgres.sql("shop", "SELECT count(*) FROM pg_extension WHERE extname = 'pgaudit'")?;
        ensure!(left == "1", "the database was changed");
        Ok(())
    }

    /// Of all lives of the server.
    pub fn server_log(&self) -> Result<String> {
        self.postgres.sql(
            "shop",
            "SELECT pg_catalog.string_agg(pg_read_file('log/' || f), '') FROM pg_ls_dir('log') f",
        )
    }
}

pub fn has_canary(text: &str) -> bool {
    CANARIES.iter().any(|canary| text.contains(canary))
}
