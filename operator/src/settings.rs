//! Command line and environment: the only place that reads them.

use std::{net::SocketAddr, path::PathBuf, sync::LazyLock};

use clap::{ArgAction, Args, Parser, Subcommand};
use postgres_hardening::TlsMode;

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
    /// Take this operator's finalizers off every HardenedService, so that none stays undeletable without it.
    RemoveFinalizers(RemoveFinalizers),
    /// Log in to Postgres with the addresses in files, and say what came of it: a Job tries new values that way.
    PostgresLogin(PostgresLogin),
    /// Harden a Postgres database by a plan and prove it by deed, only prove it, or take away what the plan added; a Job runs
    /// it.
    ///
    /// The exit code is 0 when everything was seen to be as it should (with --down: when all is gone), else 1. Why, stands in
    /// the result: at most 4096 bytes of JSON with the problem and its fix, what was changed, and the evidence. No value of a
    /// Secret is in it or in the log.
    HardenPostgres(HardenPostgres),
    /// Ask an HTTP address until it answers 200; the image has no shell for that.
    Check(Check),
}

/// Where `remove-finalizers` works.
#[derive(Args)]
pub struct RemoveFinalizers {
    /// Namespaces, separated by commas. Left out: all.
    #[arg(long, env = "HARDENED_NAMESPACES", value_name = "NAMES", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// Kubeconfig file. Left out: the pod's own service account, or $KUBECONFIG.
    #[arg(long, env = "HARDENED_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// What `postgres-login` tries.
#[derive(Args)]
pub struct PostgresLogin {
    /// File with an address `postgres://...`; behind a colon that with the password, where the address has none.
    #[arg(required = true, value_name = "FILE[:FILE]")]
    pub files: Vec<String>,
    /// Seconds after which the last answer counts.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub seconds: u64,
    /// Where the result is written: JSON with the value's name, the outcome, and Postgres' SQLSTATE.
    #[arg(long, value_name = "FILE", default_value = "/dev/termination-log")]
    pub result: PathBuf,
}

/// What `harden-postgres` works on.
#[derive(Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct HardenPostgres {
    /// What the database is to have: `{"extensions":[{"name":"pgcrypto"},{"name":"pgaudit"}],"audit":{"log":["all"]}}`
    #[arg(long, value_name = "JSON")]
    pub plan: String,
    /// Folder with the files of the Secret that logs in: url and perhaps password; or uri; or username and password, with
    /// host, port and dbname there or given below. To harden, it needs the right to create what the plan names
    #[arg(long, value_name = "DIR")]
    pub connection: PathBuf,
    /// Folder with the Secret of a role of few rights that verifies, on the same server and database. Left out: --connection
    #[arg(long, value_name = "DIR")]
    pub verifier: Option<PathBuf>,
    /// Name or address of the server; outranks the Secret
    #[arg(long)]
    pub host: Option<String>,
    /// Port; outranks the Secret. 5432 when neither names one
    #[arg(long)]
    pub port: Option<u16>,
    /// Name of the database; outranks the Secret, and is needed where that has `*`, as `CloudNativePG` writes for its superuser
    #[arg(long)]
    pub database: Option<String>,
    /// What TLS must be: verify-full, verify-ca or require; an address never takes from it
    #[arg(long, value_name = "MODE", default_value_t)]
    pub tls_mode: TlsMode,
    /// File with the certificate of the server's authority. Left out: the address's sslrootcert, or public authorities only
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Change nothing, only prove
    #[arg(long, conflicts_with_all = ["alter_system", "down"])]
    pub verify_only: bool,
    /// Also set what the plan needs of the whole server, by ALTER SYSTEM. The server is never restarted
    #[arg(long, conflicts_with = "down")]
    pub alter_system: bool,
    /// Take away what the plan added, unless others need it
    #[arg(long)]
    pub down: bool,
    /// Also take away what depends on the plan's extensions
    #[arg(long, requires = "down")]
    pub cascade: bool,
    /// Seconds in which whatever may be over by itself is tried again
    #[arg(long, value_name = "SECONDS", default_value_t = 90)]
    pub seconds: u64,
    /// Where the result is written
    #[arg(long, value_name = "FILE", default_value = "/dev/termination-log")]
    pub result: PathBuf,
}

/// What `check` asks.
#[derive(Args)]
pub struct Check {
    /// Address: `http://HOST:PORT/PATH`.
    pub url: String,
    /// Seconds after which the last answer counts.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub timeout: u64,
}

/// Settings of the controller.
#[derive(Args)]
pub struct Run {
    /// The operator's own namespace: its CA and HMAC keys live there.
    #[arg(long, env = "HARDENED_NAMESPACE", default_value = "hardened-system")]
    pub namespace: String,
    /// Namespaces whose services are worked on, comma-separated. Left out: all, for which the operator needs rights on
    /// the whole cluster.
    #[arg(long, env = "HARDENED_NAMESPACES", value_name = "NAMES", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// Address of /livez, /readyz and /metrics (plain HTTP).
    #[arg(long, env = "HARDENED_ADMIN_BIND", default_value = "0.0.0.0:8080")]
    pub admin_bind: SocketAddr,
    /// YAML file with the platform's settings: DNS, edge, monitoring and prober peers, tolerated annotations.
    #[arg(long, env = "HARDENED_SETTINGS", value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Kubeconfig file. Left out: the pod's own service account, or $KUBECONFIG.
    #[arg(long, env = "HARDENED_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Services that are worked on at once; those of one namespace get at most half of it.
    #[arg(long, env = "HARDENED_CONCURRENCY", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
    /// Seconds that clients get to read a changed ca.crt: so long after every service was seen with it, a new CA begins to
    /// sign, and so long after that the old one is trusted.
    #[arg(long, env = "HARDENED_CA_OVERLAP", value_name = "SECONDS", default_value_t = 600)]
    pub ca_overlap: u64,
    /// Lead only while holding the Lease hardened-operator, so that several replicas can run.
    #[arg(long, env = "HARDENED_LEADER_ELECT", default_value_t = true, action = ArgAction::Set)]
    pub leader_elect: bool,
    /// Namespace of that Lease. One for the whole cluster makes a second install stand by instead of writing against
    /// the first.
    #[arg(long, env = "HARDENED_LEASE_NAMESPACE", default_value = "kube-system")]
    pub lease_namespace: String,
    /// Name of this instance in the Lease: the pod's. The same name takes the lease over at once, so no two processes
    /// may share it. Left out: the host's name with a random suffix.
    #[arg(long = "instance", env = "HARDENED_INSTANCE", value_name = "NAME")]
    instance: Option<String>,
}

impl Run {
    /// Name of this instance.
    pub fn instance(&self) -> String {
        static RANDOM: LazyLock<String> = LazyLock::new(|| {
            let host = std::env::var("HOSTNAME").unwrap_or_else(|_| crds::MANAGER.into());
            let mut bytes = [0; 4];
            // Without random bytes the process id still tells two processes of one host apart.
            let _ = aws_lc_rs::rand::fill(&mut bytes);
            format!("{host}-{}-{}", std::process::id(), crate::pki::hex(&bytes))
        });
        self.instance.clone().unwrap_or_else(|| RANDOM.clone())
    }
}
