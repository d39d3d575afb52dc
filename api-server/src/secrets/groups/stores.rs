//! Redis and MongoDB: their addresses. The service uses no MongoDB; an address of one is checked when it is given.

use secrecy::{ExposeSecret as _, SecretString};

use super::{
    Group,
    values::{Parts, check_password},
};
use crate::{
    config::Environment,
    secrets::{Problem, Secrets},
};

const REDIS: &str = "REDIS_URL";
const MONGODB: &str = "MONGODB_URL";

/// What Redis is reached with.
#[derive(Clone, Debug)]
pub struct Redis {
    /// Address with user and password.
    pub url: SecretString,
}

/// What MongoDB is reached with.
#[derive(Clone, Debug)]
pub struct MongoDb {
    /// Address with user and password.
    pub url: SecretString,
}

impl Group for Redis {
    const NAME: &'static str = "redis";
    const NEEDS: &'static [&'static str] = &[REDIS];
    const MAY: &'static [&'static str] = &[];

    fn take(secrets: &Secrets, environment: Environment, problems: &mut Vec<Problem>) -> Option<Self> {
        let url = secrets.peek(REDIS)?;
        match Parts::of(url.expose_secret()) {
            Some(parts) if matches!(parts.scheme, "redis" | "rediss") => {
                let fix = "write rediss://USER:PASSWORD@HOST:PORT/0";
                check(REDIS, &parts, parts.scheme == "rediss", fix, environment, problems);
            }
            _ => problems.push(Problem::new(REDIS, "is no address of Redis", "write rediss://HOST:PORT/0")),
        }
        Some(Self { url })
    }
}

impl Group for MongoDb {
    const NAME: &'static str = "mongodb";
    const NEEDS: &'static [&'static str] = &[MONGODB];
    const MAY: &'static [&'static str] = &[];

    fn take(secrets: &Secrets, environment: Environment, problems: &mut Vec<Problem>) -> Option<Self> {
        let url = secrets.peek(MONGODB)?;
        match Parts::of(url.expose_secret()) {
            Some(parts) if matches!(parts.scheme, "mongodb" | "mongodb+srv") => {
                let option = |name| parts.query.split('&').any(|pair| pair == name);
                let on = option("tls=true") || option("ssl=true") || parts.scheme == "mongodb+srv";
                let off = option("tls=false") || option("ssl=false") || option("tlsInsecure=true");
                check(MONGODB, &parts, on && !off, "add tls=true", environment, problems);
            }
            _ => problems.push(Problem::new(
                MONGODB,
                "is no address of MongoDB",
                "write mongodb://HOST/DATABASE?tls=true",
            )),
        }
        Some(Self { url })
    }
}

fn check(
    name: &'static str,
    parts: &Parts<'_>,
    tls: bool,
    fix: &'static str,
    environment: Environment,
    problems: &mut Vec<Problem>,
) {
    if environment == Environment::Production && !tls && !parts.is_loopback() {
        problems.push(Problem::new(name, "goes over a network without TLS", fix));
    }
    if let Some(password) = parts.password {
        check_password(name, parts.user, password, environment, problems);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::groups::tests::accepted;

    #[test]
    fn redis_beyond_this_machine_needs_tls_in_production() {
        let at = |url| accepted::<Redis>(&[(REDIS, url)]);
        assert_eq!(at("redis://127.0.0.1:6379"), [true, true, true]);
        assert_eq!(at("redis://cache.example:6379"), [true, true, false]);
        assert_eq!(at("redis://localhost.example"), [true, true, false]);
        assert_eq!(at("rediss://:Zk3vQ9rT2x@cache.example:6379/0"), [true, true, true]);
        assert_eq!(at("rediss://:redis@cache.example"), [true, false, false]);
        assert_eq!(at("http://cache.example"), [false, false, false]);
    }

    #[test]
    fn mongodb_beyond_this_machine_needs_tls_in_production() {
        let at = |url| accepted::<MongoDb>(&[(MONGODB, url)]);
        assert_eq!(at("mongodb://a.example,b.example/db"), [true, true, false]);
        assert_eq!(at("mongodb://a.example/db?tls=true"), [true, true, true]);
        assert_eq!(at("mongodb+srv://a.example/db"), [true, true, true]);
        assert_eq!(at("mongodb+srv://a.example/db?tls=false"), [true, true, false]);
        assert_eq!(at("mongodb://localhost/db"), [true, true, true]);
        assert_eq!(at("mongodb://root:root@localhost/db"), [true, false, false]);
        assert_eq!(at("postgres://localhost/db"), [false, false, false]);
    }
}
