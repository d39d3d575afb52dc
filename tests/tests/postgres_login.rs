//! What does the program of the Job say of each way in which a login to Postgres ends? On a real Postgres, with and without
//! TLS. No cluster.

use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::Postgres;
use testbed::operator;
use testbed::postgres::Options;

const PASSWORD: &str = "canary-7f3a91d2c4";

/// A database `shop` with the user `app`, and files for the program.
struct Scene {
    postgres: Postgres,
    folder: TempDir,
}

impl Scene {
    fn set(tls: bool) -> Result<Self> {
        let tls = tls.then_some(&[][..]);
        let scene = Self {
            postgres: Postgres::start_with(&Options { tls, ..Options::default() })?,
            folder: tempfile::tempdir()?,
        };
        scene.postgres.database("shop")?;
        scene.postgres.sql("shop", &format!("CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'"))?;
        Ok(scene)
    }

    fn url(&self, user: &str, database: &str, rest: &str) -> String {
        format!("postgres://{user}@{}/{database}{rest}", self.postgres.address())
    }

    /// As the right user.
    fn good(&self) -> String {
        self.url(&format!("app:{PASSWORD}"), "shop", "")
    }

    /// What the program says of an address, when it may try for so many seconds.
    fn says(&self, url: &str, seconds: u64) -> Result<Value> {
        std::fs::write(self.folder.path().join("URL"), url)?;
        self.run(&["URL"], seconds)
    }

    fn run(&self, names: &[&str], seconds: u64) -> Result<Value> {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let files = names.iter().map(|name| name.split(':').map(path).collect::<Vec<_>>().join(":"));
        let mut command = Command::new(operator::program()?);
        command.arg("postgres-login").args(files).args(["--seconds", &seconds.to_string()]);
        let output = command.args(["--result", &path("result")]).output()?;
        let result = std::fs::read_to_string(self.folder.path().join("result"))
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        no_password(&output, &result)?;
        let result: Value = serde_json::from_str(&result)?;
        ensure!(output.status.success() == (result["outcome"] == "LoggedIn"), "{output:?} {result}");
        Ok(result)
    }
}

fn no_password(Output { stdout, stderr, .. }: &Output, result: &str) -> Result<()> {
    let all = [&*String::from_utf8_lossy(stdout), &*String::from_utf8_lossy(stderr), result].concat();
    ensure!(!all.contains(PASSWORD), "the password is shown: {all}");
    Ok(())
}

fn said(outcome: &str, sqlstate: Option<&str>) -> Value {
    let mut said = json!({"url": "URL", "outcome": outcome});
    if let Some(sqlstate) = sqlstate {
        said["sqlstate"] = sqlstate.into();
    }
    said
}

#[test]
fn each_way_in_which_a_login_ends_has_its_word_and_no_password_is_shown() -> Result<()> {
    let mut scene = Scene::set(false)?;
    assert_eq!(scene.says(&scene.good(), 9)?, said("LoggedIn", None));
    let wrong = scene.url("app:wrong", "shop", "");
    assert_eq!(scene.says(&wrong, 0)?, said("AuthFailed", Some("28P01")));
    let nobody = scene.url(&format!("nobody:{PASSWORD}"), "shop", "");
    assert_eq!(scene.says(&nobody, 0)?, said("AuthFailed", Some("28P01")));
    let missing = scene.url(&format!("app:{PASSWORD}"), "nowhere", "");
    assert_eq!(scene.says(&missing, 0)?, said("DatabaseMissing", Some("3D000")));
    scene.postgres.sql("shop", "ALTER ROLE app CONNECTION LIMIT 0")?;
    assert_eq!(scene.says(&scene.good(), 0)?, said("TooManyConnections", Some("53300")));
    scene
        .postgres
        .sql("shop", "ALTER ROLE app CONNECTION LIMIT -1; REVOKE CONNECT ON DATABASE shop FROM PUBLIC")?;
    assert_eq!(scene.says(&scene.good(), 0)?, said("Refused", Some("42501")));
    for bad in ["", "mysql://app@db/shop", &format!("postgres://app:{PASSWORD}@db:port/shop"), PASSWORD] {
        assert_eq!(scene.says(bad, 9)?, said("InvalidUrl", None), "{bad}");
    }
    assert_eq!(scene.says(&format!("{}?sslmode=require", scene.good()), 0)?, said("TlsFailed", None));
    let good = scene.good();
    scene.postgres.stop();
    assert_eq!(scene.says(&good, 0)?, said("Unreachable", None));
    Ok(())
}

#[test]
fn a_certificate_is_verified_as_the_address_asks() -> Result<()> {
    let scene = Scene::set(true)?;
    let with = |rest: &str| scene.says(&format!("{}{rest}", scene.good()), 0);
    let ca = scene.postgres.ca_file().display().to_string();
    assert_eq!(with("?sslmode=require")?, said("LoggedIn", None));
    assert_eq!(with("?sslmode=verify-full")?, said("TlsFailed", None), "an authority that nobody named");
    assert_eq!(with(&format!("?sslmode=verify-full&sslrootcert={ca}"))?, said("LoggedIn", None));
    let other = Postgres::start_with(&Options { tls: Some(&[]), ..Options::default() })?;
    let other = other.ca_file().display().to_string();
    assert_eq!(with(&format!("?sslmode=verify-full&sslrootcert={other}"))?, said("TlsFailed", None));
    assert_eq!(with("?sslmode=verify-full&sslrootcert=/nowhere")?, said("TlsFailed", None));
    Ok(())
}

#[test]
fn a_password_that_stands_alone_is_taken_and_one_that_is_set_late_is_waited_for() -> Result<()> {
    let scene = Scene::set(false)?;
    let write = |name: &str, text: &str| std::fs::write(scene.folder.path().join(name), text);
    write("URL", &scene.url("app", "shop", ""))?;
    write("PASSWORD", &format!("{PASSWORD}-2\n"))?;
    let late = std::thread::scope(|scope| {
        let run = scope.spawn(|| scene.run(&["URL:PASSWORD"], 20));
        std::thread::sleep(Duration::from_secs(3));
        scene.postgres.sql("shop", &format!("ALTER ROLE app PASSWORD '{PASSWORD}-2'"))?;
        run.join().map_err(|_| anyhow::anyhow!("the run panicked"))?
    })?;
    assert_eq!(late, said("LoggedIn", None));
    // The first that fails is told.
    write("OTHER", &scene.url("app:wrong", "shop", ""))?;
    let result = scene.run(&["URL:PASSWORD", "OTHER"], 0)?;
    assert_eq!(result, json!({"url": "OTHER", "outcome": "AuthFailed", "sqlstate": "28P01"}));
    Ok(())
}
