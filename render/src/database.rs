//! The Job that hardens the database of `spec.postgres`, or verifies it. What it connects with lies in Secrets of others,
//! which it mounts; its arguments name files.

mod plan;

use crds::{AuditProof, DatabaseStatus, HardenedService, Postgres, PostgresTlsMode};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{KeyToPath, SecretVolumeSource, Volume, VolumeMount},
};
use kube::ResourceExt;

pub use plan::text as plan;

use crate::{
    Facts, Kind,
    job::{self, Work},
    meta, volumes,
};

/// The field of the Secret with the login that may change the database.
pub const CONNECTION: &str = "spec.postgres.connection.secretRef";
/// The field of the one that verifies.
pub const VERIFIER: &str = "spec.postgres.connection.verifierSecretRef";
/// The field of the Secret with the CA of the server.
pub const CA: &str = "spec.postgres.tls.caSecretRef";

/// Name of the container.
pub const CONTAINER: &str = "postgres";

const DIR: &str = "/etc/hardened/postgres";
const CA_FILE: &str = "ca.crt";
const PORT: i32 = 5432;
/// Seconds in which the program tries to get in; the next Job goes on. What it has begun then gets half a minute more.
const SECONDS: i64 = 15;
/// Seconds in which the pod must be scheduled, start and end.
const DEADLINE_SECONDS: i64 = 180;
/// Seconds in which the last Job and its log can be looked at. One more is never kept.
const KEPT_SECONDS: i32 = 3600;

/// A Job that is to work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseJob {
    /// What its name ends in: ten hex digits, another for each run.
    pub run: String,
    /// Whether it changes nothing.
    pub verify_only: bool,
}

/// Name of a Job.
pub fn name(service: &HardenedService, run: &str) -> String {
    meta::child_name(&service.name_any(), &suffix(run))
}

fn suffix(run: &str) -> String {
    format!("postgres-{run}")
}

/// The first ten hex digits of a hash: not eight, in which names end that were cut.
pub fn run(text: &str) -> String {
    meta::short_hash(text, 5)
}

/// The Job; nothing while none is to work.
pub fn job(service: &HardenedService, facts: &Facts) -> Option<Job> {
    let postgres = service.spec.postgres.as_ref()?;
    let DatabaseJob { run, verify_only } = facts.database.as_ref()?;
    let work = Work {
        suffix: suffix(run),
        container: CONTAINER,
        args: args(postgres, facts, *verify_only),
        files: files(postgres, *verify_only),
        deadline_seconds: DEADLINE_SECONDS,
        kept_seconds: KEPT_SECONDS,
    };
    Some(job::job(service, facts, work))
}

/// Fields and names of the Secrets that it reads.
pub fn secrets(postgres: &Postgres) -> impl Iterator<Item = (&'static str, &str)> {
    let connection = &postgres.connection;
    let ca = postgres.tls.as_ref().and_then(|tls| tls.ca_secret_ref.as_ref());
    [
        Some((CONNECTION, &*connection.secret_ref.name)),
        connection.verifier_secret_ref.as_ref().map(|secret| (VERIFIER, &*secret.name)),
        ca.map(|secret| (CA, &*secret.name)),
    ]
    .into_iter()
    .flatten()
}

/// A Job that only verifies does not get the login that may change the database, if there is another.
fn files(postgres: &Postgres, verify_only: bool) -> Vec<(Volume, VolumeMount)> {
    let connection = &postgres.connection;
    let verifier = connection.verifier_secret_ref.as_ref();
    let changes = (!verify_only || verifier.is_none()).then_some(&connection.secret_ref);
    let of = |name: &'static str, secret: &str| mounted(name, volumes::secret(secret));
    let ca = postgres.tls.as_ref().and_then(|tls| tls.ca_secret_ref.as_ref()).map(|ca| {
        let key = ca.key.clone().unwrap_or_else(|| CA_FILE.into());
        // Nothing else of it: beside a CA's certificate often lies its key.
        let items = vec![KeyToPath { key, path: CA_FILE.into(), ..KeyToPath::default() }];
        mounted("ca", SecretVolumeSource { items: Some(items), ..volumes::secret(&ca.name) })
    });
    [
        changes.map(|of_it| of("connection", &of_it.name)),
        verifier.map(|of_it| of("verifier", &of_it.name)),
        ca,
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn mounted(name: &str, source: SecretVolumeSource) -> (Volume, VolumeMount) {
    let volume = Volume { name: name.into(), secret: Some(source), ..Volume::default() };
    (volume, volumes::read_only(name, &format!("{DIR}/{name}")))
}

fn args(postgres: &Postgres, facts: &Facts, verify_only: bool) -> Vec<String> {
    let connection = &postgres.connection;
    let verifier = connection.verifier_secret_ref.as_ref().map(|_| format!("{DIR}/verifier"));
    let tls = postgres.tls.clone().unwrap_or_default();
    let login = match &verifier {
        Some(verifier) if verify_only => verifier.clone(),
        _ => format!("{DIR}/connection"),
    };
    let pairs = [
        ("plan", Some(plan::text(postgres))),
        ("connection", Some(login)),
        ("verifier", verifier.clone().filter(|_| !verify_only)),
        ("host", connection.host.clone()),
        // Both logins lead to the same server, whatever port stands beside the one that changes.
        ("port", connection.port.or(verifier.as_ref().map(|_| PORT)).map(|port| port.to_string())),
        ("database", connection.database.clone()),
        ("tls-mode", Some(tls.mode.unwrap_or(PostgresTlsMode::VerifyFull).as_str().into())),
        ("ca", tls.ca_secret_ref.map(|_| format!("{DIR}/ca/{CA_FILE}"))),
        ("seconds", Some(SECONDS.to_string())),
    ];
    let switches =
        [("verify-only", verify_only), ("alter-system", facts.settings.jobs.alter_system && !verify_only)];
    // One argument each: a value that begins with `-` is no other option.
    let pairs = pairs.into_iter().filter_map(|(name, value)| Some(format!("--{name}={}", value?)));
    let switches = switches.into_iter().filter(|(_, on)| *on).map(|(name, _)| format!("--{name}"));
    ["harden-postgres".to_owned()].into_iter().chain(pairs).chain(switches).collect()
}

/// Whether it is the Job that is to work.
pub fn is_job(kind: Kind, name: &str, service: &HardenedService, facts: &Facts) -> bool {
    kind == Kind::Job && facts.database.as_ref().is_some_and(|job| self::name(service, &job.run) == name)
}

/// What is said when nothing is wrong. Without a time, which status has: the words change only with what they say.
pub fn proven(seen: Option<&DatabaseStatus>) -> String {
    let passed = seen.and_then(|seen| seen.passed).unwrap_or_default();
    let audit = match seen.and_then(|seen| seen.audit) {
        Some(AuditProof::ServerLog) => ", the line of a marked statement is in the server's log",
        Some(AuditProof::ClientOnly) => {
            ", the server told the session the line of a marked statement (its log could not be read)"
        }
        None => "",
    };
    format!("everything that spec.postgres asks for was seen: {passed} checks passed{audit}")
}
