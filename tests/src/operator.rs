//! The operator as a process of its own, which a test starts, stops, kills and starts again. Only one runs against a
//! cluster at a time.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::{Cluster, unique};
use crate::etcd::free_port;
use crate::process;
use crate::wait::{Look, wait_until};

const READY_LIMIT: Duration = Duration::from_mins(1);
const END_LIMIT: Duration = Duration::from_mins(1);
/// Tests that run an operator take turns; the longest may hold it this long.
const TURN_LIMIT: Duration = Duration::from_mins(10);

/// A running operator; it is killed when this is dropped or the test's process dies.
#[derive(Debug)]
pub struct Operator {
    child: Child,
    options: Options,
    admin: SocketAddr,
    log: PathBuf,
    _turn: Option<File>,
}

/// How to start it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Kubeconfig instead of the operator's own, for example that of a fault proxy.
    pub kubeconfig: Option<PathBuf>,
    /// Another program than the checkout's.
    pub program: Option<PathBuf>,
    /// Arguments after `run`.
    pub args: Vec<String>,
    /// More environment.
    pub env: Vec<(String, String)>,
    /// Runs beside another operator of the same test instead of waiting for its turn.
    pub beside: bool,
}

impl Operator {
    /// Waits for its turn, starts the operator with its own rights, and waits until it is ready.
    pub async fn start(cluster: &Cluster) -> Result<Self> {
        Self::start_with(cluster, Options::default()).await
    }

    /// The same, with options.
    pub async fn start_with(cluster: &Cluster, options: Options) -> Result<Self> {
        let operator = Self::launch(cluster, options).await?;
        operator.wait_ready().await?;
        Ok(operator)
    }

    /// Starts it without waiting until it is ready, for tests in which it dies early.
    pub async fn launch(cluster: &Cluster, mut options: Options) -> Result<Self> {
        cluster.install().await?;
        let turn = if options.beside { None } else { Some(turn(cluster).await?) };
        if options.kubeconfig.is_none() {
            options.kubeconfig = Some(cluster.operator_kubeconfig()?);
        }
        let log = cluster.state().folder("log")?.join(format!("{}.log", unique("operator")));
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let child = spawn(&options, admin, &log)?;
        Ok(Self { child, options, admin, log, _turn: turn })
    }

    /// Waits until `/readyz` says yes, and unless it runs beside another, until it leads; fails at once, with the log,
    /// when it dies.
    pub async fn wait_ready(&self) -> Result<()> {
        wait_until(READY_LIMIT, "the operator to be ready", async || {
            if process::birth(self.pid()).is_none() {
                return Look::Done(Err(anyhow::anyhow!("the operator died; its log:\n{}", self.log())));
            }
            match self.get("/readyz").await {
                // The lease of an operator of an earlier test that was killed may have to end first.
                Ok((200, body)) if self.options.beside || !body.starts_with("standby") => Look::Done(Ok(())),
                other => Look::NotYet(other.map_err(|error| error.to_string())),
            }
        })
        .await?
    }

    /// Asks its admin port; gives status and body.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(self.admin).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.admin).as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no body")?;
        let code = head.split(' ').nth(1).context("the answer has no status")?.parse()?;
        Ok((code, body.to_owned()))
    }

    /// Whether it leads, as its metrics say.
    pub async fn leads(&self) -> Result<bool> {
        Ok(self.get("/metrics").await?.1.contains("_leader 1\n"))
    }

    /// The sum of its counters whose lines begin like this: a name, or a name with labels.
    pub async fn counted(&self, start: &str) -> Result<u64> {
        let (_, text) = self.get("/metrics").await?;
        let lines = text.lines().filter(|line| line.starts_with(start));
        lines.filter_map(|line| line.rsplit(' ').next()).map(|count| Ok(count.parse::<u64>()?)).sum()
    }

    /// Asks it to end with SIGTERM and waits for that.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        process::signal(self.pid(), Signal::TERM);
        self.wait_end().await
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        process::signal(self.pid(), Signal::KILL);
        self.wait_end().await.map(drop)
    }

    /// Waits until it has ended by itself or by somebody else's signal.
    pub async fn wait_end(&mut self) -> Result<ExitStatus> {
        let child = std::sync::Mutex::new(&mut self.child);
        wait_until(END_LIMIT, "the operator to end", async || {
            match child.lock().map(|mut child| child.try_wait()) {
                Ok(Ok(Some(status))) => Look::Done(status),
                other => Look::NotYet(format!("{other:?}")),
            }
        })
        .await
    }

    /// Starts it again with the same options after it ended, and waits until it is ready.
    pub async fn restart(&mut self) -> Result<()> {
        self.restart_unready()?;
        self.wait_ready().await
    }

    /// The same without waiting, for tests in which it does not become ready.
    pub fn restart_unready(&mut self) -> Result<()> {
        ensure!(self.child.try_wait()?.is_some(), "the operator still runs");
        self.child = spawn(&self.options, self.admin, &self.log)?;
        Ok(())
    }

    /// The same with other options, for example without the fault proxy.
    pub async fn restart_with(&mut self, cluster: &Cluster, mut options: Options) -> Result<()> {
        if options.kubeconfig.is_none() {
            options.kubeconfig = Some(cluster.operator_kubeconfig()?);
        }
        self.options = options;
        self.restart().await
    }

    /// Stops it (SIGSTOP) or lets it go on (SIGCONT).
    pub fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or_default()
    }

    /// What it has logged, over all its lives.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(options: &Options, admin: SocketAddr, log: &Path) -> Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    // The kernel kills it when the test dies, even by SIGKILL.
    let mut command = Command::new("setpriv");
    let program = options.program.clone().map_or_else(program, Ok)?;
    command.args(["--pdeathsig", "KILL"]).arg(program).args(["run", "--admin-bind", &admin.to_string()]);
    if let Some(kubeconfig) = &options.kubeconfig {
        command.arg("--kubeconfig").arg(kubeconfig);
    }
    // Tests take turns, so that the next one need not wait for the lease of one that was killed.
    command.env("HARDENED_INSTANCE", "test").args(&options.args).envs(options.env.iter().cloned());
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().context("start the operator")
}

/// `$HARDENED_OPERATOR`, or what cargo built beside the tests.
pub fn program() -> Result<PathBuf> {
    if let Some(program) = std::env::var_os("HARDENED_OPERATOR") {
        return Ok(program.into());
    }
    let folder = crate::users::program()?;
    let folder = folder.parent().context("find the target folder")?;
    let others =
        [folder.join("hardened-operator"), folder.with_file_name("release").join("hardened-operator")];
    match others.iter().find(|path| path.exists()) {
        Some(program) => Ok(program.clone()),
        None => bail!(
            "{} is missing: run 'cargo build -p operator' or set HARDENED_OPERATOR",
            others[0].display()
        ),
    }
}

/// Waits until no other test runs an operator against this cluster.
async fn turn(cluster: &Cluster) -> Result<File> {
    let file = File::create(cluster.state().path("exclusive"))?;
    wait_until(TURN_LIMIT, "other tests to end with the operator", async || match file.try_lock() {
        Ok(()) => Look::Done(()),
        Err(error) => Look::NotYet(error.to_string()),
    })
    .await?;
    Ok(file)
}
