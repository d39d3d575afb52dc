//! `kubectl hardened onboard`: opens a namespace for the operator. It writes one annotation and one RoleBinding.

mod vault;

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use crds::ALLOWED_HOSTS_ANNOTATION;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use serde_json::json;

use crate::cluster::{client, plain};
use crate::{host, source};

const BINDING: &str = "hardened-operator";
const ROLE: &str = "hardened-operator-namespace";
const RBAC: &str = "rbac.authorization.k8s.io";

/// Open a namespace for HardenedService: say which host names it may use and give the operator its rights there.
///
/// Writes the namespace's annotation `hardened.dev/allowed-hosts` and the RoleBinding `hardened-operator`, and nothing
/// when both are as asked. Needs the right to patch the namespace and to bind the ClusterRole
/// `hardened-operator-namespace`, which platform administrators have.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// The namespace; it must exist.
    #[arg(value_name = "NS")]
    namespace: String,
    /// Host names that services there may use: exact ones, or `*.SUFFIX` for one label before a suffix. `--hosts ""`
    /// allows none: services are then reached by the names of their Service only.
    #[arg(long, value_name = "HOSTS", required = true, value_delimiter = ',')]
    hosts: Vec<String>,
    /// Ask the API server what would happen, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print both objects as YAML for Git, without a cluster.
    #[arg(long, conflicts_with = "dry_run")]
    print: bool,
    /// Print as well what the admin of each Vault runs: policy and role for this namespace. FILE holds the operator's
    /// settings (the chart's value `settings`) with their vaultConnections.
    #[arg(long, value_name = "FILE")]
    vault: Option<PathBuf>,
    /// Namespace that the operator runs in.
    #[arg(long, value_name = "NS", default_value = "hardened-system")]
    operator_namespace: String,
    /// ServiceAccount that the operator runs as.
    #[arg(long, value_name = "NAME", default_value = "hardened-operator")]
    operator_service_account: String,
    /// Context of the kubeconfig. Default: the current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

pub fn run(arguments: &Arguments) -> Result<String> {
    let hosts = hosts(&arguments.hosts)?;
    let vault = match &arguments.vault {
        Some(file) => vault::commands(&arguments.namespace, &source::settings(file)?)?,
        None => String::new(),
    };
    if arguments.print {
        // Comments, so that the whole can be kept as one file.
        let comments = vault.lines().map(|line| format!("# {line}\n"));
        return Ok(print(arguments, &hosts)? + &comments.collect::<String>());
    }
    Ok(tokio::runtime::Runtime::new()?.block_on(apply(arguments, &hosts))? + &vault)
}

async fn apply(arguments: &Arguments, hosts: &str) -> Result<String> {
    let (client, _) = client(arguments.context.as_deref()).await?;
    let name = &arguments.namespace;
    let namespaces = Api::<Namespace>::all(client.clone());
    let Some(namespace) = namespaces.get_opt(name).await.map_err(plain)? else {
        bail!("the namespace {name} does not exist; make it with: kubectl create namespace {name}");
    };
    let mut answer = String::new();
    // The rights first: with the annotation the operator begins.
    let done = bind(arguments, &Api::namespaced(client, name)).await?;
    writeln!(answer, "rolebinding/{BINDING} in {name}: {done}")?;
    let done = annotate(arguments, &namespaces, &namespace, hosts).await?;
    writeln!(answer, "namespace/{name}: {done}")?;
    if arguments.dry_run {
        answer.push_str("(dry run: nothing was written)\n");
    }
    Ok(answer)
}

async fn bind(arguments: &Arguments, bindings: &Api<RoleBinding>) -> Result<&'static str> {
    let wanted = binding(arguments);
    let parameters = PostParams { dry_run: arguments.dry_run, ..PostParams::default() };
    let Some(live) = bindings.get_opt(BINDING).await.map_err(plain)? else {
        bindings.create(&parameters, &wanted).await.map_err(plain)?;
        return Ok("created");
    };
    ensure!(
        live.role_ref.kind == wanted.role_ref.kind && live.role_ref.name == wanted.role_ref.name,
        "the RoleBinding {BINDING} in {} binds {} {}, and a binding cannot change its role; delete it and try again",
        arguments.namespace,
        live.role_ref.kind,
        live.role_ref.name,
    );
    if live.subjects == wanted.subjects {
        return Ok("unchanged");
    }
    let changed = RoleBinding { subjects: wanted.subjects, ..live };
    bindings.replace(BINDING, &parameters, &changed).await.map_err(plain)?;
    Ok("subjects replaced")
}

async fn annotate(
    arguments: &Arguments,
    api: &Api<Namespace>,
    live: &Namespace,
    hosts: &str,
) -> Result<String> {
    let before = live.metadata.annotations.as_ref().and_then(|all| all.get(ALLOWED_HOSTS_ANNOTATION));
    if before.is_some_and(|value| value == hosts) {
        return Ok("unchanged".into());
    }
    let patch = json!({"metadata": {"annotations": {ALLOWED_HOSTS_ANNOTATION: hosts}}});
    let parameters = PatchParams { dry_run: arguments.dry_run, ..PatchParams::default() };
    api.patch(&arguments.namespace, &parameters, &Patch::Merge(patch)).await.map_err(plain)?;
    let was = before.map_or_else(|| "not set".into(), |value| format!("{value:?}"));
    Ok(format!("{ALLOWED_HOSTS_ANNOTATION} is {hosts:?} (was {was})"))
}

fn print(arguments: &Arguments, hosts: &str) -> Result<String> {
    let namespace = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": arguments.namespace, "annotations": {ALLOWED_HOSTS_ANNOTATION: hosts}},
    });
    let (namespace, binding) =
        (serde_saphyr::to_string(&namespace)?, serde_saphyr::to_string(&binding(arguments))?);
    Ok(format!("---\n{}\n---\n{}\n", namespace.trim_end(), binding.trim_end()))
}

fn binding(arguments: &Arguments) -> RoleBinding {
    RoleBinding {
        metadata: ObjectMeta {
            name: Some(BINDING.into()),
            namespace: Some(arguments.namespace.clone()),
            ..ObjectMeta::default()
        },
        role_ref: RoleRef { api_group: Some(RBAC.into()), kind: "ClusterRole".into(), name: ROLE.into() },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            name: arguments.operator_service_account.clone(),
            namespace: Some(arguments.operator_namespace.clone()),
            api_group: None,
        }]),
    }
}

/// The annotation's value: what the operator could not match is refused here, where somebody reads the answer.
fn hosts(given: &[String]) -> Result<String> {
    let hosts: Vec<_> = given.iter().map(|host| host.trim()).filter(|host| !host.is_empty()).collect();
    for host in &hosts {
        ensure!(
            host::is_pattern(host),
            "--hosts: {host} is neither a lower-case host name such as app.example.com nor *. and a suffix"
        );
    }
    Ok(hosts.join(","))
}
