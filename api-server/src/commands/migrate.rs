//! `api-server migrate`: changes the tables of the database to what this version needs, and back.

use std::io::{self, Write as _};

use anyhow::{Context as _, ensure};
use clap::Subcommand;

use super::pool;
use crate::{config::Config, database::migrations, secrets::Secrets};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Migrate {
    /// Apply what is missing; does nothing where nothing is
    Up,
    /// Take migrations back; their tables and data are lost
    Down {
        /// Keep migrations up to this number; 0 takes all back
        #[arg(long, value_name = "VERSION")]
        to: i64,
    },
    /// Say which are applied; exit code 1 when one is missing
    Status,
}

/// Does it and prints a line for each migration.
pub async fn run(action: &Migrate, config: &Config, secrets: &Secrets) -> anyhow::Result<()> {
    let pool = pool(config, secrets)?;
    match action {
        Migrate::Up => migrations::up(&pool).await.context("migrate up")?,
        Migrate::Down { to } => migrations::down(&pool, *to).await.context("migrate down")?,
        Migrate::Status => {}
    }
    let steps = migrations::status(&pool).await.context("read the migrations")?;
    let mut out = io::stdout();
    for step in &steps {
        let state = if step.applied { "applied" } else { "missing" };
        writeln!(out, "{:04}  {state}  {}", step.version, step.description)?;
    }
    let missing = steps.iter().any(|step| !step.applied);
    ensure!(
        !missing || !matches!(action, Migrate::Status),
        "migrations are missing: run api-server migrate up"
    );
    Ok(())
}
