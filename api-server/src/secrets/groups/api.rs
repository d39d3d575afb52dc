//! The API itself: what its policy and its log must not allow outside development. It has no secrets.

use crate::{config::Environment, policy::Policy, secrets::Problem};

/// What the check looks at besides the environment.
#[derive(Clone, Copy, Debug)]
pub struct ApiSettings<'a> {
    /// The policy that would be in force.
    pub policy: &'a Policy,
    /// `RUST_LOG`.
    pub log: Option<&'a str>,
}

/// Settings of the API that passed.
#[derive(Clone, Copy, Debug)]
pub struct Api;

impl Api {
    /// All that is wrong, or the group; it is always there.
    pub fn read(settings: ApiSettings<'_>, environment: Environment) -> Result<Self, Vec<Problem>> {
        if environment == Environment::Development {
            return Ok(Self);
        }
        let ApiSettings { policy, log } = settings;
        let mut problems = Vec::new();
        if policy.trusted_hosts.is_empty() {
            let problem = "is empty, so any host name is answered";
            problems.push(Problem::new(
                "POLICY_FILE: trustedHosts",
                problem,
                "list the names of this service",
            ));
        }
        let origins = policy.cors.as_ref().map(|cors| cors.allow_origins.as_slice()).unwrap_or_default();
        for origin in origins.iter().filter(|origin| !origin.starts_with("https://")) {
            let problem = format!("{origin:?} is not https");
            problems.push(Problem::new(
                "POLICY_FILE: cors.allowOrigins",
                problem,
                "name https:// origins only",
            ));
        }
        if policy.environment == Some(Environment::Development) {
            let problem = "was written for development";
            problems.push(Problem::new("POLICY_FILE: environment", problem, "use the policy of this one"));
        }
        if environment == Environment::Production && log.is_some_and(is_debug) {
            let problem = "asks for debug or trace in production";
            problems.push(Problem::new("RUST_LOG", problem, "use info or less"));
        }
        if problems.is_empty() { Ok(Self) } else { Err(problems) }
    }
}

/// A level stands alone or behind `=`; a directive without a level means all of them.
fn is_debug(filter: &str) -> bool {
    filter.split(',').map(str::trim).filter(|directive| !directive.is_empty()).any(|directive| {
        let level = directive.rsplit('=').next().unwrap_or(directive).trim().to_ascii_lowercase();
        !matches!(level.as_str(), "info" | "warn" | "error" | "off" | "0" | "1" | "2" | "3")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Compiled;

    fn problems(policy: &str, log: Option<&str>) -> [usize; 3] {
        let policy = Compiled::parse(policy.as_bytes()).unwrap().policy;
        [Environment::Development, Environment::Staging, Environment::Production].map(|environment| {
            Api::read(ApiSettings { policy: &policy, log }, environment).err().map_or(0, |p| p.len())
        })
    }

    const GOOD: &str = r#"{"version":1,"trustedHosts":["a.example"]}"#;

    #[test]
    fn any_host_and_http_origins_are_for_development_only() {
        assert_eq!(problems(GOOD, None), [0, 0, 0]);
        assert_eq!(problems(r#"{"version":1}"#, None), [0, 1, 1]);
        let origins = r#"{"version":1,"environment":"development","trustedHosts":["a.example"],"cors":{"allowOrigins":["http://a.example","https://b.example"]}}"#;
        assert_eq!(problems(origins, None), [0, 2, 2], "and the policy is one of development");
    }

    #[test]
    fn a_debug_log_is_refused_in_production() {
        for log in ["debug", "info,api_server=trace", "TRACE", "access", "warn,a=b=debug"] {
            assert_eq!(problems(GOOD, Some(log)), [0, 0, 1], "{log}");
        }
        for log in ["info", "warn,access=off", "", "info,actix_http=off,actix_server=warn"] {
            assert_eq!(problems(GOOD, Some(log)), [0, 0, 0], "{log}");
        }
    }
}
