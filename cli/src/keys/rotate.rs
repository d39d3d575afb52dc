//! `keys rotate`: asks the operator for another CA by an annotation. It makes no key itself.

use anyhow::Result;
use crds::{CA_SECRET, ROTATE_CA_ANNOTATION};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::Place;
use crate::cluster::plain;

/// Replace the CA of the services' certificates.
///
/// The operator makes the next CA, has it trusted everywhere before it signs, and drops the old one when every ready pod
/// was seen to serve a certificate of the next: no client meets a certificate that it does not trust. `keys status` shows
/// how far it is.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// The CA's key is in wrong hands: replace it now and trust the old one no more. Clients fail until they have read the
    /// new ca.crt.
    #[arg(long)]
    emergency: bool,
    #[command(flatten)]
    place: Place,
}

pub async fn run(arguments: &Arguments) -> Result<String> {
    let keys = arguments.place.keys().await?;
    keys.secret(CA_SECRET).await?;
    let how = if arguments.emergency { "emergency" } else { "overlap" };
    let patch = json!({"metadata": {"annotations": {ROTATE_CA_ANNOTATION: how}}});
    keys.secrets.patch(CA_SECRET, &PatchParams::default(), &Patch::Merge(patch)).await.map_err(plain)?;
    Ok(format!(
        "asked for another CA ({how}); the operator goes on by itself, see: kubectl hardened keys status\n"
    ))
}
