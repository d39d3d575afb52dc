//! Postgres: where it is, how it is reached, and the key of encrypted columns. It connects to nothing.

use std::str::FromStr as _;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::{
    Group,
    values::{KEY_BYTES, MAKE_KEY, Parts, check_key, check_password},
};
use crate::{
    config::Environment,
    encryption::{CURRENT as KEY, PREVIOUS},
    secrets::{Problem, Secrets},
};

const URL: &str = "DATABASE_URL";
const PASSWORD: &str = "DATABASE_PASSWORD";

/// What Postgres is reached with.
#[derive(Clone, Debug)]
pub struct Database {
    /// Address, user and options.
    pub url: SecretString,
    /// The password where it is not in the address; it can change alone.
    pub password: Option<SecretString>,
    /// The key of encrypted columns.
    pub encryption_key: SecretString,
    /// The key that rows may still be of.
    pub previous_key: Option<SecretString>,
}

impl Group for Database {
    const NAME: &'static str = "database";
    const NEEDS: &'static [&'static str] = &[URL, KEY];
    const MAY: &'static [&'static str] = &[PASSWORD, PREVIOUS];

    fn take(secrets: &Secrets, environment: Environment, problems: &mut Vec<Problem>) -> Option<Self> {
        let (url, password, encryption_key) = (secrets.peek(URL), secrets.peek(PASSWORD), secrets.peek(KEY));
        if let Some(url) = &url {
            check_url(url.expose_secret(), password.as_ref(), environment, problems);
        }
        if let Some(key) = &encryption_key {
            check_key(KEY, key, environment, problems);
            // The keys of columns are derived from it, and that refuses a short one everywhere.
            if environment == Environment::Development && key.expose_secret().trim().len() < KEY_BYTES {
                problems.push(Problem::new(KEY, "is shorter than 32 bytes", MAKE_KEY));
            }
        }
        let previous_key = secrets.peek(PREVIOUS);
        if let Some(previous) = &previous_key {
            check_previous(previous.expose_secret(), encryption_key.as_ref(), problems);
        }
        Some(Self { url: url?, password, encryption_key: encryption_key?, previous_key })
    }
}

/// A weak one may stay: it is what one wants to get away from.
fn check_previous(previous: &str, key: Option<&SecretString>, problems: &mut Vec<Problem>) {
    if previous.trim().len() < KEY_BYTES {
        problems.push(Problem::new(PREVIOUS, "is shorter than 32 bytes", "give the former ENCRYPTION_KEY"));
    } else if key.is_some_and(|key| key.expose_secret().trim() == previous.trim()) {
        let fix = "give the former ENCRYPTION_KEY, or remove it when all rows are of the new one";
        problems.push(Problem::new(PREVIOUS, "is ENCRYPTION_KEY itself", fix));
    }
}

fn check_url(url: &str, alone: Option<&SecretString>, environment: Environment, problems: &mut Vec<Problem>) {
    let is_postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
    // sqlx's error repeats parts of the URL.
    let Some(options) = PgConnectOptions::from_str(url).ok().filter(|_| is_postgres) else {
        let fix = "write postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full";
        problems.push(Problem::new(URL, "is no address of Postgres", fix));
        return;
    };
    let user = options.get_username();
    match alone {
        Some(password) => check_password(PASSWORD, user, password.expose_secret(), environment, problems),
        None => {
            if let Some(password) = Parts::of(url).and_then(|parts| parts.password) {
                check_password(URL, user, password, environment, problems);
            }
        }
    }
    // A Unix socket crosses no network.
    if options.get_socket().is_some() || options.get_host().starts_with('/') {
        return;
    }
    let mode = options.get_ssl_mode();
    let verified = matches!(mode, PgSslMode::VerifyFull);
    let encrypted = verified || matches!(mode, PgSslMode::Require | PgSslMode::VerifyCa);
    match environment {
        Environment::Production if !verified => problems.push(Problem::new(
            URL,
            "does not check the server's certificate and name",
            "add sslmode=verify-full, and sslrootcert=FILE for a CA of your own",
        )),
        Environment::Staging if !encrypted => {
            problems.push(Problem::new(
                URL,
                "allows a connection without TLS",
                "add sslmode=require or better",
            ));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::groups::tests::accepted;

    const STRONG: &str = "kX2v9QmTz7LrB4nYw8HcJ5sDf1GpA6eU";

    fn url(url: &str) -> [bool; 3] {
        accepted::<Database>(&[(URL, url), (KEY, STRONG)])
    }

    #[test]
    fn the_way_to_postgres_gets_stricter_as_the_environment_rises() {
        let at = |mode| url(&format!("postgres://app:Zk3vQ9rT2x@db.example/app?sslmode={mode}"));
        assert_eq!(at("disable"), [true, false, false]);
        assert_eq!(at("prefer"), [true, false, false]);
        assert_eq!(at("require"), [true, true, false]);
        assert_eq!(at("verify-ca"), [true, true, false]);
        assert_eq!(at("verify-full"), [true, true, true]);
        assert_eq!(url("postgres://app:Zk3vQ9rT2x@%2Frun%2Fpostgresql/app"), [true, true, true], "a socket");
        assert_eq!(url("mysql://app@db.example/app"), [false, false, false]);
    }

    #[test]
    fn default_passwords_are_for_development_only() {
        for password in ["postgres", "Password1", "admin123!", "app", "changeme-now", "<password>"] {
            let given = url(&format!("postgres://app:{password}@db.example/app?sslmode=verify-full"));
            assert_eq!(given, [true, false, false], "{password}");
            let plain = "postgres://app@db.example/app?sslmode=verify-full";
            let alone = accepted::<Database>(&[(URL, plain), (PASSWORD, password), (KEY, STRONG)]);
            assert_eq!(alone, [true, false, false], "{password} alone");
        }
    }

    #[test]
    fn a_patterned_or_example_key_is_for_development_only_and_a_short_one_for_nobody() {
        let at = |key: &str| {
            accepted::<Database>(&[(URL, "postgres://app@db.example/app?sslmode=verify-full"), (KEY, key)])
        };
        assert_eq!(at(STRONG), [true, true, true]);
        assert_eq!(at(&"abcd".repeat(10)), [true, false, false]);
        assert_eq!(at("please-changeme-please-changeme-please"), [true, false, false]);
        assert_eq!(at(&STRONG[..31]), [false, false, false]);
        let part = accepted::<Database>(&[(URL, "postgres://app@db.example/app?sslmode=verify-full")]);
        assert_eq!(part, [false, false, false], "a part of a group");
    }
    #[test]
    fn a_previous_key_is_another_one_and_may_be_a_weak_one() {
        let with = |previous: &str| {
            let url = "postgres://app@db.example/app?sslmode=verify-full";
            accepted::<Database>(&[(URL, url), (KEY, STRONG), (PREVIOUS, previous)])
        };
        assert_eq!(with("please-changeme-please-changeme-please"), [true, true, true]);
        assert_eq!(with(&STRONG[..31]), [false, false, false], "too short for a key");
        assert_eq!(with(STRONG), [false, false, false], "the same");
    }
}
