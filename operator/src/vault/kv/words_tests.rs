//! Whether a message names what happened, where, and the fix.

use secrecy::zeroize::Zeroizing;
use vault_kv::Fault;

use super::*;
use crate::vault::fake;

fn words(path: &str, version: Option<u64>, lack: &Lack) -> Problem {
    let place = Place { mount: "secret".into(), path: path.into(), version };
    let connection = fake::connection();
    connection.explain_lack(&connection.identity(&fake::service("shop")), &place, lack)
}

fn status(code: u16) -> Fault {
    Fault::Status { code, body: Zeroizing::new("quoted".into()) }
}

#[test]
fn what_is_gone_is_told_with_what_happened_and_the_command_that_brings_it_back() {
    let deleted = || Lack::Deleted(3, "2026-11-28T11:00:00.512Z".into());
    for (path, version, lack, parts) in [
        (
            "shop/db",
            None,
            deleted(),
            vec![
                "version 3 of secret/shop/db was deleted at 2026-11-28T11:00:00Z;",
                "vault kv undelete -mount=secret -versions=3 shop/db",
                "vault kv put -mount=secret shop/db ...",
            ],
        ),
        ("shop/db", None, Lack::Deleted(3, "quoted".into()), vec!["was deleted; bring it back"]),
        (
            "shop/db",
            Some(2),
            Lack::Destroyed(2),
            vec!["version 2 of secret/shop/db was destroyed", "another version"],
        ),
        (
            "shop/db",
            None,
            Lack::Empty(Some(4)),
            vec!["secret/shop/db (version 4) holds no values", "vault kv put"],
        ),
        ("shop/db", None, Lack::Empty(None), vec!["secret/shop/db holds no values"]),
        ("shop/db", None, Lack::Absent, vec!["nothing at secret/shop/db;", "role hardened-team-shop"]),
        ("shop/db", Some(9), Lack::Absent, vec!["nothing at version 9 of secret/shop/db"]),
        ("data/shop/db", None, Lack::Absent, vec!["without data/", "vault kv get does not: shop/db)"]),
    ] {
        let Problem { reason, message } = words(path, version, &lack);
        assert_eq!(reason, Reason::SourceDeleted, "{message}");
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in {message}");
        }
        assert!(!message.contains("quoted"), "{message}");
    }
}

#[test]
fn a_refusal_names_the_path_for_the_policy_and_the_role() {
    for (lack, parts) in [
        (Lack::Read(Engine::Two, status(403)), vec!["secret/data/a/b (403)", "role hardened-team-shop"]),
        (Lack::Read(Engine::One, status(403)), vec!["secret/a/b (403)", "role hardened-team-shop"]),
        (
            Lack::Mount(status(403)),
            vec!["no engine at secret (403)", "secret/data/a/b (version 2) or secret/a/b"],
        ),
        (Lack::NoKv, vec!["no KV engine at secret", "kv.mounts"]),
        (Lack::Versionless, vec!["version needs a KV engine of version 2", "remove version"]),
        (Lack::Read(Engine::Two, Fault::TooLong), vec!["longer than 2 MiB"]),
    ] {
        let Problem { reason, message } = words("a/b", None, &lack);
        assert_eq!(reason, Reason::VaultRefused, "{message}");
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in {message}");
        }
        assert!(!message.contains("quoted"), "{message}");
    }
}

#[test]
fn a_path_of_the_api_is_told_to_be_one_where_the_policy_stops_it_too() {
    let message = words("data/shop/db", None, &Lack::Read(Engine::Two, status(403))).message;
    assert!(message.contains("read that path, or correct the path (without data/"), "{message}");
}

#[test]
fn a_vault_that_cannot_answer_says_what_its_code_means() {
    for (fault, part) in [
        (status(503), "answers 503: it is sealed or overloaded"),
        (status(429), "answers 429: too many requests; its admin raises its rate limit quota"),
        (status(473), "answers 473: it is a standby"),
        (
            status(307),
            "answers 307: it is a standby, or the address is not its own; a platform admin gives an address that",
        ),
        (status(501), "answers 501: it is not initialized"),
        (status(502), "answers 502: a proxy"),
        (status(500), "answers 500: an error of its own"),
        (Fault::Silence, "does not answer"),
    ] {
        let Problem { reason, message } = words("a/b", None, &Lack::Read(Engine::Two, fault));
        assert_eq!(reason, Reason::VaultUnreachable, "{message}");
        assert!(
            message.starts_with("Vault at https://vault.example:8200/ ") && message.contains(part),
            "{message}"
        );
    }
}
