//! `kubectl hardened`: the command line and its answers. It decides nothing about children; that is render's.

mod cert;
mod cluster;
mod crds;
mod file;
mod host;
mod keys;
mod nginx;
mod onboard;
mod postgres;
mod render;
mod source;
mod verify;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// Work with HardenedService resources: see what becomes of one before it is applied, install the resource
/// definition, open a namespace for it, make or inspect a certificate, prove that a database is hardened, look after the
/// operator's keys, configure the nginx of a plain host.
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
    Cert(cert::Arguments),
    Keys(keys::Arguments),
    Verify(verify::Arguments),
    PostgresInit(postgres::Arguments),
    Nginx(nginx::Arguments),
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let code_of_errors = match &command {
        Command::Cert(arguments) => arguments.code_of_errors(),
        Command::Verify(_) => verify::COULD_NOT_LOOK,
        _ => 1,
    };
    match run(command) {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            code_of_errors.into()
        }
    }
}

/// Gives the exit code.
fn run(command: Command) -> Result<u8> {
    let (answer, code) = match command {
        Command::Render(arguments) => (render::run(&arguments)?, 0),
        Command::Crds(arguments) => (crds::run(&arguments)?, 0),
        Command::Onboard(arguments) => (onboard::run(&arguments)?, 0),
        Command::Cert(arguments) => cert::run(&arguments)?,
        Command::Keys(arguments) => (keys::run(&arguments)?, 0),
        Command::Verify(arguments) => verify::run(&arguments)?,
        Command::PostgresInit(arguments) => (postgres::run(&arguments)?, 0),
        Command::Nginx(arguments) => (nginx::run(&arguments)?, 0),
    };
    match std::io::stdout().write_all(answer.as_bytes()) {
        // `| head` closes the pipe when it has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(code),
        result => result.map(|()| code).context("write to the standard output"),
    }
}
