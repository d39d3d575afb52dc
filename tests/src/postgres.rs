//! A real Postgres of one test's own, from Debian's package. It holds what the test puts there and nothing else.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::daemon::{self, Daemon};
use crate::etcd::free_port;
use crate::https::Https;

/// Where Debian's package has the programs.
pub(crate) const BIN: &str = "/usr/lib/postgresql/15/bin";
/// Its data is thrown away, so it waits for no disk; small, because several tests run one each. `log_statement` is off
/// because a statement may carry a secret.
const SETTINGS: &str = "\
fsync = off
synchronous_commit = off
full_page_writes = off
shared_buffers = 16MB
max_connections = 60
log_statement = none
log_connections = on
";

/// Has it log everything that it can, for tests that look for secrets in there.
pub const LOG_EVERYTHING: &str = "\
log_statement = all
log_min_duration_statement = 0
log_parameter_max_length = -1
log_parameter_max_length_on_error = -1
log_min_messages = debug1
";

/// A running server; dropping it kills it and removes its data.
///
/// The kernel also kills it when the *thread* that called `start` ends, so start it in the test itself or in a thread
/// that lives as long, not in a worker that ends sooner.
pub struct Postgres {
    daemon: Daemon,
    port: u16,
    password: String,
}

/// How it is made.
#[derive(Debug, Default)]
pub struct Options<'a> {
    /// It speaks TLS too, with a certificate of an authority of its own for these names and for its addresses.
    pub tls: Option<&'a [&'a str]>,
    /// Another address that it listens on besides loopback, for clients of any address.
    pub also_on: Option<&'a str>,
    /// More lines of its `postgresql.conf`.
    pub settings: &'a str,
}

impl Postgres {
    /// Makes the data and starts the server on a free loopback port; it has answered a query when this returns.
    pub fn start() -> Result<Self> {
        Self::start_with(&Options::default())
    }

    /// The same, with options.
    pub fn start_with(options: &Options<'_>) -> Result<Self> {
        let (daemon, port, password) = (daemon()?, free_port()?, daemon::password()?);
        create(&daemon, &password, options)?;
        Self::of_data(daemon, port, password)
    }

    /// The certificate of its authority, as PEM.
    pub fn ca_file(&self) -> PathBuf {
        self.daemon.folder().join("ca.crt")
    }

    /// Starts a standby that follows this server; it has the same roles and passwords.
    pub fn standby(&self) -> Result<Self> {
        let daemon = daemon()?;
        let mut copy = daemon.command(&Path::new(BIN).join("pg_basebackup"));
        copy.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres", "--pgdata=data"]);
        copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
            .env("PGPASSWORD", &self.password);
        succeed(&mut copy)?;
        Self::of_data(daemon, free_port()?, self.password.clone())
    }

