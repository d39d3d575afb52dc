//! The key of encrypted columns changes under a running service: no request fails, a crash costs nothing, and what nobody
//! can read is told by its id.

mod races;
pub mod scene;
mod traffic;

use std::time::Duration;

use serde_json::json;

use self::scene::{A, B, C, Scene, client, output};
use crate::{
    backed::{PASSWORD, login, refresh},
    process::wait_until,
};

#[test]
fn all_that_was_made_under_the_old_key_is_used_before_while_and_after_it_is_changed() {
    let scene = Scene::start(6);
    let before = scene.service(A, None);
    let token = client(&before, 0).refresh;
    drop(before);

    let both = scene.service(B, Some(A));
    for number in 0..6 {
        assert!(scene.usable(&both, number), "account {number} under its old key");
    }
    let next = refresh(both.api, &token);
    assert_eq!(next.status, 200, "{next:?}");
    let (code, text) = scene.rotate(B, Some(A), &["--batch", "3"]);
    assert_eq!(code, Some(0), "{text}");
    for number in 0..6 {
        assert!(scene.usable(&both, number), "account {number} with the old key still there");
    }
    drop(both);

    let after = scene.service(B, None);
    for number in 0..6 {
        assert!(scene.usable(&after, number), "account {number} with the new key only");
    }
    let token = next.json()["refreshToken"].as_str().unwrap().to_owned();
    assert_eq!(refresh(after.api, &token).status, 200);
    drop(after);
    let old = scene.service(A, None);
    assert!(!scene.usable(&old, 1), "the old key opens nothing any more");
}

#[test]
fn rows_of_before_the_fingerprint_are_read_by_both_keys_in_either_place_and_rotated() {
    let scene = Scene::start(4);
    let service = scene.service(A, None);
    let tokens: Vec<_> = (0..2).map(|number| client(&service, number).refresh).collect();
    drop(service);
    scene.forget_fingerprints();
    let waiting = scene.service(A, Some(B));
    assert!(scene.usable(&waiting, 0), "the old key is the current one, the new one only waits");
    assert_eq!(refresh(waiting.api, &tokens[0]).status, 200);
    drop(waiting);
    scene.forget_fingerprints();
    let both = scene.service(B, Some(A));
    assert!(scene.usable(&both, 1));
    assert_eq!(refresh(both.api, &tokens[1]).status, 200);
    // Some of them are of the new key by now, and again no row says so.
    scene.forget_fingerprints();
    let (code, text) = scene.rotate(B, Some(A), &[]);
    assert_eq!(code, Some(0), "{text}");
    drop(both);
    let after = scene.service(B, None);
    assert!((0..4).all(|number| scene.usable(&after, number)));
}

#[test]
fn an_address_has_one_account_whatever_key_it_was_made_under() {
    let scene = Scene::start(1);
    let add = |current, previous, email: &str| {
        let made = scene.tool(current, previous, &["account", "add", email], PASSWORD);
        (made.status.success(), output(&made))
    };
    let (made, text) = add(B, Some(A), "Person-0@example.com");
    assert!(!made && text.contains("has an account already"), "{text}");
    assert!(add(B, Some(A), "new@example.com").0);
    let (made, text) = add(A, Some(B), "NEW@example.com");
    assert!(!made && text.contains("has an account already"), "{text}");
    // Some at once, half of them with the other key as their current one; each has looked before another one is done.
    scene.sql(
        "CREATE FUNCTION api.slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.4); RETURN NEW; END';
         CREATE TRIGGER slow BEFORE INSERT ON api.accounts FOR EACH ROW EXECUTE FUNCTION api.slow()",
    );
    let made: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = [(A, B), (B, A), (A, B), (B, A)]
            .map(|(current, previous)| {
                scope.spawn(move || add(current, Some(previous), "race@example.com").0)
            })
            .into();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(made.iter().filter(|made| **made).count(), 1, "{made:?}");
    let disabled = scene.tool(B, Some(A), &["account", "disable", "person-0@example.com"], "");
    assert!(disabled.status.success(), "{disabled:?}");
    let service = scene.service(B, Some(A));
    assert_eq!(login(service.api, "person-0@example.com", PASSWORD).status, 401);
}

