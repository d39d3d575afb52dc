//! `keys restore`: what `keys backup` wrote, back into the cluster. Keys that are there stay unless it is forced.

use std::fmt::{Debug, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use crds::{CA_SECRET, HMAC_SECRET, KEY_IDS};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::PostParams;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Place;
use crate::cluster::plain;

/// Bring the operator's keys back from the file of `keys backup`.
///
/// What is lost is made again; what is there and the same stays; what is there and differs is an error, unless --force
/// replaces it. The operator takes a restored CA up by itself; after its HMAC key, restart it:
/// kubectl -n hardened-system rollout restart deployment hardened-operator
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// The file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace keys that differ: certificates of theirs are issued anew, and hashes of theirs restart every workload.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    place: Place,
}

/// The file as it is written.
#[derive(Deserialize)]
struct List {
    items: [Value; 3],
}

/// The file's objects.
struct Backup {
    ca: Secret,
    hmac: Secret,
    ids: ConfigMap,
}

pub async fn run(arguments: &Arguments) -> Result<String> {
    let path = &arguments.file;
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let backup = parse(&text).with_context(|| format!("{} is no backup of keys", path.display()))?;
    let keys = arguments.place.keys().await?;
    let mut plan = Vec::new();
    // All are looked at before the first is written: half of a backup would be a state that never was.
    plan.push(look(&keys.secrets, &backup.ca, |o| &o.data, arguments.force).await?);
    plan.push(look(&keys.secrets, &backup.hmac, |o| &o.data, arguments.force).await?);
    plan.push(look(&keys.ids, &backup.ids, |o| &o.data, arguments.force).await?);
    let mut answer = String::new();
    let done = [
        apply(&keys.secrets, &backup.ca, &plan[0]).await?,
        apply(&keys.secrets, &backup.hmac, &plan[1]).await?,
        apply(&keys.ids, &backup.ids, &plan[2]).await?,
    ];
    for (name, done) in [CA_SECRET, HMAC_SECRET, KEY_IDS].into_iter().zip(done) {
        writeln!(answer, "{name} in {}: {done}", keys.namespace)?;
    }
    Ok(answer)
}

/// What is to be done with an object.
enum Plan {
    Create,
    Keep,
    /// With the version that was looked at.
    Replace(Option<String>),
}

async fn look<K, D: PartialEq>(api: &Api<K>, wanted: &K, data: fn(&K) -> &D, force: bool) -> Result<Plan>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let name = wanted.name_any();
    Ok(match api.get_opt(&name).await.map_err(plain)? {
        None => Plan::Create,
        Some(live) if data(&live) == data(wanted) => Plan::Keep,
        Some(live) => {
            ensure!(force, "{name} is there and differs from the backup; --force replaces it");
            Plan::Replace(live.resource_version())
        }
    })
}

async fn apply<K>(api: &Api<K>, wanted: &K, plan: &Plan) -> Result<&'static str>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Serialize,
{
    let parameters = PostParams::default();
    match plan {
        Plan::Keep => Ok("unchanged"),
        Plan::Create => api.create(&parameters, wanted).await.map_err(plain).map(|_| "created"),
        Plan::Replace(version) => {
            let mut next = wanted.clone();
            next.meta_mut().resource_version.clone_from(version);
            api.replace(&next.name_any(), &parameters, &next).await.map_err(plain).map(|_| "replaced")
        }
    }
}

fn parse(text: &str) -> Result<Backup> {
    let List { items: [ca, hmac, ids] } = serde_saphyr::from_str(text)?;
    let backup = Backup {
        ca: serde_json::from_value(ca)?,
        hmac: serde_json::from_value(hmac)?,
        ids: serde_json::from_value(ids)?,
    };
    let names = [backup.ca.name_any(), backup.hmac.name_any(), backup.ids.name_any()];
    ensure!(names == [CA_SECRET, HMAC_SECRET, KEY_IDS], "it holds {}", names.join(", "));
    Ok(backup)
}
