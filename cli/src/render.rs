//! `kubectl hardened render`: the children of a resource as YAML, without a cluster. It never sees a key.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Result;
use kube::ResourceExt;
use render::{Body, Child, Facts, Settings, hosts};

use crate::source;

/// Print every object that the operator makes for a HardenedService, without a cluster.
///
/// For reviews, for linters (kubeconform, kube-score, checkov) and to compare two versions of a file. Secrets appear as
/// comments, because their values exist only in the cluster. The API server checks more than this command does:
/// `kubectl apply --dry-run=server -f FILE`
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// File with one or more HardenedService resources; `-` reads the standard input.
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Namespace to render for. Default: the resource's own, else `default`.
    #[arg(short, long, value_name = "NS")]
    namespace: Option<String>,
    /// Host names that the namespace may use, as in its annotation `hardened.dev/allowed-hosts`.
    #[arg(long, value_name = "HOSTS", value_delimiter = ',')]
    allowed_hosts: Vec<String>,
    /// The operator's settings (the chart's value `settings`). Default: the chart's defaults.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<String> {
    let allowed_hosts = arguments.allowed_hosts.iter().map(|host| host.trim().to_owned()).collect();
    let facts = Facts { settings: settings(arguments)?, allowed_hosts, ..Facts::default() };
    let mut answer = String::new();
    for service in source::services(&arguments.file, arguments.namespace.as_deref())? {
        for host in hosts::denied(&service, &facts) {
            eprintln!(
                "note: {}: {host} is not in --allowed-hosts, so nothing carries it",
                service.name_any()
            );
        }
        for child in render::desired(&service, &facts).into_objects() {
            document(&mut answer, &child)?;
        }
    }
    Ok(answer)
}

fn settings(arguments: &Arguments) -> Result<Settings> {
    arguments.settings.as_deref().map_or_else(|| Ok(Settings::default()), source::settings)
}

fn document(answer: &mut String, child: &Child) -> Result<()> {
    match &child.body {
        Body::Object(object) => writeln!(answer, "---\n{}", serde_saphyr::to_string(object)?.trim_end())?,
        Body::Secret(plan) => writeln!(
            answer,
            "# Secret {} of type {} with the keys {}: its values exist only in the cluster.",
            child.name,
            plan.type_,
            plan.keys.join(", ")
        )?,
    }
    Ok(())
}
