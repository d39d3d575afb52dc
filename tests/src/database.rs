//! A Postgres of the testbed itself, beside its node: it stays until `down`. A test starts one of its own (`postgres`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::etcd::free_port;
use crate::parts::quietly;
use crate::postgres::{self, BIN, Options};
use crate::process::{self, Part};
use crate::state::{Flavour, State};
use crate::wait::{Look, wait_until};
use crate::{daemon, lifecycle, network};

const PART: &str = "postgres";
/// Names the folder of the data. Postgres may not run as root and cannot enter the state folder, so it lies outside.
const FOLDER: &str = "database.folder";
const NOTE: &str = "database.json";
const PASSWORD: &str = "database.pgpass";
const READY_LIMIT: Duration = Duration::from_mins(1);
/// What pgaudit and a proof of its lines need. A clear prefix tells whose line it is, and memory in the folder goes with it.
const SETTINGS: &str = "\
shared_preload_libraries = 'pgaudit'
log_disconnections = on
logging_collector = on
dynamic_shared_memory_type = mmap
log_line_prefix = '%m [%p] %q%u@%d '
";

/// A server that runs.
#[derive(Debug, Serialize, Deserialize)]
pub struct Database {
    folder: PathBuf,
    port: u16,
}

impl Database {
    /// Where clients find it, as `NAME=VALUE` of libpq's environment variables.
    pub fn variables(&self, state: &State) -> [String; 6] {
        [
            format!("PGHOST={}", network::HOST),
            format!("PGPORT={}", self.port),
            "PGUSER=postgres".into(),
            format!("PGPASSFILE={}", state.arg(PASSWORD)),
            "PGSSLMODE=verify-full".into(),
            format!("PGSSLROOTCERT={}", self.folder.join("ca.crt").display()),
        ]
    }

    /// Makes the data of a fresh server; what is left of one that was not made to the end goes first.
    fn create(state: &State) -> Result<Self> {
        clear(state)?;
        let mut daemon = postgres::daemon()?;
        state.write(FOLDER, daemon.folder().as_os_str().as_encoded_bytes())?;
        let host = network::HOST.to_string();
        let (password, port) = (daemon::password()?, free_port()?);
        let options = Options { tls: Some(&[]), also_on: Some(&host), settings: SETTINGS };
        postgres::create(&daemon, &password, &options)?;
        // Whoever may open the state folder is the testbed's administrator; the file has mode 0600 besides.
        state.write(PASSWORD, format!("{host}:{port}:*:postgres:{password}\n"))?;
        let database = Self { folder: daemon.folder().to_owned(), port };
        state.write(NOTE, serde_json::to_vec(&database)?)?;
        daemon.keep_folder();
        Ok(database)
    }

    fn start(&self, state: &State) -> Result<()> {
        forget_killed(&self.folder)?;
        network::remove_if_there(&self.folder.join(format!(".s.PGSQL.{}.lock", self.port)))?;
        let server = Path::new(BIN).join("postgres").display().to_string();
        let mut args = daemon::identity(daemon::unprivileged(PART)?);
        args.push(server);
        args.extend(postgres::args(&self.folder, self.port));
        process::start(state, &Part { name: PART, program: Path::new("setpriv"), args, netns: None })
    }

    fn is_ready(&self) -> bool {
        let mut look = Command::new(Path::new(BIN).join("pg_isready"));
        look.args(["--host", &network::HOST.to_string(), "--port", &self.port.to_string()]);
        look.stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    }
}

/// Starts it, with the data that it had, unless it runs; it takes connections when this returns.
pub async fn up(state: &State) -> Result<Database> {
    let _lock = state.lock("lock")?;
    let node = lifecycle::running(state).is_some_and(|info| info.flavour == Flavour::Full);
    ensure!(node, "the database listens on the node's network: run 'testbed up' first");
    let noted = fs::read(state.path(NOTE)).ok().and_then(|note| serde_json::from_slice(&note).ok());
    let database = match noted {
        Some(database) => database,
        None => Database::create(state)?,
    };
    if process::pid(state, PART).is_none() {
        database.start(state)?;
    }
    wait_until(READY_LIMIT, "the database", async || match process::check(state, PART) {
        Ok(()) if !database.is_ready() => Look::NotYet("not ready"),
        other => Look::Done(other),
    })
    .await??;
    Ok(database)
}

/// Ends it and removes its data.
pub(crate) fn clear(state: &State) -> Result<()> {
    if let Some(pid) = process::pid(state, PART) {
        // Its own end, since a killed one leaves shared memory behind.
        process::signal(pid, Signal::INT);
        if process::wait_gone(pid).is_err() {
            process::signal(pid, Signal::KILL);
            process::wait_gone(pid).context("stop the database")?;
        }
    }
    let Ok(folder) = fs::read_to_string(state.path(FOLDER)) else { return Ok(()) };
    let folder = Path::new(&folder);
    forget_killed(folder)?;
    process::remove_folder(folder)?;
    network::remove_if_there(&state.path(NOTE))?;
    network::remove_if_there(&state.path(FOLDER))
}

/// A killed server leaves a segment of shared memory, and its process id: it counts as alive until somebody waits for it.
fn forget_killed(folder: &Path) -> Result<()> {
    let file = folder.join("data/postmaster.pid");
    let note = fs::read_to_string(&file).unwrap_or_default();
    // The seventh line is the segment's key and number.
    if let Some(segment) = note.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) {
        // It is gone already when the machine was restarted.
        let _ = quietly(Command::new("ipcrm").args(["--shmem-id", segment]));
    }
    network::remove_if_there(&file)
}
