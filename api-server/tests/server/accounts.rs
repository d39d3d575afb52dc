//! Logging in and staying logged in, with a real Postgres.

use std::thread;

use serde_json::Value;

use crate::{
    backed::{Backed, ENCRYPTION_KEY, PASSWORD, login, refresh, tool},
    headers,
};

#[test]
fn a_token_opens_what_its_role_may_do_and_nothing_else() {
    let backed = Backed::start();
    let [viewer, editor, admin] =
        ["viewer", "editor", "admin"].map(|role| backed.account(&format!("{role}@example.com"), role));
    let video = editor.video("first");
    let path = format!("/videos/{}", video["id"].as_str().unwrap());
    let body = serde_json::json!({ "title": "x", "url": "https://files.example/x.mp4" });
    for (client, get, post, delete) in
        [(&viewer, 200, 403, 403), (&editor, 200, 201, 403), (&admin, 200, 201, 204)]
    {
        assert_eq!(client.get(&path).status, get);
        assert_eq!(client.post("/videos", &body).status, post);
        assert_eq!(client.ask("DELETE", &path, None).status, delete);
    }
}

#[test]
fn who_is_unknown_gets_the_answer_of_who_has_the_wrong_password() {
    let backed = Backed::start();
    backed.account("anna@example.com", "viewer");
    let answers = [
        login(backed.service.api, "anna@example.com", "wrong password here"),
        login(backed.service.api, "nobody@example.com", PASSWORD),
    ];
    let told = answers.map(|answer| {
        headers::check(&answer);
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"api\"");
        let mut body = answer.json();
        body["requestId"] = Value::Null;
        (answer.status, body)
    });
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0].0, 401);
    assert_eq!(
        login(backed.service.api, "ANNA@example.com", PASSWORD).status,
        200,
        "case counts for nothing"
    );
}

#[test]
fn a_replayed_refresh_token_revokes_its_family_and_no_other() {
    let backed = Backed::start();
    let anna = backed.account("anna@example.com", "editor");
    let other = login(backed.service.api, "anna@example.com", PASSWORD).json();
    let api = backed.service.api;
    let next = refresh(api, &anna.refresh);
    assert_eq!(next.status, 200, "{next:?}");
    let next = next.json()["refreshToken"].as_str().unwrap().to_owned();
    assert_eq!(refresh(api, &anna.refresh).status, 401, "used before");
    assert_eq!(refresh(api, &next).status, 401, "its family is revoked");
    assert_eq!(refresh(api, other["refreshToken"].as_str().unwrap()).status, 200, "another login");
}

#[test]
fn of_two_requests_with_one_refresh_token_at_most_one_succeeds() {
    let backed = Backed::with(&[("WORKERS", "2")]);
    backed.account("anna@example.com", "editor");
    let api = backed.service.api;
    for _ in 0..5 {
        let token =
            login(api, "anna@example.com", PASSWORD).json()["refreshToken"].as_str().unwrap().to_owned();
        let statuses: Vec<_> = thread::scope(|scope| {
            let all: Vec<_> = (0..10).map(|_| scope.spawn(|| refresh(api, &token).status)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        // 503 where a busy machine let one wait too long for the lock.
        assert!(statuses.iter().all(|status| [200, 401, 503].contains(status)), "{statuses:?}");
    }
}

#[test]
fn a_token_that_was_never_given_logs_nobody_out() {
    let backed = Backed::start();
    let anna = backed.account("anna@example.com", "viewer");
    let mut forged = anna.refresh.clone();
    let last = if forged.ends_with('A') { 'B' } else { 'A' };
    forged.pop();
    forged.pop();
    forged.push(last);
    forged.push(last);
    for token in [forged.as_str(), "x", "AAAA", &"A".repeat(128)] {
        assert_eq!(refresh(backed.service.api, token).status, 401, "{token}");
    }
    assert_eq!(refresh(backed.service.api, &anna.refresh).status, 200);
}

#[test]
fn a_disabled_account_logs_in_no_more_and_its_refresh_tokens_end() {
    let backed = Backed::start();
    let anna = backed.account("anna@example.com", "viewer");
    let disabled = tool(&backed.url, &["account", "disable", "anna@example.com"], "");
    assert!(disabled.status.success(), "{disabled:?}");
    assert_eq!(login(backed.service.api, "anna@example.com", PASSWORD).status, 401);
    assert_eq!(refresh(backed.service.api, &anna.refresh).status, 401);
}

#[test]
fn neither_the_tables_nor_the_log_hold_an_address_a_token_or_a_key_in_clear() {
    let backed = Backed::with(&[("RUST_LOG", "trace")]);
    let anna = backed.account("anna@example.com", "editor");
    let key = serde_json::json!({ "key": "sk-canary-of-the-provider" });
    assert_eq!(anna.ask("PUT", "/provider-key", Some(&key)).status, 204);
    assert_eq!(refresh(backed.service.api, &anna.refresh).status, 200);
    let tables = backed.postgres.sql(
        "postgres",
        "SELECT (SELECT json_agg(a) FROM api.accounts a)::text || (SELECT json_agg(t) FROM api.refresh_tokens t)::text",
    );
    let tables = tables.unwrap();
    let database_password = backed.url.split([':', '@']).nth(2).unwrap();
    let log = serde_json::to_string(&backed.service.log()).unwrap();
    assert!(tables.contains("argon2id") && log.contains("/provider-key"), "there is something to find");
    for secret in [
        "anna@example.com",
        PASSWORD,
        &anna.access,
        &anna.refresh,
        "sk-canary",
        ENCRYPTION_KEY,
        database_password,
    ] {
        assert!(!tables.contains(secret), "{secret} in {tables}");
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[test]
fn an_account_needs_an_address_and_a_long_password() {
    let backed = Backed::start();
    for (email, password, told) in [
        ("anna", PASSWORD, "EMAIL"),
        ("anna@example.com", "short", "15 to 1024"),
        ("anna@example.com", "", "15 to 1024"),
    ] {
        let refused = tool(&backed.url, &["account", "add", email], password);
        let text = String::from_utf8_lossy(&refused.stdout).into_owned();
        assert!(!refused.status.success() && text.contains(told), "{refused:?}");
    }
    backed.account("anna@example.com", "viewer");
    let again = tool(&backed.url, &["account", "add", "Anna@example.com"], PASSWORD);
    assert!(
        !again.status.success() && String::from_utf8_lossy(&again.stdout).contains("already"),
        "{again:?}"
    );
}
