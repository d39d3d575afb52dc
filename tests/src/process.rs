//! Starting, finding and killing the parts as processes, by process id. It never searches by name.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::state::State;

const DEATH_LIMIT: Duration = Duration::from_secs(10);

/// A part to start: a program with a log file of its own, in its own session and process group.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    /// Name of its log and pid file.
    pub name: &'a str,
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub args: Vec<String>,
    /// The network namespace that it runs in; without one, the host's.
    pub netns: Option<&'a str>,
}

/// Starts the part and notes its process id; it outlives the caller until `stop_all`.
pub fn start(state: &State, part: &Part<'_>) -> Result<()> {
    state.folder("log")?;
    let log = File::create(state.path(&format!("log/{}.log", part.name)))?;
    let mut command = Command::new("setsid");
    if let Some(netns) = part.netns {
        command.arg("nsenter").arg(format!("--net=/run/netns/{netns}")).arg("--");
    }
    command.arg(part.program).args(&part.args);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let child = command.spawn().with_context(|| format!("start {}", part.name))?;
    let pid = i32::try_from(child.id())?;
    let born = birth(pid).with_context(|| format!("{} died at once", part.name))?;
    state.write(&format!("run/{}.pid", part.name), format!("{pid} {born}\n"))?;
    Ok(())
}

/// The process id of a part that was started and still lives.
pub fn pid(state: &State, name: &str) -> Option<i32> {
    recorded(&state.path(&format!("run/{name}.pid")))
}

/// Names of the parts that live, sorted.
pub fn running(state: &State) -> Vec<(String, i32)> {
    let mut found: Vec<_> = fs::read_dir(state.path("run"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_str()?.strip_suffix(".pid")?.to_owned();
            Some((name, recorded(&entry.path())?))
        })
        .collect();
    found.sort();
    found
}

/// Fails with the end of the log when the part has died.
pub fn check(state: &State, name: &str) -> Result<()> {
    if pid(state, name).is_some() {
        return Ok(());
    }
    let log = state.path(&format!("log/{name}.log"));
    let text = fs::read_to_string(&log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(15)..].join("\n");
    bail!("{name} died; the end of {}:\n{tail}", log.display())
}

/// Kills every part that a pid file names, waits until all are gone, and removes the pid files.
pub fn stop_all(state: &State) -> Result<()> {
    let parts = running(state);
    for (_, pid) in &parts {
        signal_group(*pid, Signal::KILL);
    }
    for (name, pid) in &parts {
        wait_gone(*pid).with_context(|| format!("stop {name}"))?;
    }
    remove_folder(&state.path("run"))
}

/// Removes a folder; one that is not there is fine.
pub fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Sends a signal to one process; one that is gone already is fine.
pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // The only answer to a vanished process is that there is nothing left to do.
        let _ = kill_process(pid, signal);
    }
}

/// Sends a signal to a process group.
pub fn signal_group(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process_group(pid, signal);
    }
}

/// Waits until the process is gone (or a zombie, which holds nothing any more).
pub fn wait_gone(pid: i32) -> Result<()> {
    let start = Instant::now();
    while birth(pid).is_some() {
        if start.elapsed() > DEATH_LIMIT {
            bail!("process {pid} still lives {} s after it was killed", DEATH_LIMIT.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The kernel's start time of a living process; together with the id it names one process for good, so a
/// process id that was given to somebody else is never killed.
pub fn birth(pid: i32) -> Option<u64> {
    let fields = stat(pid)?;
    if matches!(&**fields.first()?, "Z" | "X") { None } else { fields.get(19)?.parse().ok() }
}

/// CPU time that a process has used, its own and the kernel's for it.
pub fn cpu(pid: i32) -> Result<Duration> {
    // Linux counts in hundredths of a second here, whatever its clock is.
    let ticks =
        |fields: &[String]| Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?);
    let ticks =
        stat(pid).as_deref().and_then(ticks).with_context(|| format!("read the CPU time of {pid}"))?;
    Ok(Duration::from_millis(10 * ticks))
}

/// Memory of a process that is in RAM, in KiB.
pub fn resident(pid: i32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
    Ok(line.context("no resident memory")?.trim().parse()?)
}

/// What /proc says of a process, from its state on.
fn stat(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.get(stat.rfind(')')? + 2..)?.split_whitespace().map(str::to_owned).collect())
}

/// The process id in a file `PID START`, if that very process still lives.
pub fn recorded(file: &Path) -> Option<i32> {
    let text = fs::read_to_string(file).ok()?;
    let (pid, born) = text.trim().split_once(' ')?;
    let pid = pid.parse().ok()?;
    (birth(pid) == born.parse().ok()).then_some(pid)
}
