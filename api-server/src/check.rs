//! Whether the service can start with these settings: policy file, certificate, secrets. The start and `check-config`
//! ask the same.

use thiserror::Error;

use crate::{
    config::{Config, Environment},
    log::chain,
    policy::Compiled,
    secrets::{
        BackendError, Problem, Secrets,
        groups::{self, Api, ApiSettings},
    },
    tls::Certificate,
};

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// The secrets, as far as they are there.
    pub secrets: Secrets,
    /// What must be mended.
    pub problems: Vec<Problem>,
    /// Backends that nobody answered for, so that their secrets are not known.
    pub unreachable: Vec<Problem>,
}

/// Why the service does not start; each problem is a line of the log before it.
#[derive(Debug, Error)]
#[error("{0} problems of the configuration, listed above; `api-server check-config` shows them too")]
pub struct Refused(usize);

/// Reads everything that the start reads.
pub async fn check(config: &Config) -> Report {
    let (secrets, mut problems) = Secrets::load(&config.secrets, config.environment).await;
    let mut unreachable = Vec::new();
    for health in secrets.health() {
        let fix = "its secrets are not known";
        match health.failure {
            None => {}
            Some(BackendError::Unreachable(reason)) => {
                unreachable.push(Problem::new(format!("SECRET_BACKENDS: {}", health.backend), reason, fix));
            }
            Some(BackendError::Refused(reason)) => {
                problems.push(Problem::new(format!("SECRET_BACKENDS: {}", health.backend), reason, fix));
            }
        }
    }
    problems.extend(groups::problems(&secrets, config.environment, &config.secrets.required_groups));
    problems.extend(files(config));
    Report { secrets, problems, unreachable }
}

/// Policy and certificate.
fn files(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    match Compiled::load(config.policy_file.as_deref()) {
        Ok(compiled) => {
            let log = std::env::var("RUST_LOG").ok();
            let settings = ApiSettings { policy: &compiled.policy, log: log.as_deref() };
            problems.extend(Api::read(settings, config.environment).err().into_iter().flatten());
        }
        Err(error) => problems.push(Problem::new(
            "POLICY_FILE",
            chain(&error),
            "write version 1 as docs/api-server.md has it",
        )),
    }
    if let Some(Err(error)) = config.tls_dir.as_deref().map(Certificate::load) {
        problems.push(Problem::new(
            "TLS_DIR",
            chain(&error),
            "mount tls.crt and tls.key that belong together",
        ));
    }
    problems
}

/// The secrets for the start. Development only warns: there the routes that lack something say so themselves.
pub async fn at_start(config: &Config) -> Result<Secrets, Refused> {
    let Report { secrets, mut problems, unreachable } = check(config).await;
    let required = &config.secrets.required_groups;
    // A backend that is configured holds something that matters. Only when all that is required is there without it can
    // the service do its work; where nothing is required nobody knows, so it stays down.
    let enough = !required.is_empty() && groups::complete(&secrets, required);
    if config.environment == Environment::Production && !enough {
        problems.extend(unreachable);
    }
    let strict = config.environment != Environment::Development;
    for problem in &problems {
        let problem = problem.to_string();
        if strict {
            tracing::error!(problem, "configuration");
        } else {
            tracing::warn!(problem, "configuration");
        }
    }
    if strict && !problems.is_empty() { Err(Refused(problems.len())) } else { Ok(secrets) }
}
