//! What the parts of the service need, as typed groups, each with its checks: stricter in staging, strictest in
//! production. A group whose names are all absent is `None`; one that is there in part is a problem.

mod ai;
mod api;
mod auth;
mod database;
mod stores;
mod values;

use clap::ValueEnum;

pub use self::{
    ai::Ai,
    api::{Api, ApiSettings},
    auth::Auth,
    database::Database,
    stores::{MongoDb, Redis},
};
use super::{Problem, Secrets};
use crate::config::Environment;

/// A group of secrets that can be required.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GroupName {
    /// Postgres.
    Database,
    /// Shared counters and caches.
    Redis,
    /// Documents.
    Mongodb,
    /// Signing of tokens.
    Auth,
    /// Language models.
    Ai,
}

impl GroupName {
    /// The name in settings and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Database => Database::NAME,
            Self::Redis => Redis::NAME,
            Self::Mongodb => MongoDb::NAME,
            Self::Auth => Auth::NAME,
            Self::Ai => Ai::NAME,
        }
    }

    /// What the group cannot do without.
    pub const fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Database => Database::NEEDS,
            Self::Redis => Redis::NEEDS,
            Self::Mongodb => MongoDb::NEEDS,
            Self::Auth => Auth::NEEDS,
            Self::Ai => Ai::NEEDS,
        }
    }
}

/// Values that belong together.
pub trait Group: Sized {
    /// The name in settings and messages.
    const NAME: &'static str;
    /// Names that must all be there when one is.
    const NEEDS: &'static [&'static str];
    /// Names that may be there.
    const MAY: &'static [&'static str];

    /// Reads the values, which are there as far as they are needed. Faults go to `problems`.
    fn take(secrets: &Secrets, environment: Environment, problems: &mut Vec<Problem>) -> Option<Self>;

    /// The group, nothing where none of its names is there, or everything that is wrong with it.
    fn read(secrets: &Secrets, environment: Environment) -> Result<Option<Self>, Vec<Problem>> {
        if Self::NEEDS.iter().chain(Self::MAY).all(|name| secrets.peek(name).is_none()) {
            return Ok(None);
        }
        let mut problems = missing(secrets, Self::NAME, Self::NEEDS);
        let group = Self::take(secrets, environment, &mut problems);
        if problems.is_empty() { Ok(group) } else { Err(problems) }
    }
}

/// Needed names that no backend has.
fn missing(secrets: &Secrets, group: &str, needs: &[&'static str]) -> Vec<Problem> {
    let absent = needs.iter().filter(|name| secrets.peek(name).is_none());
    absent.map(|name| secrets.missing(name, Some(group))).collect()
}

/// Everything that is wrong with the secrets, missing ones of all groups included.
pub fn problems(secrets: &Secrets, environment: Environment, required: &[GroupName]) -> Vec<Problem> {
    let needed = required.iter().flat_map(|group| missing(secrets, group.as_str(), group.needs()));
    let mut all: Vec<_> = needed.collect();
    let faults = [
        Database::read(secrets, environment).err(),
        Redis::read(secrets, environment).err(),
        MongoDb::read(secrets, environment).err(),
        Auth::read(secrets, environment).err(),
        Ai::read(secrets, environment).err(),
    ];
    for problem in faults.into_iter().flatten().flatten() {
        // A required group that is there in part is found twice.
        if !all.contains(&problem) {
            all.push(problem);
        }
    }
    all
}

/// Whether every required group has all that it needs.
pub fn complete(secrets: &Secrets, required: &[GroupName]) -> bool {
    required.iter().all(|group| missing(secrets, group.as_str(), group.needs()).is_empty())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::secrets::backend::found;

    /// Secrets with these values.
    pub fn secrets(values: &[(&'static str, &str)]) -> Secrets {
        let secrets = Secrets::of(Vec::new());
        secrets.take(
            values
                .iter()
                .filter_map(|(name, value)| Some((*name, found("test", value, None, None)?)))
                .collect(),
        );
        secrets
    }

    /// Whether a group takes the values in development, staging and production.
    pub fn accepted<G: Group>(values: &[(&'static str, &str)]) -> [bool; 3] {
        [Environment::Development, Environment::Staging, Environment::Production].map(|environment| {
            let read = G::read(&secrets(values), environment);
            if let Err(problems) = &read {
                for (problem, (_, value)) in problems.iter().flat_map(|p| values.iter().map(move |v| (p, v)))
                {
                    assert!(!problem.to_string().contains(value), "{problem} shows a value");
                }
            }
            read.is_ok()
        })
    }

    #[test]
    fn all_that_is_missing_is_listed_with_its_group() {
        let secrets = secrets(&[("DATABASE_PASSWORD", "a")]);
        let listed = problems(&secrets, Environment::Development, &[GroupName::Redis, GroupName::Auth]);
        let listed: Vec<_> = listed.iter().map(ToString::to_string).collect();
        for (name, group) in [
            ("REDIS_URL", "redis"),
            ("JWT_SIGNING_KEY", "auth"),
            ("DATABASE_URL", "database"),
            ("ENCRYPTION_KEY", "database"),
        ] {
            assert!(
                listed
                    .iter()
                    .any(|l| l.starts_with(&format!("{name}:")) && l.contains(&format!("group {group} "))),
                "{name}: {listed:?}"
            );
        }
        assert_eq!(listed.len(), 4, "{listed:?}");
    }

    #[test]
    fn a_group_without_any_name_is_none() {
        assert!(Database::read(&secrets(&[]), Environment::Production).unwrap().is_none());
        assert!(problems(&secrets(&[]), Environment::Production, &[]).is_empty());
        assert!(!complete(&secrets(&[]), &[GroupName::Ai]));
    }
}
