//! The Job that logs in to Postgres with new values before the pods get them, and the Secret that it reads. The values are
//! the operator's.

use crds::{HardenedService, PostgresLogin};
use k8s_openapi::api::{batch::v1::Job, core::v1::Volume};
use kube::ResourceExt;

use crate::{
    Facts, SecretPlan,
    job::{self, Work},
    meta::{self, Component},
    secrets, volumes,
};

const DIR: &str = "/etc/hardened/login";
const VOLUME: &str = "login";
/// Seconds in which the pod must be scheduled, start, and try for half a minute.
const DEADLINE_SECONDS: i64 = 120;
/// Seconds after which an ended Job goes, so that the next one can try again.
const KEPT_SECONDS: i32 = 60;

/// Name of the Job and of its Secret. Other values have another name: neither can be changed.
pub fn name(service: &HardenedService, values: &str) -> String {
    meta::child_name(&service.name_any(), &format!("login-{values}"))
}

/// What the Job reads, without values.
pub fn secret(service: &HardenedService, facts: &Facts) -> Option<SecretPlan> {
    let values = facts.login.as_ref()?;
    let mut keys: Vec<_> = names(service).cloned().map(Into::into).collect();
    keys.sort();
    keys.dedup();
    Some(SecretPlan {
        metadata: meta::named_with(service, &format!("login-{values}"), Component::Secrets),
        type_: "Opaque",
        keys,
    })
}

/// The Job; nothing while no new values are tried.
pub fn job(service: &HardenedService, facts: &Facts) -> Option<Job> {
    let values = facts.login.as_ref()?;
    let source = volumes::secret(&name(service, values));
    let login = Volume { name: VOLUME.into(), secret: Some(source), ..Volume::default() };
    // An address may name a file with the CA that the platform's or the user's volume holds.
    let users = service.spec.workload.volumes.iter().filter(|v| v.config_map.is_some() || v.secret.is_some());
    let files = [(login, volumes::read_only(VOLUME, DIR))]
        .into_iter()
        .chain(secrets::mounted(service))
        .chain(users.map(volumes::users))
        .collect();
    let work = Work {
        suffix: format!("login-{values}"),
        container: "login",
        args: args(service),
        files,
        deadline_seconds: DEADLINE_SECONDS,
        kept_seconds: KEPT_SECONDS,
    };
    Some(job::job(service, facts, work))
}

/// Names of files only.
fn args(service: &HardenedService) -> Vec<String> {
    let file = |name: &str| format!("{DIR}/{name}");
    let of = |login: &PostgresLogin| {
        let password = login.password.iter().map(|name| format!(":{}", file(name)));
        format!("{}{}", file(&login.url), password.collect::<String>())
    };
    ["postgres-login".to_owned()].into_iter().chain(logins(service).iter().map(of)).collect()
}

/// Names of the values that a login needs.
pub fn names(service: &HardenedService) -> impl Iterator<Item = &String> {
    logins(service).iter().flat_map(|login| [Some(&login.url), login.password.as_ref()]).flatten()
}

/// The addresses that are tried.
pub fn logins(service: &HardenedService) -> &[PostgresLogin] {
    service.spec.secrets.as_ref().map(|secrets| &*secrets.postgres_logins).unwrap_or_default()
}
