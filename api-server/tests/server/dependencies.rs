//! The database goes, comes back and is slow (reliability scenario L7): what clients and kubelet see of it.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    backed::{Backed, ENCRYPTION_KEY, PASSWORD, tool},
    client::{ask, get},
    headers,
    process::{Service, command, wait_until},
};

#[test]
fn a_lost_database_is_503_not_ready_and_alive_and_comes_back_without_a_restart() {
    let mut backed = Backed::start();
    let anna = backed.account("anna@example.com", "editor");
    anna.video("first");
    backed.postgres.stop();
    let lost = anna.get("/videos");
    assert_eq!(lost.status, 503, "{lost:?}");
    assert!(!lost.header("retry-after").is_empty());
    headers::check(&lost);
    let api = backed.service.api;
    wait_until("the loss to be noticed", || (get(api, "/readyz").status == 503).then_some(()));
    assert_eq!(get(api, "/livez").status, 200);
    backed.postgres.start_again().unwrap();
    wait_until("the database", || (anna.get("/videos").status == 200).then_some(()));
    wait_until("readiness", || (get(api, "/readyz").status == 200).then_some(()));
}

#[test]
fn a_database_that_hangs_costs_a_client_seconds_and_never_a_500() {
    let backed = Backed::start();
    let anna = backed.account("anna@example.com", "editor");
    let statuses: Vec<_> = thread::scope(|scope| {
        scope.spawn(|| {
            backed.postgres.sql("postgres", "BEGIN; LOCK TABLE api.videos; SELECT pg_sleep(8); COMMIT")
        });
        let locked = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'api.videos'::regclass";
        wait_until("the lock", || (backed.postgres.sql("postgres", locked).unwrap() == "1").then_some(()));
        let begin = Instant::now();
        let all: Vec<_> = (0..20).map(|_| scope.spawn(|| anna.get("/videos").status)).collect();
        let statuses = all.into_iter().map(|one| one.join().unwrap()).collect();
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        statuses
    });
    assert!(statuses.iter().all(|status| *status == 503), "{statuses:?}");
    wait_until("the database", || (anna.get("/videos").status == 200).then_some(()));
}

#[test]
fn a_thousand_requests_share_ten_connections_and_leave_none_behind() {
    let backed = Backed::with(&[("WORKERS", "2")]);
    let anna = backed.account("anna@example.com", "editor");
    anna.video("first");
    let statuses: Vec<_> = thread::scope(|scope| {
        let all: Vec<_> =
            (0..50).map(|_| scope.spawn(|| [(); 20].map(|()| anna.get("/videos?limit=1").status))).collect();
        all.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    assert!(statuses.iter().filter(|status| **status == 200).count() > 500, "{statuses:?}");
    let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'api-server'";
    let open: u32 = backed.postgres.sql("postgres", open).unwrap().trim().parse().unwrap();
    assert!((1..=10).contains(&open), "{open}");
    let busy =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'api-server' AND state <> 'idle'";
    wait_until("idle connections", || {
        (backed.postgres.sql("postgres", busy).unwrap().trim() == "0").then_some(())
    });
}

#[test]
fn a_client_that_goes_away_in_the_middle_costs_no_connection() {
    use std::io::Write as _;
    let backed = Backed::start();
    let anna = backed.account("anna@example.com", "editor");
    for _ in 0..30 {
        let mut connection = crate::client::connect(backed.service.api);
        let head =
            format!("GET /videos HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n", anna.access);
        connection.write_all(head.as_bytes()).unwrap();
    }
    assert!((0..30).all(|_| anna.get("/videos").status == 200));
}

#[test]
fn routes_whose_part_is_missing_name_it() {
    let service = Service::start(&[]);
    let body = r#"{"email": "anna@example.com", "password": "x"}"#;
    let login = crate::backed::login(service.api, "anna@example.com", "x");
    assert_eq!(login.status, 503, "{login:?}");
    assert!(login.json()["detail"].as_str().unwrap().contains("DATABASE_URL"), "{login:?}");
    assert!(!login.body.contains(body));
    assert_eq!(get(service.api, "/health").status, 200);
    assert_eq!(get(service.api, "/readyz").status, 200, "it was never there");
    assert_eq!(ask(service.api, "GET /videos", "").status, 401, "who asks comes first");
}

#[test]
fn migrations_go_up_and_down_and_up_and_tell_where_they_are() {
    let backed = Backed::start();
    let run = |arguments: &[&str]| {
        let done = tool(&backed.url, arguments, "");
        (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned())
    };
    let (code, text) = run(&["migrate", "status"]);
    assert!(code == Some(0) && text.matches("applied").count() == 4, "{text}");
    // A column is missing: the database of a version before this one.
    backed.account("anna@example.com", "viewer");
    assert_eq!(run(&["migrate", "down", "--to", "3"]).0, Some(0));
    let answer = crate::backed::login(backed.service.api, "anna@example.com", PASSWORD);
    assert_eq!(answer.status, 503);
    assert!(answer.json()["detail"].as_str().unwrap().contains("migrate up"), "{answer:?}");
    let (code, text) = run(&["migrate", "down", "--to", "1"]);
    assert!(code == Some(0) && text.matches("missing").count() == 3, "{text}");
    assert_eq!(run(&["migrate", "status"]).0, Some(1));
    assert_eq!(run(&["migrate", "down", "--to", "0"]).0, Some(0));
    let left = "SELECT count(*) FROM pg_tables WHERE schemaname = 'api' AND tablename <> 'migrations'";
    assert_eq!(backed.postgres.sql("postgres", left).unwrap().trim(), "0");
    let answer = crate::backed::login(backed.service.api, "anna@example.com", "x");
    assert_eq!(answer.status, 503);
    assert!(answer.json()["detail"].as_str().unwrap().contains("migrate up"), "{answer:?}");
    assert_eq!(run(&["migrate", "up"]).0, Some(0));
    assert_eq!(run(&["migrate", "up"]).0, Some(0), "twice is once");
}

#[test]
fn up_down_to_any_version_and_up_again_give_the_same_schema() {
    let postgres = testbed::postgres::Postgres::start().unwrap();
    let run = |arguments: &[&str]| {
        let done = tool(&postgres.url(), arguments, "");
        assert!(done.status.success(), "{done:?}");
    };
    let dump = || postgres.dump("postgres").unwrap();
    run(&["migrate", "up"]);
    let all = dump();
    assert!(all.contains("CREATE TABLE api.jobs"), "there is something to compare");
    let mut lower = all.clone();
    for version in ["3", "2", "1", "0"] {
        run(&["migrate", "down", "--to", version]);
        let taken_back = dump();
        assert!(taken_back.len() < lower.len(), "version {version} has less than the one above it");
        run(&["migrate", "up"]);
        assert_eq!(dump(), all, "from {version} up again");
        lower = taken_back;
    }
}

#[test]
fn an_address_that_is_none_ends_the_start_and_is_not_shown() {
    let wrong = [("DATABASE_URL", "mysql:/anna:canary@db"), ("ENCRYPTION_KEY", ENCRYPTION_KEY)];
    let mut child = command(&wrong).spawn().unwrap();
    let end = wait_until("the end", || child.try_wait().unwrap());
    let mut text = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut text).unwrap();
    assert!(!end.success());
    assert!(text.contains("DATABASE_URL") && !text.contains("canary"), "{text}");
}
