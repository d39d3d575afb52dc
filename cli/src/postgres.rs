//! `kubectl hardened postgres-init`: what a new Postgres needs to be hardened from its first start, as text. It asks no
//! server.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use postgres_hardening::{
    Audit, AuditClass, Extension, Plan, Scope, WantedExtension, init_sql, server_settings,
};

use crate::source;

/// Print what makes a new Postgres hardened from its first start: an init script, or the settings of the server.
///
/// For docker-compose: mount `sql` into /docker-entrypoint-initdb.d, and give the lines of `conf` to the server, each as
/// `-c NAME=VALUE`; the image must have pgaudit (Debian: postgresql-NN-pgaudit). `kubectl hardened verify db` then proves it.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Which of the two.
    #[arg(value_enum)]
    part: Part,
    #[command(flatten)]
    plan: WhichPlan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// SQL that a superuser runs once in the new database.
    Sql,
    /// Lines of postgresql.conf.
    Conf,
}

/// What a database is to have.
#[derive(clap::Args)]
pub struct WhichPlan {
    /// YAML with `extensions` and `audit`; `-` reads the standard input. Default: pgcrypto and pgaudit, which writes down
    /// every statement with its rows and every connection
    #[arg(long = "plan", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl WhichPlan {
    /// Checked.
    pub fn read(&self) -> Result<Plan> {
        let plan = self.file.as_deref().map_or_else(|| Ok(usual()), of_file)?;
        plan.check()?;
        Ok(plan)
    }
}

fn of_file(file: &Path) -> Result<Plan> {
    let text = source::read(file)?;
    serde_saphyr::from_str(&text)
        .map_err(|error| anyhow::anyhow!("{}", error.to_string().trim_start_matches("error: ")))
        .with_context(|| format!("{} holds no plan (extensions, audit)", file.display()))
}

fn usual() -> Plan {
    let extension = |name| WantedExtension { name, version: None, schema: None };
    Plan {
        extensions: [Extension::Pgcrypto, Extension::Pgaudit].map(extension).into(),
        audit: Some(Audit {
            log: vec![AuditClass::All],
            rows: true,
            parameters: false,
            connections: true,
            role: None,
            scope: Scope::Database,
        }),
    }
}

pub fn run(arguments: &Arguments) -> Result<String> {
    let plan = arguments.plan.read()?;
    if arguments.part == Part::Sql {
        return Ok(init_sql(&plan)?);
    }
    let mut answer = String::new();
    for (name, value) in server_settings(&plan)? {
        writeln!(answer, "{name} = {value}")?;
    }
    Ok(answer)
}
