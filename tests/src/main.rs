//! The command line of the testbed. It only reads arguments and prints; the library does the work.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use testbed::Postgres;
use testbed::lifecycle;
use testbed::state::{Flavour, State};
use testbed::{bench, database, doctor, image, parts, previous, process, users};

/// A real Kubernetes for tests and for the demo, built from pinned sources.
#[derive(Parser)]
#[command(name = "testbed")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build and fetch every part into the cache.
    Build,
    /// Start it; a running one is kept.
    Up {
        /// Only etcd, kube-apiserver, kube-controller-manager and kube-scheduler: needs no root.
        #[arg(long)]
        control_plane: bool,
        /// Stop it when no test run uses it any more.
        #[arg(long, hide = true)]
        while_used: bool,
    },
    /// Stop it and remove what it left.
    Down,
    /// Start a Postgres beside the node, with TLS and pgaudit, and print how clients find it; it stays until `down`.
    Database,
    /// Images for the node.
    #[command(subcommand)]
    Image(Image),
    /// Print what runs.
    Status,
    /// Look whether this machine can run it, and name the fix for what is missing.
    Doctor,
    /// Build the operator that an upgrade starts from; it needs the repository's history.
    Previous,
    /// Run a command while a Postgres of its own runs; `DATABASE_URL` leads there.
    Postgres {
        /// The program and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Measure what services cost, on control planes of its own, and print a table. Needs a release build of the operator.
    Bench {
        /// How often services are created.
        #[arg(long, default_value_t = 3)]
        runs: usize,
        /// How many at once.
        #[arg(long, default_value_t = 100)]
        services: usize,
        /// Numbers of services at which memory is measured, rising.
        #[arg(long, value_delimiter = ',', default_value = "600,1000")]
        many: Vec<usize>,
    },
    /// The same for certificates alone, of services that stand already.
    BenchCertificates {
        /// How often, beside the controllers of Kubernetes and without them.
        #[arg(long, default_value_t = 3)]
        runs: usize,
        /// How many at once.
        #[arg(long, default_value_t = 200)]
        certificates: usize,
    },
    /// Stop it when its last user is gone.
    #[command(hide = true)]
    Watch,
}

#[derive(Subcommand)]
enum Image {
    /// Make an image from one static program, push it, and print its reference by digest.
    Load {
        /// `NAME:TAG`
        reference: String,
        /// The program; it becomes the image's only file and its entrypoint.
        program: PathBuf,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testbed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<()> {
    let state = State::open()?;
    match command {
        Command::Build => parts::all(),
        Command::Up { control_plane, while_used } => up(&state, control_plane, while_used).await,
        Command::Down => lifecycle::down(&state),
        Command::Database => {
            let variables = database::up(&state).await?.variables(&state);
            variables.iter().try_for_each(|line| say(line))
        }
        Command::Image(Image::Load { reference, program }) => {
            say(&image::load(&state, &reference, &program)?)
        }
        Command::Doctor => doctor(&state),
        Command::Status => status(&state),
        Command::Previous => previous::build().map(drop),
        Command::Bench { runs, services, many } => {
            let plan = bench::Plan { runs, services, many };
            measured(Box::pin(bench::run(&plan))).await
        }
        Command::BenchCertificates { runs, certificates } => {
            measured(Box::pin(bench::certificates::run(runs, certificates))).await
        }
        Command::Postgres { command } => {
            let server = Postgres::start()?;
            let (program, arguments) = command.split_first().context("no command")?;
            let mut run = std::process::Command::new(program);
            let status = run.args(arguments).env("DATABASE_URL", server.url()).status()?;
            anyhow::ensure!(status.success(), "{} failed: {status}", program.display());
            Ok(())
        }
        Command::Watch => users::watch(&state),
    }
}

/// Given up in order, so that no control plane is left behind.
async fn measured(bench: impl Future<Output = Result<String>>) -> Result<()> {
    tokio::select! {
        table = bench => say(&table?),
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
    }
}

async fn up(state: &State, control_plane: bool, while_used: bool) -> Result<()> {
    if !while_used {
        users::keep(state)?;
    }
    let flavour = if control_plane { Flavour::ControlPlane } else { Flavour::Full };
    let before = lifecycle::running(state).is_some();
    lifecycle::up(state, flavour).await?;
    if while_used && !before {
        users::start_watch(state)?;
    }
    say(&format!("export KUBECONFIG={}", state.kubeconfig().display()))
}

fn status(state: &State) -> Result<()> {
    match lifecycle::running(state) {
        Some(info) => say(&format!("{:?} at {}", info.flavour, info.server))?,
        None => say("nothing runs")?,
    }
    for (name, pid) in process::running(state) {
        say(&format!("{name:<28} {pid}"))?;
    }
    Ok(())
}

fn doctor(state: &State) -> Result<()> {
    let findings = doctor::examine(state);
    for finding in &findings {
        match &finding.seen {
            Ok(seen) => say(&format!("ok    {:<24} {seen}", finding.what))?,
            Err(seen) => say(&format!("BAD   {:<24} {seen}; {}", finding.what, finding.fix))?,
        }
    }
    match doctor::verdict(&findings) {
        (_, true) => say("everything can run here"),
        (true, false) => say("a control plane can run here ('testbed up --control-plane'), a node cannot"),
        (false, false) => anyhow::bail!("nothing can run here before the lines marked BAD are mended"),
    }
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
