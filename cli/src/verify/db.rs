//! `verify db`: logs in to Postgres and has the engine look. The address stands in a file, because everybody on the machine
//! may read arguments.

use std::path::PathBuf;

use anyhow::Result;
use postgres_hardening::{Plan, Problem, Verification, address, verify};
use secrecy::SecretString;

use super::report::{self, Output};
use crate::{postgres::WhichPlan, source};

/// Prove that a Postgres database is hardened.
///
/// Extensions and their versions; pgcrypto by encrypting and decrypting, by a known digest and by random bytes; the libraries
/// that the server loads; each audit setting as a new session has it; a marked statement whose line of the audit is seen;
/// the log of connections; how passwords are stored; the TLS of this very connection. No superuser is needed: what the role
/// may not see is Unknown, with the GRANT that would let it. Nothing is changed.
///
/// Exit codes: 0 everything was seen to be as it should; 1 something is not: each has its fix; 2 something could not be
/// seen, or the arguments are wrong.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// File with the address postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full; `-` reads the standard input
    #[arg(long, value_name = "FILE")]
    url_file: PathBuf,
    /// File with the password, where the address has none
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    plan: WhichPlan,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// What to print, and the exit code.
pub fn run(arguments: &Arguments) -> Result<(String, u8)> {
    let plan = arguments.plan.read()?;
    let url: SecretString = source::read(&arguments.url_file)?.into();
    let password = arguments.password_file.as_deref().map(source::read).transpose()?.map(SecretString::from);
    // Only one provider is compiled in, so a second installation cannot differ.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(look(&url, password.as_ref(), &plan));
    Ok((report::text(&found, arguments.output)?, report::code(&found)))
}

async fn look(
    url: &SecretString,
    password: Option<&SecretString>,
    plan: &Plan,
) -> Result<Verification, Problem> {
    verify(&address(url, password)?, plan).await
}
