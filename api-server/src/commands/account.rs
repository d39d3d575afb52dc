//! `api-server account`: makes and disables accounts. A password comes by standard input: arguments are visible to all.

use std::io::{self, BufRead as _, Write as _};

use anyhow::{Context as _, bail, ensure};
use clap::Subcommand;
use secrecy::{ExposeSecret as _, SecretString};

use super::pool;
use crate::{auth::Role, config::Config, database::accounts, encryption::Keys, passwords, secrets::Secrets};

/// The shortest password of a new account (NIST SP 800-63B-4, section 3.1.1.2).
const SHORTEST: usize = 15;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Account {
    /// Make an account; its password is the first line of standard input, 15 to 1024 bytes
    Add {
        /// Its address
        email: String,
        /// What it may do
        #[arg(long, value_enum, default_value = "viewer")]
        role: Role,
    },
    /// Let an account log in no more; its refresh tokens end at once, its access tokens by their time
    Disable {
        /// Its address
        email: String,
    },
}

/// Does it and prints a line.
pub async fn run(action: &Account, config: &Config, secrets: &Secrets) -> anyhow::Result<()> {
    let pool = pool(config, secrets)?;
    let keys = Keys::read(secrets)?.context("ENCRYPTION_KEY is not set")?;
    match action {
        Account::Add { email, role } => {
            ensure!(is_address(email), "EMAIL: {email:?} is not an address such as anna@example.com");
            let hash = passwords::hash(&password()?).context("hash the password")?;
            let new = accounts::New { email, password_hash: &hash, role: *role };
            let Some(id) = accounts::create(&pool, &keys, &new).await.context("make the account")? else {
                bail!("EMAIL: {email} has an account already");
            };
            writeln!(io::stdout(), "{id}")?;
        }
        Account::Disable { email } => {
            let found = accounts::disable(&pool, &keys, email).await.context("disable the account")?;
            ensure!(found, "EMAIL: {email} has no account");
            writeln!(io::stdout(), "disabled")?;
        }
    }
    Ok(())
}

fn password() -> anyhow::Result<SecretString> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("read the password from standard input")?;
    let password = SecretString::from(line.trim_end_matches(['\r', '\n']).to_owned());
    let length = password.expose_secret().len();
    ensure!(
        (SHORTEST..=1024).contains(&length),
        "the password on standard input has {length} bytes, not {SHORTEST} to 1024"
    );
    Ok(password)
}

fn is_address(text: &str) -> bool {
    let parts = text.split_once('@');
    text.len() <= 254
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
        && parts.is_some_and(|(name, host)| !name.is_empty() && host.contains('.') && !host.contains('@'))
}