#[test]
fn one_that_is_killed_is_started_again_and_a_further_one_has_nothing_to_do() {
    let scene = Scene::start(12);
    let slow = ["--batch", "1", "--pause", "400"];
    for _ in 0..2 {
        let before = scene.of_key("accounts.email", "current", B, A);
        let mut child =
            scene.command(B, Some(A), &[&["rotate-encryption-key"], &slow[..]].concat()).spawn().unwrap();
        wait_until("some rows to be of the new key", || {
            (scene.of_key("accounts.email", "current", B, A) >= before + 3).then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let done = scene.of_key("accounts.email", "current", B, A);
    assert!((6..12).contains(&done), "killed in the middle: {done}");
    let both = scene.service(B, Some(A));
    assert!((0..12).all(|number| scene.usable(&both, number)), "of two keys, and each is used");
    drop(both);
    let (code, text) = scene.rotate(B, Some(A), &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&format!("{} encrypted anew", 12 - done)), "what was done stays done: {text}");
    let rows = scene.rows();
    let (code, text) = scene.rotate(B, Some(A), &[]);
    assert!(code == Some(0) && !text.contains("anew"), "{text}");
    assert_eq!(scene.rows(), rows, "not a byte is written");
    let after = scene.service(B, None);
    assert!((0..12).all(|number| scene.usable(&after, number)));
}

#[test]
fn two_at_once_share_the_rows_and_do_each_once() {
    let scene = Scene::start(12);
    let done: Vec<u64> = std::thread::scope(|scope| {
        let both: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let (code, text) = scene.rotate(B, Some(A), &["--batch", "2", "--pause", "5"]);
                    assert_eq!(code, Some(0), "{text}");
                    let mut lines = text
                        .lines()
                        .filter(|line| line.starts_with("accounts.email") && line.contains("anew"));
                    lines
                        .next_back()
                        .map_or(0, |line| line.split_whitespace().nth(1).unwrap().parse().unwrap())
                })
            })
            .collect();
        both.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(done.iter().sum::<u64>(), 12, "{done:?}");
    let after = scene.service(B, None);
    assert!((0..12).all(|number| scene.usable(&after, number)));
}

#[test]
fn a_dry_run_counts_and_changes_nothing() {
    let scene = Scene::start(3);
    let rows = scene.rows();
    let (code, text) = scene.rotate(B, Some(A), &["--dry-run"]);
    assert_eq!(code, Some(0), "{text}");
    let line = text.lines().find(|line| line.starts_with("accounts.email")).unwrap();
    assert!(line.ends_with("0 of the current key, 3 of the previous, 0 do not say, 0 of another"), "{text}");
    assert_eq!(scene.rows(), rows);
}

#[test]
fn a_row_of_a_third_key_is_named_and_left_and_all_others_are_done() {
    let scene = Scene::start(5);
    let made = scene.tool(C, None, &["account", "add", "stranger@example.com"], PASSWORD);
    assert!(made.status.success(), "{made:?}");
    let id = output(&made).trim_end().lines().last().unwrap().to_owned();
    for forget in [false, true] {
        if forget {
            scene.forget_fingerprints();
        }
        let (code, text) = scene.rotate(B, Some(A), &["--batch", "4"]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(&format!("accounts.email {id}: left as it was")), "{text}");
        assert!(text.contains("1 rows are left") && !text.contains("stranger@"), "{text}");
    }
    assert_eq!(scene.of_key("accounts.email", "current", B, A), 5);
    let after = scene.service(B, None);
    assert!((0..5).all(|number| scene.usable(&after, number)));
    drop(after);
    let (code, text) = scene.rotate(B, Some(C), &[]);
    assert_eq!(code, Some(0), "with its key it is done too: {text}");
}