    /// Starts the server of the folder's `data`.
    fn of_data(mut daemon: Daemon, port: u16, password: String) -> Result<Self> {
        let args = args(daemon.folder(), port);
        daemon.set_args(&args.each_ref().map(String::as_str));
        let mut postgres = Self { daemon, port, password };
        postgres.start_again()?;
        Ok(postgres)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Where clients reach the database `postgres` as superuser.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Makes a database; its name is of lower-case letters, digits and `_`. Gives the address for its superuser.
    pub fn database(&self, name: &str) -> Result<String> {
        let is_plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
        ensure!(!name.is_empty() && name.bytes().all(is_plain), "{name:?} is not a plain name of a database");
        self.sql("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(self.url_of(name))
    }

    /// Runs statements in a database as superuser and gives the rows as text, columns separated by `|`.
    pub fn sql(&self, database: &str, statements: &str) -> Result<String> {
        sql(self.port, &self.password, database, statements)
    }

    /// The definitions of a database and its settings as `pg_dump` has them, without what differs from run to run.
    pub fn dump(&self, database: &str) -> Result<String> {
        let mut dump = self.daemon.command(&Path::new(BIN).join("pg_dump"));
        dump.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres", "-d", database]);
        let output = dump.args(["--schema-only", "--create"]).env("PGPASSWORD", &self.password).output()?;
        ensure!(output.status.success(), "pg_dump: {}", String::from_utf8_lossy(&output.stderr).trim_end());
        let text = String::from_utf8(output.stdout)?;
        // Both carry a random word.
        let stays = |line: &&str| !line.starts_with("\\restrict ") && !line.starts_with("\\unrestrict ");
        Ok(text.lines().filter(stays).collect::<Vec<_>>().join("\n"))
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Ends it; its data stays.
    pub fn stop(&mut self) {
        self.daemon.stop();
    }

    /// Starts it after `stop`, on the same port with the same data.
    pub fn start_again(&mut self) -> Result<()> {
        let (port, password) = (self.port, &self.password);
        self.daemon.start(|_| sql(port, password, "postgres", "SELECT 1").map(drop))
    }

    /// Sends a signal to its first process: SIGSTOP and SIGCONT make a server that takes connections and never answers.
    pub fn signal(&self, signal: Signal) {
        self.daemon.signal(signal);
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }
}

/// A folder for a server that is not made yet. Postgres refuses to run as root.
pub(crate) fn daemon() -> Result<Daemon> {
    let user = daemon::unprivileged("postgres")?;
    // SIGINT is its fast end: no waiting for clients.
    Daemon::new("postgres", Path::new(BIN).join("postgres"), user, Signal::INT)
}

/// Makes the data of a server with this password of its superuser `postgres`.
pub(crate) fn create(daemon: &Daemon, password: &str, options: &Options<'_>) -> Result<()> {
    let initdb = Path::new(BIN).join("initdb");
    ensure!(initdb.exists(), "{} is missing: run tests/install-debian.sh", initdb.display());
    let secret = daemon.write("password", password)?;
    let mut initdb = daemon.command(&initdb);
    initdb.args(["--no-sync", "--auth=scram-sha-256", "--username=postgres", "--encoding=UTF8"]);
    initdb.args(["--locale=C", "--pgdata=data", "--pwfile"]).arg(secret);
    succeed(&mut initdb)?;
    daemon.write("data/postgresql.conf", &settings(daemon, options)?)?;
    if options.also_on.is_some() {
        let rules = fs::read_to_string(daemon.folder().join("data/pg_hba.conf"))?;
        daemon.write("data/pg_hba.conf", &format!("{rules}\nhost all all 0.0.0.0/0 scram-sha-256\n"))?;
    }
    Ok(())
}

/// The arguments of the server of a folder's `data`.
pub(crate) fn args(folder: &Path, port: u16) -> [String; 6] {
    let folder = folder.display().to_string();
    let data = format!("{folder}/data");
    ["-D".into(), data, "-p".into(), port.to_string(), "-k".into(), folder]
}

fn settings(daemon: &Daemon, options: &Options<'_>) -> Result<String> {
    let more = options.also_on.map(|address| format!(",{address}")).unwrap_or_default();
    let mut all = format!("{SETTINGS}listen_addresses = '127.0.0.1{more}'\n{}", options.settings);
    if let Some(names) = options.tls {
        let names: Vec<_> = names.iter().copied().chain(options.also_on).collect();
        let (_, [certificate, key]) = Https::create(daemon, &names)?;
        let lines = format!(
            "\nssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\n",
            certificate.display(),
            key.display()
        );
        all.push_str(&lines);
    }
    Ok(all)
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// By psql over TCP, as any client; neither the password nor the statements stand in its arguments.
fn sql(port: u16, password: &str, database: &str, statements: &str) -> Result<String> {
    let mut psql = Command::new(Path::new(BIN).join("psql"));
    psql.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "postgres", "-d", database]);
    psql.args(["--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-"]);
    psql.env("PGPASSWORD", password).env("PGCONNECT_TIMEOUT", "10");
    let mut child = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().context("psql has no input")?;
    // One that could not connect reads nothing; what it says then is the better error.
    let _ = input.write_all(statements.as_bytes());
    drop(input);
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}
