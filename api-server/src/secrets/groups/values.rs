//! What makes a value weak: defaults, examples, too few bytes. It tells of a value only what is wrong with it.

use secrecy::{ExposeSecret as _, SecretString};

use crate::{config::Environment, secrets::Problem};

/// 256 bits: what a key of AES-256 and of HMAC-SHA-256 has.
pub const KEY_BYTES: usize = 32;

/// A random key has about as many different bytes as it has bytes; `aaaa` and `0123` patterns do not.
const DISTINCT: usize = 10;

/// Parts that random keys do not have and examples do.
const EXAMPLES: [&str; 10] = [
    "changeme",
    "change-me",
    "change_me",
    "example",
    "insecure",
    "placeholder",
    "replace",
    "development",
    "default",
    "your",
];

/// Passwords that are tried first by everybody.
const PASSWORDS: [&str; 14] = [
    "postgres",
    "password",
    "passwd",
    "admin",
    "administrator",
    "secret",
    "root",
    "test",
    "guest",
    "redis",
    "mongo",
    "studio",
    "letmein",
    "qwerty",
];

/// Random bytes as text: how to get them.
pub const MAKE_KEY: &str = "make one with `openssl rand -base64 32`";

/// Whether a value was left as somebody wrote it in an example.
pub fn is_example(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    EXAMPLES.iter().any(|part| value.contains(part)) || (value.starts_with('<') && value.ends_with('>'))
}

/// Adds what is wrong with a key outside development.
pub fn check_key(
    name: &'static str,
    value: &SecretString,
    environment: Environment,
    problems: &mut Vec<Problem>,
) {
    if environment == Environment::Development {
        return;
    }
    let value = value.expose_secret();
    let distinct = value.bytes().collect::<std::collections::BTreeSet<_>>().len();
    if is_example(value) {
        problems.push(Problem::new(name, "is an example", MAKE_KEY));
    } else if value.len() < KEY_BYTES {
        problems.push(Problem::new(name, format!("is shorter than {KEY_BYTES} bytes"), MAKE_KEY));
    } else if distinct < DISTINCT {
        problems.push(Problem::new(name, "is a pattern and not random", MAKE_KEY));
    }
}

/// Adds what is wrong with a password outside development.
pub fn check_password(
    name: &'static str,
    user: &str,
    password: &str,
    environment: Environment,
    problems: &mut Vec<Problem>,
) {
    if environment == Environment::Development {
        return;
    }
    let lower = password.to_ascii_lowercase();
    // `admin123` is as well known as `admin`.
    let word = lower.trim_end_matches(|c: char| c.is_ascii_digit() || c == '!');
    let known = PASSWORDS.contains(&word) || word.is_empty() || lower == user.to_ascii_lowercase();
    if known || is_example(password) {
        let problem = "holds a default or example password";
        problems.push(Problem::new(name, problem, "give the account a random password"));
    }
}

/// The parts of a URL that are checked. `Url` does not read the list of hosts that MongoDB allows.
pub struct Parts<'a> {
    pub scheme: &'a str,
    pub user: &'a str,
    pub password: Option<&'a str>,
    pub hosts: Vec<&'a str>,
    pub query: &'a str,
}

impl<'a> Parts<'a> {
    pub fn of(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let authority = rest.split('/').next()?;
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = login.split_once(':').map_or((login, None), |(u, p)| (u, Some(p)));
        let hosts: Vec<_> = hosts.split(',').map(host).collect();
        (!hosts.iter().any(|host| host.is_empty())).then_some(Self { scheme, user, password, hosts, query })
    }

    pub fn is_loopback(&self) -> bool {
        self.hosts.iter().all(|host| matches!(*host, "localhost" | "127.0.0.1" | "[::1]"))
    }
}

fn host(text: &str) -> &str {
    match text.strip_prefix('[').and_then(|v6| v6.find(']')) {
        Some(end) => &text[..end + 2],
        None => text.split(':').next().unwrap_or(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_url_are_those_that_clients_see() {
        let parts = Parts::of("mongodb://u:p@ss@a:1,[::1]:2/db?tls=true").unwrap();
        assert_eq!((parts.scheme, parts.user, parts.password), ("mongodb", "u", Some("p@ss")));
        assert_eq!((parts.hosts, parts.query), (vec!["a", "[::1]"], "tls=true"));
        assert!(Parts::of("redis://127.0.0.1:6379/1").unwrap().is_loopback());
        assert!(!Parts::of("mongodb://localhost,db.example/").unwrap().is_loopback());
        for text in ["", "redis", "redis://", "redis://u:p@/1"] {
            assert!(Parts::of(text).is_none(), "{text}");
        }
    }
}
