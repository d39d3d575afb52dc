//! Command line and environment: the only place that reads them.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

/// The HardenedService operator and everything else that its image runs.
#[derive(Parser)]
#[command(version, about)]
pub struct Cli {
    /// What to run.
    #[command(subcommand)]
    pub command: Command,
}

/// What the image can run.
#[derive(Subcommand)]
pub enum Command {
    /// Watch HardenedServices and keep their children as they should be, until SIGTERM.
    Run(Run),
}

/// Settings of the controller.
#[derive(Args)]
pub struct Run {
    /// The operator's own namespace: its CA and HMAC keys live there.
    #[arg(long, env = "HARDENED_NAMESPACE", default_value = "hardened-system")]
    pub namespace: String,
    /// Address of /livez, /readyz and /metrics (plain HTTP).
    #[arg(long, env = "HARDENED_ADMIN_BIND", default_value = "0.0.0.0:8080")]
    pub admin_bind: SocketAddr,
    /// YAML file with the platform's settings: DNS, edge, monitoring and prober peers, tolerated annotations.
    #[arg(long, env = "HARDENED_SETTINGS", value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Kubeconfig file. Left out: the pod's own service account, or $KUBECONFIG.
    #[arg(long, env = "HARDENED_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Services that are worked on at once.
    #[arg(long, env = "HARDENED_CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
}
