//! A backup by Postgres' own tools holds ciphertext, and what was restored from it is readable with the key and with no other.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use testbed::postgres::Postgres;

use crate::key_rotation::scene::{A, B, DATABASE, Scene};

const PRELOADED: &str = "shared_preload_libraries = 'pgaudit'\n";

/// Runs one of Postgres' programs as the superuser. What it writes, and whether it succeeded.
fn run(postgres: &Postgres, program: &str, arguments: &[&str], input: &str) -> (String, String, bool) {
    let (url, port) = (postgres.url(), postgres.address().port().to_string());
    let mut child = Command::new(format!("/usr/lib/postgresql/15/bin/{program}"))
        .args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres"])
        .args(arguments)
        .env("PGPASSWORD", url.split([':', '@']).nth(2).unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_owned();
    // One that stops at an error reads no more.
    let writer = std::thread::spawn(move || drop(pipe.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.success())
}

fn dump(postgres: &Postgres, program: &str, arguments: &[&str]) -> String {
    let (dump, errors, done) = run(postgres, program, arguments, "");
    assert!(done, "{errors}");
    dump
}

fn restore(scene: &Scene, sql: &str) -> Result<(), String> {
    let arguments = ["-d", "postgres", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"];
    let (_, errors, done) = run(&scene.postgres, "psql", &arguments, sql);
    if done { Ok(()) } else { Err(errors) }
}

#[test]
fn a_dump_holds_ciphertext_and_an_empty_server_with_it_serves_with_the_key_and_with_no_other() {
    let scene = Scene::with(PRELOADED, 2);
    scene.sql(
        "CREATE EXTENSION pgaudit; ALTER DATABASE service SET pgaudit.log = 'all';
         CREATE ROLE reader LOGIN PASSWORD 'of-the-reader'; ALTER ROLE reader SET pgaudit.log_rows = on;
         ALTER ROLE reader IN DATABASE service SET statement_timeout = '7s';
         GRANT USAGE ON SCHEMA api TO reader; GRANT SELECT ON api.videos TO reader",
    );
    let roles = dump(&scene.postgres, "pg_dumpall", &["--roles-only"]);
    let data = dump(&scene.postgres, "pg_dump", &["--create", DATABASE]);
    let without = dump(&scene.postgres, "pg_dump", &[DATABASE]);
    for secret in scene.secrets() {
        assert!(!data.contains(&secret) && !roles.contains(&secret), "{secret} is in the backup");
    }
    assert!(data.contains("COPY api.accounts"), "there is something to find");
    // Where settings are: of roles with the roles, of a database only where its making is dumped too.
    assert!(roles.contains("ALTER ROLE reader SET") && !roles.contains("IN DATABASE"), "{roles}");
    for setting in ["ALTER DATABASE service SET", "ALTER ROLE reader IN DATABASE service SET"] {
        assert!(data.contains(setting) && !without.contains(setting), "{setting}");
    }
    drop(scene);

    // The superuser of the new server stays who it is.
    let others = roles.lines().filter(|line| !line.contains("ROLE postgres"));
    let others = others.collect::<Vec<_>>().join("\n");
    let unprepared = Scene::bare("");
    restore(&unprepared, &others).unwrap();
    let told = restore(&unprepared, &data).unwrap_err();
    assert!(told.contains("pgaudit must be loaded via shared_preload_libraries"), "{told}");

    let roleless = Scene::bare(PRELOADED);
    let told = restore(&roleless, &data).unwrap_err();
    assert!(told.contains(r#"role "reader" does not exist"#), "{told}");

    let restored = Scene::bare(PRELOADED);
    restore(&restored, &others).unwrap();
    restore(&restored, &data).unwrap();
    let service = restored.service(A, None);
    assert!(restored.usable(&service, 0) && restored.usable(&service, 1));
    assert_eq!(restored.sql("SHOW pgaudit.log"), "all");
    drop(service);
    let other = restored.service(B, None);
    assert!(!restored.usable(&other, 0), "another key opens nothing");
    drop(other);
    // A backup of before a rotation, as the procedure restores it.
    let (code, text) = restored.rotate(B, Some(A), &[]);
    assert_eq!(code, Some(0), "{text}");
    let service = restored.service(B, None);
    assert!(restored.usable(&service, 0) && restored.usable(&service, 1));
}
