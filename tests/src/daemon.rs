//! A server of one test's own: its folder, its process and its log. What it is, is said by `lowkey`, `moto`, `nginx`,
//! `postgres`, `redis` and `vault`. It shares nothing with the testbed that `Cluster::get` attaches to.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::gobuild::hex;
use crate::process;

const READY_LIMIT: Duration = Duration::from_mins(1);
/// A server that does not end by itself in this time is killed.
const END_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// A user without rights, for servers that refuse to run as root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    uid: u32,
    gid: u32,
}

/// How a server is started, again and again with the same data.
pub(crate) struct Daemon {
    name: &'static str,
    folder: TempDir,
    program: PathBuf,
    args: Vec<String>,
    user: Option<User>,
    /// Asks it to end at once, its own children too.
    end: Signal,
    child: Option<Child>,
}

impl Daemon {
    /// Makes the folder, which belongs to the user; nothing runs yet.
    pub fn new(name: &'static str, program: PathBuf, user: Option<User>, end: Signal) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir()?;
        if let Some(user) = user {
            chown(folder.path(), Some(user.uid), Some(user.gid))?;
        }
        Ok(Self { name, folder, program, args: Vec::new(), user, end, child: None })
    }

    /// The folder that holds all of its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves the folder where it is when this is dropped.
    pub fn keep_folder(&mut self) {
        self.folder.disable_cleanup(true);
    }

    /// Sets the arguments of all starts.
    pub fn set_args(&mut self, args: &[&str]) {
        self.args = args.iter().map(|&arg| arg.to_owned()).collect();
    }

    /// Writes a file that its user alone may read.
    pub fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(content.as_bytes())?;
        if let Some(user) = self.user {
            chown(&path, Some(user.uid), Some(user.gid))?;
        }
        Ok(path)
    }

    /// Another program as the same user, such as the one that prepares the data.
    pub fn command(&self, program: &Path) -> Command {
        // The kernel kills it when the thread that started it ends, so also with a test that is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        command.args(identity(self.user)).arg(program).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Starts it and waits until the look succeeds; an error shows the end of its log.
    pub fn start(&mut self, ready: impl Fn(&Self) -> Result<()>) -> Result<()> {
        if self.child.is_some() {
            bail!("{} still runs", self.name);
        }
        let log = OpenOptions::new().create(true).append(true).open(self.log_file())?;
        let mut command = self.command(&self.program);
        command.args(&self.args).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn().with_context(|| format!("start {}", self.name))?);
        let start = Instant::now();
        loop {
            let died = self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            match ready(self) {
                Ok(()) => return Ok(()),
                Err(error) if died || start.elapsed() > READY_LIMIT => {
                    self.kill();
                    bail!("{} is not ready: {error:#}; the end of its log:\n{}", self.name, self.tail());
                }
                Err(_) => sleep(POLL),
            }
        }
    }

    /// Asks it to end and waits for that; one that hangs is killed.
    pub fn stop(&mut self) {
        self.signal(Signal::CONT);
        self.signal(self.end);
        let start = Instant::now();
        while let Some(child) = &mut self.child {
            if start.elapsed() > END_LIMIT {
                break;
            }
            match child.try_wait() {
                Ok(None) => sleep(POLL),
                _ => self.child = None,
            }
        }
        self.kill();
    }

    /// Sends a signal to the first process.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.child.as_ref().and_then(|child| i32::try_from(child.id()).ok()) {
            process::signal(pid, signal);
        }
    }

    /// What it has logged, over all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended already; either way nothing is left to do.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Nothing when this process is not root; else the user of a package, or `nobody`.
pub(crate) fn unprivileged(name: &str) -> Result<Option<User>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let table = fs::read_to_string("/etc/passwd")?;
    let find = |name: &str| {
        let line = table.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let mut numbers = line.split(':').skip(1).map_while(|field| field.parse().ok());
        Some(User { uid: numbers.next()?, gid: numbers.next()? })
    };
    find(name).or_else(|| find("nobody")).map(Some).context("/etc/passwd has no user nobody")
}

/// Arguments of `setpriv` that make a program run as this user.
pub(crate) fn identity(user: Option<User>) -> Vec<String> {
    let arguments = |User { uid, gid }| {
        vec![format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()]
    };
    user.map(arguments).unwrap_or_default()
}

/// 128 random bits in hexadecimal: a password that needs no quoting anywhere.
pub(crate) fn password() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(hex(&bytes))
}
