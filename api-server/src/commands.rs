//! Commands beside serving, one file each.

pub mod account;
pub mod check_config;
pub mod migrate;
pub mod rotate_encryption_key;

use anyhow::Context as _;
use sqlx::PgPool;

use crate::{config::Config, database::Database, secrets::Secrets};

fn pool(config: &Config, secrets: &Secrets) -> anyhow::Result<PgPool> {
    let database = Database::new(secrets, config.database_max_connections)?;
    database.pool().context("DATABASE_URL is not set")
}
