//! `kubectl hardened`: the command line and its answers. It decides nothing about children; that is render's.

mod cluster;
mod crds;
mod host;
mod onboard;
mod render;
mod source;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// Work with HardenedService resources: see what becomes of one before it is applied, install the resource
/// definition, open a namespace for it.
#[derive(Parser)]
#[command(name = "kubectl-hardened", bin_name = "kubectl hardened", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Render(render::Arguments),
    Crds(crds::Arguments),
    Onboard(onboard::Arguments),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let answer = match command {
        Command::Render(arguments) => render::run(&arguments)?,
        Command::Crds(arguments) => crds::run(&arguments)?,
        Command::Onboard(arguments) => onboard::run(&arguments)?,
    };
    match std::io::stdout().write_all(answer.as_bytes()) {
        // `| head` closes the pipe when it has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("write to the standard output"),
    }
}
