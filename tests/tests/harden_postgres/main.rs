//! Does the program of a Job harden a real Postgres with TLS, prove it, take it away again, and say in every case what came
//! of it? No cluster.

mod faults;
mod refused;
mod secrets;
mod server;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use postgres_hardening::{
    Control, Evidence, Extension, LARGEST, Outcome, Proof, Reason, Report, SeenExtension, SeenSetting,
    Setting,
};
use tempfile::TempDir;
use testbed::Postgres;
use testbed::operator;
use testbed::postgres::Options;

/// Encryption and auditing of everything.
const FULL: &str = r#"{"extensions": [{"name": "pgcrypto"}, {"name": "pgaudit"}],
    "audit": {"log": ["all"], "rows": true, "connections": true}}"#;
/// What a server needs for everything to pass. Its log is one that it can read itself.
const READY: &str = "\
shared_preload_libraries = 'pgaudit'
log_connections = on
log_disconnections = on
logging_collector = on
";
/// Of the role that may only look.
const EYE: &str = "eye-92c1";

/// A server with the database `shop` and the role `eye`, and the files of Jobs.
struct Scene {
    postgres: Postgres,
    folder: TempDir,
}

/// Keys of a Secret with their values.
type Files<'a> = &'a [(&'a str, &'a str)];

/// How a run ended.
struct Ended {
    is_well: bool,
    report: Report,
    said: String,
}

impl Scene {
    fn set(settings: &str) -> Result<Self> {
        Self::set_with(&Options { tls: Some(&[]), settings, ..Options::default() })
    }

    fn set_with(options: &Options<'_>) -> Result<Self> {
        let postgres = Postgres::start_with(options)?;
        postgres.database("shop")?;
        postgres.sql("shop", &format!("CREATE ROLE eye LOGIN PASSWORD '{EYE}'"))?;
        Ok(Self { postgres, folder: tempfile::tempdir()? })
    }

    /// The superuser's.
    fn password(&self) -> Result<String> {
        Ok(self.postgres.url().split([':', '@']).nth(2).context("no password")?.to_owned())
    }

    fn port(&self) -> String {
        self.postgres.address().port().to_string()
    }

    /// The superuser's, of the database `shop`.
    fn url(&self) -> Result<String> {
        Ok(format!("postgres://postgres:{}@{}/shop", self.password()?, self.postgres.address()))
    }

    fn ca(&self) -> String {
        self.postgres.ca_file().display().to_string()
    }

    /// A Secret as the kubelet mounts it; an older one of the name is replaced.
    fn secret(&self, name: &str, files: Files<'_>) -> Result<String> {
        let folder = self.folder.path().join(name);
        // It may be the first.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder)?;
        for (key, text) in files {
            std::fs::write(folder.join(key), text)?;
        }
        Ok(folder.display().to_string())
    }

    fn result(&self) -> PathBuf {
        self.folder.path().join("result")
    }

    /// The program on a Secret; what the result was before is gone.
    fn command(&self, connection: &str, args: &[&str]) -> Result<Command> {
        // There may be none.
        let _ = std::fs::remove_file(self.result());
        let mut command = Command::new(operator::program()?);
        command.args(["harden-postgres", "--connection", connection, "--result"]).arg(self.result());
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        if !args.contains(&"--plan") {
            command.args(["--plan", FULL]);
        }
        if !args.contains(&"--seconds") {
            command.args(["--seconds", "0"]);
        }
        Ok(command)
    }

    /// One that is tried for half a minute.
    fn start(&self, connection: &str, args: &[&str]) -> Result<Child> {
        let patient = [args, &["--seconds", "30"]].concat();
        Ok(self.command(connection, &patient)?.spawn()?)
    }

    fn end(&self, child: Child) -> Result<Ended> {
        ended(&child.wait_with_output()?, &self.result())
    }

    fn run_as(&self, connection: &str, args: &[&str]) -> Result<Ended> {
        ended(&self.command(connection, args)?.output()?, &self.result())
    }

