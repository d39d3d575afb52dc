//! How many requests there are, whose values are whose, and which mistakes are told.

use secrecy::ExposeSecret as _;

use super::*;
use crate::vault::fake::{Asked, Fake, api_server, log_in, service, told};

const LOGIN: &str = "auth/kubernetes/login";
const MOUNT: &str = "sys/internal/ui/mounts/secret";
const TWO: &str = "secret/data/shop/db";
const ONE: &str = "secret/shop/db";

fn place() -> Place {
    Place { mount: "secret".into(), path: "shop/db".into(), version: None }
}

fn mount(version: u8) -> (u16, String) {
    let options = format!(r#"{{"version": "{version}"}}"#);
    (200, format!(r#"{{"data": {{"path": "secret/", "type": "kv", "options": {options}}}}}"#))
}

/// A mount of version 2 that holds this text.
fn good(asked: &Asked) -> (u16, String) {
    match &*asked.path {
        LOGIN => log_in(),
        MOUNT => mount(2),
        _ => {
            let data = r#"{"key": "a text"}"#;
            (200, format!(r#"{{"data": {{"data": {data}, "metadata": {{"version": 5}}}}}}"#))
        }
    }
}

fn text(found: &Found) -> &str {
    match found.values.get("key") {
        Some(KvValue::Text(text)) => text.expose_secret(),
        _ => "",
    }
}

#[tokio::test]
async fn two_hundred_callers_at_once_cause_one_login_one_look_at_the_mount_and_one_read() {
    let fake = Fake::start(good).await;
    let (client, shop, place) = (api_server(None), service("shop"), place());
    let now = Instant::now();
    let all =
        futures::future::join_all((0..200).map(|_| fake.connection.read(&client, &shop, &place, now))).await;
    for found in all {
        assert!(found.is_ok_and(|found| text(&found) == "a text" && found.version == Some(5)));
    }
    assert_eq!([LOGIN, MOUNT, TWO].map(|path| fake.count(path)), [1, 1, 1]);

    assert!(fake.connection.read(&client, &shop, &place, now).await.is_ok());
    assert_eq!(fake.count(TWO), 1, "what is young enough is there");
    assert!(fake.connection.read(&client, &shop, &place, Instant::now()).await.is_ok());
    assert_eq!([LOGIN, MOUNT, TWO].map(|path| fake.count(path)), [1, 1, 2], "the token is, too");
    // Another place of the same account shares the token; another account shares nothing.
    let pinned = Place { version: Some(3), ..place.clone() };
    assert!(fake.connection.read(&client, &shop, &pinned, now).await.is_ok());
    assert_eq!((fake.count(LOGIN), fake.count(&format!("{TWO}?version=3"))), (1, 1));
    assert!(fake.connection.read(&client, &service("other"), &place, now).await.is_ok());
    assert_eq!([LOGIN, MOUNT, TWO].map(|path| fake.count(path)), [2, 1, 3]);
}

#[tokio::test]
async fn a_failure_is_shared_by_those_who_waited_and_no_value_outlives_it() {
    let fail = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let switch = fail.clone();
    let fake = Fake::start(move |asked| {
        let fails = switch.load(std::sync::atomic::Ordering::SeqCst) && asked.path == TWO;
        if fails { (500, "a text".into()) } else { good(asked) }
    })
    .await;
    let (client, shop, place, start) = (api_server(None), service("shop"), place(), Instant::now());
    assert!(fake.connection.read(&client, &shop, &place, start).await.is_ok());
    fail.store(true, std::sync::atomic::Ordering::SeqCst);
    let now = Instant::now();
    let all =
        futures::future::join_all((0..200).map(|_| fake.connection.read(&client, &shop, &place, now))).await;
    for answer in all {
        let problem = told(answer);
        assert_eq!(problem.reason, Reason::VaultUnreachable);
        assert!(!problem.message.contains("a text"));
    }
    assert_eq!(fake.count(TWO), 2);
    // Once it was good for a caller that is content with less.
    told(fake.connection.read(&client, &shop, &place, start).await);
    assert_eq!(fake.count(TWO), 3);
}

#[tokio::test]
async fn a_token_that_vault_takes_no_more_is_replaced_once_and_the_read_repeated_once() {
    let revoked = Arc::new(Sync::new(Vec::new()));
    let list = revoked.clone();
    let fake = Fake::start(move |asked| {
        let refused = asked.path == TWO && list.lock().unwrap().contains(&asked.token);
        if refused { (403, "{}".into()) } else { good(asked) }
    })
    .await;
    let (client, shop, place) = (api_server(None), service("shop"), place());
    let read = || fake.connection.read(&client, &shop, &place, Instant::now());
    assert!(read().await.is_ok());
    revoked.lock().unwrap().push("token-1".to_owned());
    assert!(read().await.is_ok());
    assert_eq!([LOGIN, MOUNT, TWO].map(|path| fake.count(path)), [2, 1, 3]);
    // Now it is the policy.
    revoked.lock().unwrap().extend(["token-2".to_owned(), "token-3".to_owned()]);
    let problem = told(read().await);
    assert_eq!(problem.reason, Reason::VaultRefused);
    assert!(problem.message.contains("refuses to read secret/data/shop/db (403)"), "{}", problem.message);
    assert_eq!([LOGIN, MOUNT, TWO].map(|path| fake.count(path)), [3, 2, 5], "the mount might be another");
}

#[tokio::test]
async fn a_new_token_that_may_not_read_is_not_replaced_by_another() {
    let fake = Fake::start(|asked| match &*asked.path {
        LOGIN => log_in(),
        _ => (403, "{}".into()),
    })
    .await;
    let (client, shop, place) = (api_server(None), service("shop"), place());
    let problem = told(fake.connection.read(&client, &shop, &place, Instant::now()).await);
    assert!(problem.message.contains("no engine at secret (403)"), "{}", problem.message);
    assert_eq!((fake.count(LOGIN), fake.count(MOUNT)), (1, 1));
}

/// A mount whose version can be changed, and what is answered to everything that is not of it.
async fn remounted(other: (u16, &'static str)) -> (Fake, Arc<Sync<u8>>) {
    let version = Arc::new(Sync::new(2));
    let now = version.clone();
    let fake = Fake::start(move |asked| {
        let version = *now.lock().unwrap();
        match (&*asked.path, version) {
            (LOGIN, _) => log_in(),
            (MOUNT, _) => mount(version),
            (TWO, 2) => good(asked),
            (ONE, 1) => (200, r#"{"data": {"key": "of one"}}"#.into()),
            _ => (other.0, other.1.into()),
        }
    });
    (fake.await, version)
}

#[tokio::test]
async fn a_mount_that_got_the_other_version_is_looked_at_again_before_anything_is_told() {
    let (fake, version) = remounted((404, r#"{"errors": []}"#)).await;
    let (client, shop, place) = (api_server(None), service("shop"), place());
    let read = |place: Place| {
        let (fake, client, shop) = (&fake, &client, &shop);
        async move { fake.connection.read(client, shop, &place, Instant::now()).await }
    };
    assert!(read(place.clone()).await.is_ok_and(|found| text(&found) == "a text"));
    *version.lock().unwrap() = 1;
    assert!(read(place.clone()).await.is_ok_and(|found| text(&found) == "of one" && found.version.is_none()));
    assert_eq!((fake.count(MOUNT), fake.count(LOGIN)), (2, 1));
    let pinned = Place { version: Some(3), ..place.clone() };
    let problem = told(read(pinned.clone()).await);
    assert!(problem.message.contains("version needs a KV engine of version 2"), "{}", problem.message);
    *version.lock().unwrap() = 2;
    assert!(read(place.clone()).await.is_ok(), "and back");
    let gone = Place { path: "else".into(), ..place };
    let looks = fake.count(MOUNT);
    assert_eq!(told(read(gone).await).reason, Reason::SourceDeleted);
    assert_eq!(fake.count(MOUNT), looks + 1);
}

#[tokio::test]
async fn a_mount_whose_policy_is_for_the_other_version_only_is_looked_at_again() {
    let (fake, version) = remounted((403, "{}")).await;
    let (client, shop, place) = (api_server(None), service("shop"), place());
    let read = || fake.connection.read(&client, &shop, &place, Instant::now());
    assert!(read().await.is_ok());
    *version.lock().unwrap() = 1;
    assert!(read().await.is_ok_and(|found| text(&found) == "of one"));
    assert_eq!((fake.count(MOUNT), fake.count(LOGIN)), (2, 2));
}

#[tokio::test]
async fn a_sealed_vault_is_not_asked_again_for_each_service() {
    let fake = Fake::start(|_| (503, r#"{"errors": ["Vault is sealed"]}"#.into())).await;
    let (client, place) = (api_server(None), place());
    for name in ["one", "two", "three"] {
        let problem = told(fake.connection.read(&client, &service(name), &place, Instant::now()).await);
        assert_eq!(problem.reason, Reason::VaultUnreachable);
        assert!(problem.message.contains("503: it is sealed or overloaded"), "{}", problem.message);
    }
    assert_eq!(fake.asked().len(), 1);
}

#[tokio::test]
async fn a_mount_that_is_not_listed_and_a_path_that_leads_elsewhere_reach_nobody() {
    let fake = Fake::start(good).await;
    let (client, shop) = (api_server(None), service("shop"));
    let long = "a/".repeat(16) + "a";
    for path in ["..", "a/../b", "a//b", "/a", "a/", "", "a%2fb", "a?b", "a#b", "a b", ".", "a/.", &long] {
        let place = Place { path: path.into(), ..place() };
        told(fake.connection.read(&client, &shop, &place, Instant::now()).await);
    }
    for mount in ["other", "of-other", "sys", "secret/data", "of-{namespace}"] {
        let place = Place { mount: mount.into(), ..place() };
        told(fake.connection.read(&client, &shop, &place, Instant::now()).await);
    }
    assert!(fake.asked().is_empty());
}

#[tokio::test]
async fn a_service_means_a_listed_mount_or_the_first_one() {
    let connection = crate::vault::fake::connection();
    let mount = |asked: Option<&str>| connection.mount(&service("shop"), asked);
    assert_eq!(mount(None).as_deref(), Some("secret"));
    assert_eq!(mount(Some("of-team")).as_deref(), Some("of-team"));
    for other in ["of-other", "of-{namespace}", "", "else"] {
        assert_eq!(mount(Some(other)), None, "{other}");
    }
}

#[test]
fn what_nobody_asks_for_is_dropped_and_with_it_what_is_known_of_its_mount() {
    let (cache, now) = (Cache::default(), Instant::now());
    let identity = crate::vault::fake::connection().identity(&service("shop"));
    let later = now + IDLE;
    for (path, asked) in [("old", now), ("new", later)] {
        cache
            .entry((identity.clone(), Place { path: path.into(), mount: path.into(), version: None }), asked);
        lock(&cache.engines).insert(path.into(), Engine::One);
    }
    cache.tidy(later);
    let left: Vec<_> = lock(&cache.entries).keys().map(|(_, place)| place.path.clone()).collect();
    assert_eq!(left, ["new"]);
    assert_eq!(lock(&cache.engines).keys().collect::<Vec<_>>(), ["new"]);
    cache.clear();
    assert!(lock(&cache.entries).is_empty() && lock(&cache.engines).is_empty());
}
