//! `keys status`: which CA there is, how far its replacement is, and which services it waits for. It writes nothing.

use std::fmt::Write;

use anyhow::{Context, Result};
use crds::{CA_SECRET, CaPhase, HardenedService, ROTATE_CA_ANNOTATION};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt, api::ListParams};
use x509_parser::pem::parse_x509_pem;

use super::Place;
use crate::cluster::plain;

/// Show the CA, how far its replacement is, and the services that it waits for.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    place: Place,
}

pub async fn run(arguments: &Arguments) -> Result<String> {
    let keys = arguments.place.keys().await?;
    let secret = keys.secret(CA_SECRET).await?;
    let services: Api<HardenedService> = Api::all(keys.client.clone());
    let services = services.list(&ListParams::default()).await.map_err(plain)?;
    answer(&secret, &services.items)
}

fn answer(secret: &Secret, services: &[HardenedService]) -> Result<String> {
    let mut answer = String::new();
    writeln!(answer, "CA        {}", line(secret, "tls.crt")?)?;
    let has = |key: &str| secret.data.as_ref().is_some_and(|data| data.contains_key(key));
    let (stage, waits_in) = if has("next.crt") {
        writeln!(answer, "next      {}", line(secret, "next.crt")?)?;
        ("the next CA is published, to be trusted everywhere before it signs", CaPhase::Publish)
    } else if has("previous.crt") {
        writeln!(answer, "previous  {}", line(secret, "previous.crt")?)?;
        (
            "the CA signs, and the previous one is trusted until every pod serves a new certificate",
            CaPhase::Switch,
        )
    } else {
        let asked = secret.annotations().contains_key(ROTATE_CA_ANNOTATION);
        let idle = if asked { "another CA is asked for" } else { "no rotation" };
        writeln!(answer, "rotation  {idle}")?;
        return Ok(answer);
    };
    writeln!(answer, "rotation  {stage}")?;
    let phase = |service: &HardenedService| service.status.as_ref()?.tls.as_ref()?.phase;
    let (waiting, there): (Vec<_>, Vec<_>) =
        services.iter().filter(|s| phase(s).is_some()).partition(|s| phase(s) == Some(waits_in));
    writeln!(answer, "services  {} as far as that, {} waited for", there.len(), waiting.len())?;
    for service in waiting {
        writeln!(answer, "  {}/{}", service.namespace().unwrap_or_default(), service.name_any())?;
    }
    Ok(answer)
}

/// Serial number and life.
fn line(secret: &Secret, key: &str) -> Result<String> {
    let pem = secret
        .data
        .as_ref()
        .and_then(|data| data.get(key))
        .with_context(|| format!("secret/{CA_SECRET} has no {key}"))?;
    let (_, pem) = parse_x509_pem(&pem.0)
        .with_context(|| format!("{key} of secret/{CA_SECRET} is no certificate (PEM)"))?;
    let certificate =
        pem.parse_x509().with_context(|| format!("{key} of secret/{CA_SECRET} is no certificate"))?;
    let validity = certificate.validity();
    Ok(format!(
        "serial {}, from {} to {}",
        certificate.raw_serial_as_string().replace(':', ""),
        validity.not_before,
        validity.not_after
    ))
}