    /// As superuser of `shop` who trusts the server's authority.
    fn run(&self, args: &[&str]) -> Result<Ended> {
        let connection = self.secret("superuser", &[("url", &self.url()?)])?;
        self.run_as(&connection, &[args, &["--ca", &self.ca()]].concat())
    }
}

fn ended(Output { status, stdout, stderr }: &Output, result: &Path) -> Result<Ended> {
    let said = [String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr)].concat();
    let text = std::fs::read_to_string(result).with_context(|| said.clone())?;
    ensure!(text.len() <= LARGEST, "{} bytes", text.len());
    ensure!(matches!(status.code(), Some(0 | 1)), "{status}: {said}");
    Ok(Ended { is_well: status.success(), report: serde_json::from_str(&text)?, said })
}

impl Ended {
    fn evidence(&self) -> Result<&Evidence> {
        self.report.evidence.as_ref().with_context(|| format!("{:?}", self.report))
    }

    /// The reason of a run that must not end well.
    fn reason(&self) -> Result<Reason> {
        ensure!(!self.is_well, "it ended well");
        Ok(self.report.problem.as_ref().with_context(|| format!("{:?}", self.report))?.reason)
    }

    fn open(&self) -> Result<Vec<(Control, Outcome)>> {
        Ok(self.evidence()?.open.iter().map(|check| (check.control, check.outcome)).collect())
    }

    /// Proven, with so many lines of what changed.
    fn proven(self, changed: usize) -> Result<Self> {
        ensure!(self.is_well && self.report.is_proven(), "{:#?}\n{}", self.report, self.said);
        assert_eq!(self.report.changed.len(), changed, "{:?}", self.report.changed);
        Ok(self)
    }
}

#[test]
fn a_bare_database_is_hardened_and_proven_a_second_run_changes_nothing_and_down_leaves_it_as_it_was()
-> Result<()> {
    let scene = Scene::set(READY)?;
    scene.postgres.sql("shop", "CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL)")?;
    let bare = scene.postgres.dump("shop")?;
    let looked = scene.run(&["--verify-only"])?;
    assert!(!looked.is_well && looked.report.changed.is_empty());
    let missing = [Extension::Pgcrypto, Extension::Pgaudit];
    assert_eq!(looked.open()?[..2], missing.map(|name| (Control::Extension(name), Outcome::Failed)));
    assert_eq!(scene.postgres.dump("shop")?, bare, "it only looked");
    let first = scene.run(&[])?.proven(7)?;
    assert!(first.said.contains("extension pgaudit 1.7 created in schema public"), "{}", first.said);
    let evidence = first.evidence()?;
    let extension =
        |name, version: &str| SeenExtension { name, version: version.into(), schema: "public".into() };
    assert_eq!(evidence.server_version / 10_000, 15);
    assert_eq!(
        evidence.extensions,
        [extension(Extension::Pgcrypto, "1.3"), extension(Extension::Pgaudit, "1.7")]
    );
    let wanted = [
        (Setting::Log, "all"),
        (Setting::LogRows, "on"),
        (Setting::LogParameter, "off"),
        (Setting::Role, "pgaudit_admin"),
    ];
    assert_eq!(evidence.settings, wanted.map(|(name, value)| SeenSetting { name, value: value.into() }));
    assert_eq!((evidence.audit, evidence.passed), (Some(Proof::ServerLog), 18));
    let tls = evidence.tls.as_ref().context("no TLS")?;
    assert!(tls.version == "TLSv1.3" && tls.cipher.starts_with("TLS_") && tls.verified, "{tls:?}");
    let hardened = scene.postgres.dump("shop")?;
    scene.run(&[])?.proven(0)?;
    scene.run(&["--verify-only"])?.proven(0)?;
    assert_eq!(scene.postgres.dump("shop")?, hardened);
    let unverified = scene.run(&["--tls-mode", "require"])?.proven(0)?;
    assert!(!unverified.evidence()?.tls.as_ref().context("no TLS")?.verified);
    scene.postgres.sql("shop", "CREATE VIEW v AS SELECT digest('a', 'sha256')")?;
    let needed = scene.run(&["--down"])?;
    assert_eq!((needed.reason()?, needed.report.changed.len()), (Reason::Refused, 0));
    let removed = scene.run(&["--down", "--cascade"])?;
    assert!(removed.is_well && removed.report.problem.is_none() && removed.report.evidence.is_none());
    assert_eq!((removed.report.changed.len(), scene.postgres.dump("shop")?), (7, bare));
    Ok(())
}