#[test]
fn requests_do_not_notice_that_the_key_is_changed_under_them() {
    let scene = Scene::start(10);
    // As the procedure has it: first everybody can read what the next ones will write.
    let old = scene.service(A, Some(B));
    let new = scene.service(B, Some(A));
    let report = traffic::during([&old, &new], |sent| {
        // Each time there is something to do: the replica with the old key goes on writing with it.
        while sent() < 200 {
            let (code, text) = scene.rotate(B, Some(A), &["--batch", "3", "--pause", "20"]);
            assert_eq!(code, Some(0), "{text}");
        }
    });
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    // What the replica with the old key as its current one wrote meanwhile.
    drop(old);
    let (code, text) = scene.rotate(B, Some(A), &[]);
    assert_eq!(code, Some(0), "{text}");
    drop(new);
    let after = scene.service(B, None);
    assert!((0..10).all(|number| scene.usable(&after, number)));
}

#[test]
fn files_change_the_keys_of_a_running_service() {
    let scene = Scene::start(2);
    let (service, dir) = scene.service_of_files(A);
    assert!(scene.usable(&service, 0));
    // In this order every moment between the two files can be read.
    scene::write(&dir, "ENCRYPTION_KEY_PREVIOUS", A);
    scene::write(&dir, "ENCRYPTION_KEY", B);
    service.wait_for_log(|line| line["name"] == "ENCRYPTION_KEY" && line["outcome"] == "changed");
    let key = json!({ "key": "sk-of-after-the-change" });
    let anna = client(&service, 0);
    wait_until("the new key to count", || {
        assert_eq!(anna.ask("PUT", "/provider-key", Some(&key)).status, 204);
        (scene.of_key("accounts.provider_key", "current", B, A) == 1).then_some(())
    });
    assert!(scene.usable(&service, 1), "a row of the old key");
    std::fs::remove_file(dir.path().join("ENCRYPTION_KEY_PREVIOUS")).unwrap();
    wait_until("the old key to be forgotten", || {
        std::thread::sleep(Duration::from_millis(100));
        (login(service.api, "person-1@example.com", PASSWORD).status == 401).then_some(())
    });
}

#[test]
fn neither_keys_nor_values_are_in_the_database_servers_log_or_in_its_list_of_statements() {
    let scene = Scene::with(
        "log_statement = all\nlog_min_duration_statement = 0\nlog_parameter_max_length = 0\nlog_parameter_max_length_on_error = 0\n",
        3,
    );
    let both = scene.service(B, Some(A));
    assert!(scene.usable(&both, 0));
    let mut child = scene
        .command(B, Some(A), &["rotate-encryption-key", "--batch", "1", "--pause", "100"])
        .spawn()
        .unwrap();
    let mut seen = String::new();
    wait_until("its end", || {
        let list =
            "SELECT string_agg(query, ' ') FROM pg_stat_activity WHERE application_name = 'api-server'";
        seen.push_str(&scene.sql(list));
        child.try_wait().unwrap()
    });
    // One that has the wrong key is an error in the server's log, with its statement.
    let (code, _) = scene.rotate(C, None, &[]);
    assert_eq!(code, Some(1));
    let log = scene.postgres.log();
    for (place, text) in [("log", &log), ("pg_stat_activity", &seen)] {
        assert!(text.contains("pgp_sym_"), "{place}: there is something to find");
        for secret in scene.secrets() {
            assert!(!text.contains(&secret), "{place} has {secret}");
        }
    }
    assert!(log.contains("Wrong key or corrupt data"), "{log}");
    // The same search finds them where somebody lets the server log what is bound.
    scene
        .postgres
        .sql("postgres", "ALTER SYSTEM SET log_parameter_max_length = -1; SELECT pg_reload_conf()")
        .unwrap();
    wait_until("parameters in the log", || {
        let made = scene.tool(B, None, &["account", "add", "canary@example.com"], PASSWORD);
        drop(made);
        scene.postgres.log().contains("canary@example.com").then_some(())
    });
}
