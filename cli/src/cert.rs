//! `kubectl hardened cert`: makes a self-signed certificate, or says how one is. A private key goes into its file and
//! nowhere else.

mod algorithm;
mod chain;
mod examine;
mod files;
mod generate;
mod inspect;
mod material;
mod names;
#[cfg(test)]
mod recipe;
mod report;
mod secret;
mod server;
mod trust;

use anyhow::Result;
use k8s_openapi::jiff::Timestamp;

/// Make a self-signed certificate with its key, without openssl, or inspect one.
///
/// Writes DIR/cert.pem (mode 0644) and DIR/key.pem (mode 0600), for a server that has no authority to ask: at
/// development, in tests, on a plain host. Clients trust it by its file: `curl --cacert DIR/cert.pem ...`
///
/// Exit codes: 0 both files are written, 1 they are not, 2 the arguments are wrong.
#[derive(clap::Args)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    generate: generate::Arguments,
}

#[derive(clap::Subcommand)]
enum Action {
    Inspect(inspect::Arguments),
}

impl Arguments {
    /// The exit code when nothing could be done: 1 is an answer of `inspect`.
    pub fn code_of_errors(&self) -> u8 {
        if self.action.is_some() { inspect::COULD_NOT_LOOK } else { 1 }
    }
}

/// What to print, and the exit code.
pub fn run(arguments: &Arguments) -> Result<(String, u8)> {
    match &arguments.action {
        Some(Action::Inspect(arguments)) => inspect::run(arguments, Timestamp::now()),
        None => Ok((generate::run(&arguments.generate, Timestamp::now())?, 0)),
    }
}

/// A time as every answer shows it.
fn minute(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// A fingerprint as openssl shows it, so that the two can be compared.
fn fingerprint(der: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    let bytes: Vec<_> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}
