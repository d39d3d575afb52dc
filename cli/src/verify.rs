//! `kubectl hardened verify`: proofs on the live system, with exit codes for CI. It changes nothing.

mod db;
mod report;

use anyhow::Result;

/// The exit code when there is no answer.
pub const COULD_NOT_LOOK: u8 = 2;

/// Prove on the live system that something is hardened.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Db(db::Arguments),
}

/// What to print, and the exit code.
pub fn run(arguments: &Arguments) -> Result<(String, u8)> {
    match &arguments.what {
        What::Db(arguments) => db::run(arguments),
    }
}
