//! `kubectl hardened postgres-init` and `verify db` on a real Postgres: is a server that is made by the first proven by the
//! second, and does the exit code tell what is not?

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::Postgres;
use testbed::postgres::Options;

const PASSWORD: &str = "canary-90b2ce41";

fn run(arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(env!("CARGO_BIN_EXE_kubectl-hardened")).args(arguments).output()?)
}

fn printed(arguments: &[&str]) -> Result<String> {
    let output = run(arguments)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Of a server with the settings that `postgres-init conf` prints.
struct Scene {
    postgres: Postgres,
    folder: tempfile::TempDir,
}

impl Scene {
    fn set() -> Result<Self> {
        let settings = printed(&["postgres-init", "conf"])?;
        let postgres = Postgres::start_with(&Options { tls: Some(&[]), settings: &settings, also_on: None })?;
        let scene = Self { postgres, folder: tempfile::tempdir()? };
        scene.postgres.database("shop")?;
        scene.postgres.sql("shop", &format!("CREATE ROLE auditor SUPERUSER LOGIN PASSWORD '{PASSWORD}'"))?;
        scene.postgres.sql("shop", &format!("CREATE ROLE eye LOGIN PASSWORD '{PASSWORD}'"))?;
        Ok(scene)
    }

    /// Exit code and answer as JSON.
    fn verify(&self, user: &str, password: &str) -> Result<(i32, Value)> {
        let file = self.folder.path().join("url");
        let ca = self.postgres.ca_file();
        let tls = format!("sslmode=verify-full&sslrootcert={}", ca.display());
        std::fs::write(
            &file,
            format!("postgres://{user}:{password}@{}/shop?{tls}\n", self.postgres.address()),
        )?;
        let output = run(&["verify", "db", "--url-file", &file.display().to_string(), "-o", "json"])?;
        let all = [output.stdout.clone(), output.stderr].concat();
        ensure!(!String::from_utf8_lossy(&all).contains(password), "the password is shown");
        let answer = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&all).into_owned())?;
        Ok((output.status.code().context("killed")?, answer))
    }
}

fn open(answer: &Value) -> Vec<String> {
    let checks = answer["checks"].as_array().into_iter().flatten();
    let open = checks.filter(|check| check["outcome"] != "Passed");
    open.map(|check| format!("{} {}", check["outcome"], check["control"])).collect()
}

#[test]
fn a_server_that_is_made_by_the_init_script_is_proven_and_what_is_taken_away_is_told() -> Result<()> {
    let scene = Scene::set()?;
    let (code, answer) = scene.verify("auditor", PASSWORD)?;
    assert_eq!(code, 1, "nothing was done yet: {answer:#}");
    let script = printed(&["postgres-init", "sql"])?;
    for _ in 0..2 {
        scene.postgres.sql("shop", &script)?;
    }
    let (code, answer) = scene.verify("auditor", PASSWORD)?;
    assert_eq!((code, open(&answer)), (0, Vec::new()), "{answer:#}");

    // Whoever may see less is not told that all is well.
    let (code, answer) = scene.verify("eye", PASSWORD)?;
    ensure!(code == 2 && open(&answer).iter().all(|check| check.contains("Unknown")), "{code} {answer:#}");
    scene.postgres.sql("shop", "ALTER DATABASE shop SET pgaudit.log = 'none'")?;
    let (code, answer) = scene.verify("auditor", PASSWORD)?;
    ensure!(code == 1 && open(&answer).contains(&r#""Failed" "auditCanary""#.to_owned()), "{answer:#}");
    Ok(())
}

#[test]
fn who_cannot_look_says_why_with_exit_code_2() -> Result<()> {
    let mut scene = Scene::set()?;
    let (code, answer) = scene.verify("auditor", "canary-wrong")?;
    assert_eq!((code, answer["problem"]["reason"].as_str()), (2, Some("AuthFailed")), "{answer:#}");
    scene.postgres.stop();
    let (code, answer) = scene.verify("auditor", PASSWORD)?;
    assert_eq!((code, answer["problem"]["reason"].as_str()), (2, Some("Unreachable")), "{answer:#}");
    let output = run(&["verify", "db", "--url-file", "absent"])?;
    ensure!(output.status.code() == Some(2), "{output:?}");
    Ok(())
}
