//! What encrypted columns and an audit cost the api-server's own statements: the service's own functions, on one real
//! Postgres with TLS and four databases that take turns. It prints docs/benchmarks/postgres.md; `hack/bench-postgres.sh`
//! says for which commit.
#![allow(clippy::print_stdout, reason = "this is what it is for")]

mod figures;
mod statements;

use std::{env, process::ExitCode, time::Instant};

use anyhow::{Context as _, Result, ensure};
use api_server::{database::migrations, encryption::Keys};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use testbed::postgres::{Options, Postgres};

use crate::{
    figures::Samples,
    statements::{Statement, Subject},
};

/// As a production server but for the wait for the disk at a commit: that is the same for all four, some milliseconds here,
/// and differs so much from one commit to the next that nothing else is seen beside it. `log_statement` stays off: the audit
/// takes its place.
const SETTINGS: &str = "\
fsync = on
synchronous_commit = off
full_page_writes = on
shared_buffers = 128MB
shared_preload_libraries = 'pgaudit'
log_line_prefix = '%m %d '
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
";

/// In place of pgcrypto's functions, so that the very same statements write plain bytes. Postgres writes a function of one
/// expression into the statement that calls it.
const PLAIN: &str = "\
DROP EXTENSION pgcrypto;
CREATE FUNCTION public.pgp_sym_encrypt(data text, key text, options text) RETURNS bytea
    LANGUAGE sql IMMUTABLE AS $$ SELECT pg_catalog.convert_to(data, 'UTF8') $$;
CREATE FUNCTION public.pgp_sym_encrypt_bytea(data bytea, key text, options text) RETURNS bytea
    LANGUAGE sql IMMUTABLE AS $$ SELECT data $$;
CREATE FUNCTION public.pgp_sym_decrypt(data bytea, key text) RETURNS text
    LANGUAGE sql IMMUTABLE AS $$ SELECT pg_catalog.convert_from(data, 'UTF8') $$;
CREATE FUNCTION public.pgp_sym_decrypt_bytea(data bytea, key text) RETURNS bytea
    LANGUAGE sql IMMUTABLE AS $$ SELECT data $$;
";

/// One of four databases.
struct Variant {
    name: &'static str,
    encrypted: bool,
    audited: bool,
}

impl Variant {
    fn database(&self) -> String {
        format!("bench_{}", self.name)
    }
}

/// The first is the one that the others are held against.
const VARIANTS: [Variant; 4] = [
    Variant { name: "plain", encrypted: false, audited: false },
    Variant { name: "encrypted", encrypted: true, audited: false },
    Variant { name: "audited", encrypted: false, audited: true },
    Variant { name: "both", encrypted: true, audited: true },
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let rounds = number("ROUNDS", 3000)?;
    let warm_up = number("WARM_UP", 300)?;
    // Two providers are compiled in, so one has to be chosen.
    let chosen = rustls::crypto::aws_lc_rs::default_provider().install_default();
    ensure!(chosen.is_ok(), "another TLS provider is in place");
    let postgres = Postgres::start_with(&Options {
        tls: Some(&["localhost"]),
        settings: SETTINGS,
        ..Options::default()
    })?;
    let keys = Keys::derive(&"a key for nothing but this benchmark".to_owned().into(), None)?;
    let mut subjects = Vec::new();
    for variant in &VARIANTS {
        subjects.push(Subject::prepare(database(&postgres, variant).await?, warm_up).await?);
    }
    let mut samples = Samples::new(&VARIANTS.map(|variant| variant.name));
    for round in 0..warm_up + rounds {
        for statement in Statement::ALL {
            let mut order = [0, 1, 2, 3];
            fastrand::shuffle(&mut order);
            for variant in order {
                let subject = &mut subjects[variant];
                let begun = Instant::now();
                statement.run(subject, &keys).await.with_context(|| statement.title())?;
                let took = begun.elapsed();
                if round >= warm_up {
                    samples.add(statement, variant, took);
                }
            }
        }
        if round % 500 == 0 {
            eprintln!("round {round} of {}", warm_up + rounds);
        }
    }
    check(&postgres, &subjects).await?;
    let version = postgres.sql("postgres", "SHOW server_version")?;
    let report = samples.report(rounds, warm_up, version.split(' ').next().unwrap_or_default());
    println!("{}", report.text);
    Ok(if report.within_the_bar { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn number(name: &str, default: usize) -> Result<usize> {
    env::var(name).map_or(Ok(default), |text| text.parse().context(name.to_owned()))
}

/// One connection, as one request has.
async fn database(postgres: &Postgres, variant: &Variant) -> Result<PgPool> {
    let name = variant.database();
    let url = postgres.database(&name)?;
    let certificate = postgres.ca_file();
    let options = url
        .parse::<PgConnectOptions>()?
        .ssl_mode(sqlx::postgres::PgSslMode::VerifyFull)
        .ssl_root_cert(certificate)
        .options([("search_path", "pg_catalog")]);
    let connect = || PgPoolOptions::new().max_connections(1).connect_with(options.clone());
    let pool = connect().await?;
    migrations::up(&pool).await?;
    if !variant.encrypted {
        postgres.sql(&name, PLAIN)?;
    }
    if variant.audited {
        let settings = ["pgaudit.log = 'all'", "pgaudit.log_rows = on"];
        let lines = settings.map(|setting| format!("ALTER DATABASE {name} SET {setting};"));
        postgres.sql(&name, &format!("CREATE EXTENSION pgaudit;{}", lines.concat()))?;
    }
    pool.close().await;
    // Settings of a database count for sessions of after.
    Ok(connect().await?)
}

/// Whether each of them was what its name says: figures of something else would look as good.
async fn check(postgres: &Postgres, subjects: &[Subject]) -> Result<()> {
    let log = postgres.log();
    for (variant, subject) in VARIANTS.iter().zip(subjects) {
        let clear = "SELECT count(*) FROM api.accounts WHERE position('@'::bytea IN email) > 0 AND length(email) < 40";
        let clear: i64 = sqlx::query_scalar(clear).fetch_one(&subject.pool).await?;
        ensure!((clear == 0) == variant.encrypted, "{}: {clear} addresses in clear", variant.name);
        let tls = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let tls: bool = sqlx::query_scalar(tls).fetch_one(&subject.pool).await?;
        ensure!(tls, "{}: no TLS", variant.name);
        let mark = format!(" {} LOG:  AUDIT: ", variant.database());
        let lines = log.lines().filter(|line| line.contains(&mark)).count();
        ensure!((lines > 1000) == variant.audited, "{}: {lines} lines of the audit", variant.name);
    }
    Ok(())
}
