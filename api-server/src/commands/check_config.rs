//! `api-server check-config`: what the start would refuse, for CI. Problems go to standard error, what was found to
//! standard output, and never a value to either.

mod env_file;

use std::{
    env,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use clap::Args;

use self::env_file::parse;
use crate::{
    check::{Report, check},
    config::Config,
    secrets::{NAMES, Problem},
};

/// Everything is as it should be.
pub const OK: u8 = 0;
/// Something must be mended.
pub const PROBLEMS: u8 = 1;
/// A backend was not reached, so nobody knows.
pub const UNKNOWN: u8 = 2;

/// Flags of the command.
#[derive(Clone, Debug, Args)]
pub struct CheckConfig {
    /// File of NAME=VALUE lines that count besides the environment, as `set -a; . FILE` would have it
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
}

/// Checks and prints. The exit code is 0, 1 with problems, and 2 when a backend could not be reached.
pub fn run(command: &CheckConfig, config: &Config) -> io::Result<ExitCode> {
    if let Some(file) = &command.env_file {
        return with_env_file(file);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(check(config));
    print(&report, &mut io::stdout().lock(), &mut io::stderr().lock())?;
    Ok(ExitCode::from(match (report.unreachable.is_empty(), report.problems.is_empty()) {
        (false, _) => UNKNOWN,
        (true, false) => PROBLEMS,
        (true, true) => OK,
    }))
}

/// Runs the command once more with the variables of the file: only a new process can be given an environment.
fn with_env_file(file: &Path) -> io::Result<ExitCode> {
    let variables = match parse(&std::fs::read_to_string(file)?) {
        Ok(variables) => variables,
        Err(line) => {
            let fix = "write NAME=VALUE, NAME='VALUE' or a comment";
            let problem =
                Problem::new(file.display().to_string(), format!("line {line} is no assignment"), fix);
            writeln!(io::stderr(), "{problem}")?;
            return Ok(ExitCode::from(PROBLEMS));
        }
    };
    let mut arguments = Vec::new();
    let mut given = env::args_os().skip(1);
    while let Some(argument) = given.next() {
        match argument.to_str() {
            Some("--env-file") => drop(given.next()),
            Some(text) if text.starts_with("--env-file=") => {}
            _ => arguments.push(argument),
        }
    }
    let status = Command::new(env::current_exe()?).args(arguments).envs(variables).status()?;
    // A process that was killed has no code; nothing was checked then.
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(UNKNOWN)))
}

fn print(report: &Report, out: &mut impl Write, err: &mut impl Write) -> io::Result<()> {
    for problem in report.problems.iter().chain(&report.unreachable) {
        writeln!(err, "{problem}")?;
    }
    writeln!(out, "{:<24} {:<12} {:<36} EXPIRES", "SECRET", "BACKEND", "VERSION")?;
    for name in NAMES {
        let Some(metadata) = report.secrets.metadata(name) else {
            writeln!(out, "{name:<24} -")?;
            continue;
        };
        let version = metadata.version.as_deref().unwrap_or("-");
        let expires = metadata.expires.map_or_else(|| "-".to_owned(), |at| at.date().to_string());
        writeln!(out, "{name:<24} {:<12} {version:<36} {expires}", metadata.backend)?;
    }
    writeln!(out, "\n{:<24} STATE", "BACKEND")?;
    for health in report.secrets.health() {
        writeln!(out, "{:<24} {}", health.backend, health.as_str())?;
    }
    Ok(())
}
