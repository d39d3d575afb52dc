//! Which certificate the pods of a service serve, by a handshake with each. It sends nothing else.

use std::{io, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
use witness::Witness;

use crate::{
    Context,
    cache::Key,
    error::Error,
    pki::{Fingerprint, sha256},
};

/// Connection and handshake together; a pod is near.
const LIMIT: Duration = Duration::from_secs(3);
/// Handshakes at once, so that a hundred pods that do not answer still fit into a pass.
const AT_ONCE: usize = 16;

/// Whether every ready pod serves this certificate; if not, what is waited for.
pub async fn everywhere(
    ctx: &Context,
    key: &Key,
    (host, port): (&str, u16),
    wanted: &Fingerprint,
) -> Result<Result<(), String>, Error> {
    let pods: Api<Pod> = Api::namespaced(ctx.client.clone(), &key.namespace);
    let of_service = ListParams::default().labels(&format!("{}={}", crds::SERVICE_LABEL, key.name));
    let pods = pods.list(&of_service).await?;
    let looks: Vec<_> =
        pods.into_iter().filter(is_ready).map(|pod| serves(pod, host.to_owned(), port, *wanted)).collect();
    Ok(stream::iter(looks).buffer_unordered(AT_ONCE).try_collect().await)
}

async fn serves(pod: Pod, host: String, port: u16, wanted: Fingerprint) -> Result<(), String> {
    let name = pod.name_any();
    let address = pod.status.and_then(|status| status.pod_ip).unwrap_or_default();
    match timeout(LIMIT, served(&address, port, host)).await {
        Ok(Ok(Some(found))) if found == wanted => Ok(()),
        // Without TLS it serves no certificate at all.
        Ok(Ok(None)) => Ok(()),
        Ok(Ok(Some(_))) => Err(format!("pod {name} serves another certificate")),
        Ok(Err(error)) => Err(format!("pod {name}: {error}")),
        Err(_) => Err(format!("pod {name} does not answer within {LIMIT:?}")),
    }
}

/// One that is going is no more of use to clients.
fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready =
        conditions.filter(|condition| condition.type_ == "Ready" && condition.status == "True").count();
    ready > 0 && pod.metadata.deletion_timestamp.is_none()
}

/// The certificate of a server; nothing when it does not speak TLS.
async fn served(address: &str, port: u16, host: String) -> io::Result<Option<Fingerprint>> {
    let stream = TcpStream::connect((address, port)).await?;
    let witness = Arc::new(Witness::default());
    let config = witness.config().map_err(io::Error::other)?;
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    let result = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    match (witness.chain().and_then(<[_]>::first), result) {
        // Also of a server that wants a certificate from its clients.
        (Some(found), _) => Ok(Some(sha256(found))),
        (None, Err(error)) if is_plain(&error) => Ok(None),
        (None, result) => Err(result.err().unwrap_or_else(|| io::ErrorKind::InvalidData.into())),
    }
}

fn is_plain(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::InvalidMessage(_)))
}
