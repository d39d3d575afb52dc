//! The migrations of `migrations/`, compiled in. They run by command, never by themselves: two replicas that start with a
//! new version must not change the tables under the old one.

use sqlx::{
    PgPool,
    migrate::{Migrate as _, MigrateError, Migrator},
};

/// The record of what was applied; it stays when everything is taken back.
const TABLE: &str = "api.migrations";

/// A migration and whether it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its number.
    pub version: i64,
    /// What it is for.
    pub description: String,
    /// Whether the database has it.
    pub applied: bool,
}

/// Applies what is missing, one transaction each.
pub async fn up(pool: &PgPool) -> Result<(), MigrateError> {
    migrator().run(pool).await
}

/// Takes back everything above `version`; 0 takes back everything.
pub async fn down(pool: &PgPool, version: i64) -> Result<(), MigrateError> {
    migrator().undo(pool, version).await
}

/// All migrations in their order.
pub async fn status(pool: &PgPool) -> Result<Vec<Step>, MigrateError> {
    let mut connection = pool.acquire().await?;
    connection.create_schema_if_not_exists("api").await?;
    connection.ensure_migrations_table(TABLE).await?;
    let applied = connection.list_applied_migrations(TABLE).await?;
    let all = migrator();
    let steps = all.iter().filter(|migration| migration.migration_type.is_up_migration());
    Ok(steps
        .map(|migration| Step {
            version: migration.version,
            description: migration.description.clone().into_owned(),
            applied: applied.iter().any(|one| one.version == migration.version),
        })
        .collect())
}

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!();
    migrator.create_schema("api");
    migrator.dangerous_set_table_name(TABLE);
    migrator
}
