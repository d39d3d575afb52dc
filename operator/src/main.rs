//! Entry point: crypto provider, logs, then what the command line asks for.

use anyhow::anyhow;
use clap::Parser;
use operator::{Cli, Command};
use tracing_subscriber::{EnvFilter, filter::filter_fn, layer::SubscriberExt, util::SubscriberInitExt};

/// Crates that write a Vault's words, and below debug whole requests, whatever `RUST_LOG` asks for.
const SILENT: [&str; 2] = ["rustify", "vaultrs"];

/// A pass is JSON, thousands of small allocations: glibc's took a fifth of the operator's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow!("a TLS provider is installed already"))?;
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,actix_server=warn"));
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false);
    let silent = filter_fn(|event| !SILENT.iter().any(|name| event.target().starts_with(name)));
    tracing_subscriber::registry().with(filter).with(silent).with(lines).init();
    // The message of a panic may quote what it was about; the place is enough to find it.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
    }));
    match Cli::parse().command {
        Command::Run(args) => operator::run(args).await,
        Command::RemoveFinalizers(args) => operator::remove_finalizers(args).await,
        Command::PostgresLogin(args) => operator::postgres_login(args).await,
        Command::HardenPostgres(args) => operator::harden_postgres(&args).await,
        Command::Check(args) => operator::check(args).await,
    }
}