#[test]
fn a_role_that_may_only_look_proves_the_same_server_and_database_once_it_has_the_rights_that_are_named()
-> Result<()> {
    let scene = Scene::set(READY)?;
    // Where its own Secret leads does not count.
    let elsewhere = format!("postgres://eye:{EYE}@nowhere.invalid:1/other");
    let verifier = scene.secret("verifier", &[("url", &elsewhere)])?;
    let seen = scene.run(&["--verifier", &verifier])?;
    assert_eq!((seen.is_well, seen.report.changed.len()), (false, 7));
    let hidden = [Control::PreloadLibraries, Control::Md5Passwords, Control::AuditCanary];
    assert_eq!(seen.open()?, hidden.map(|control| (control, Outcome::Unknown)));
    assert_eq!(seen.evidence()?.audit, None);
    scene.postgres.sql(
        "shop",
        "GRANT pg_read_all_settings TO eye; GRANT SET ON PARAMETER pgaudit.log_client TO eye; \
         GRANT SELECT (rolname, rolpassword) ON pg_authid TO eye",
    )?;
    let proven = scene.run(&["--verifier", &verifier])?.proven(0)?;
    assert_eq!(proven.evidence()?.audit, Some(Proof::ClientOnly));
    let alone = scene.secret("eye", &[("username", "eye"), ("password", EYE)])?;
    let (port, ca) = (scene.port(), scene.ca());
    let place = ["--host", "127.0.0.1", "--port", &port, "--database", "shop", "--ca", &ca, "--verify-only"];
    scene.run_as(&alone, &place)?.proven(0)?;
    Ok(())
}

#[test]
fn each_shape_of_a_secret_is_taken() -> Result<()> {
    let scene = Scene::set(READY)?;
    let (port, ca, password, url) = (scene.port(), scene.ca(), scene.password()?, scene.url()?);
    let apart = format!("postgres://postgres@{}/shop\n", scene.postgres.address());
    let every = format!("postgresql://postgres:{password}@{}/*", scene.postgres.address());
    let rooted = format!("{url}?sslmode=disable&sslrootcert={ca}");
    let user = [("username", "postgres"), ("password", &*password)];
    let fields = [("host", "127.0.0.1"), ("port", &port), ("dbname", "*")];
    let with_ca = ["--ca", &ca, "--tls-mode", "verify-ca"];
    let place = ["--host", "127.0.0.1", "--port", &port];
    let shop = ["--database", "shop"];
    let shapes: [(Files<'_>, Vec<&str>); 6] = [
        (&[("url", &apart), ("password", &password)], with_ca.into()),
        (&[("uri", &url)], with_ca.into()),
        (&[("uri", &every), user[0], user[1]], [&with_ca[..], &shop].concat()),
        (&[user[0], user[1], fields[0], fields[1], fields[2]], [&with_ca[..], &shop].concat()),
        (&user, [&with_ca[..], &place, &shop].concat()),
        (&[("url", &rooted)], Vec::new()),
    ];
    for (index, (files, args)) in shapes.into_iter().enumerate() {
        let connection = scene.secret("shape", files)?;
        let ended = scene.run_as(&connection, &args)?.proven(if index == 0 { 7 } else { 0 })?;
        assert_eq!(ended.evidence()?.tls.as_ref().context("no TLS")?.verified, index == 5);
    }
    let superuser = scene.secret("shape", &[("uri", &every), user[0], user[1]])?;
    let ended = scene.run_as(&superuser, &with_ca)?;
    assert_eq!(ended.reason()?, Reason::InvalidUrl);
    assert!(ended.said.contains("spec.postgres.connection.database"), "{}", ended.said);
    Ok(())
}
