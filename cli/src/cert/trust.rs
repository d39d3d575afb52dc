//! What a TLS client says to a chain: whether it trusts it, and whether it is this server's. Pure; the time is a parameter.

use k8s_openapi::jiff::Timestamp;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::chain::{Chain, signed};
use super::material::Anchors;
use super::report::{Check, Finding, days_ago, ends, shown};

/// Whether a client that trusts the anchors trusts the chain, and the finding when it does not. A leaf that has ended is
/// judged as in its life, because its end would hide everything else; ends are findings of their own.
pub fn trust(chain: &Chain<'_>, anchors: &Anchors, now: Timestamp) -> (bool, Option<Finding>) {
    let der = |index: &usize| CertificateDer::from(chain.certificates[*index].as_raw());
    let leaf = der(&chain.path[0]);
    let others = (0..chain.certificates.len()).filter(|index| *index != chain.path[0]);
    let intermediates: Vec<_> = others.map(|index| der(&index)).collect();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(anchors.certificates.iter().cloned());
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms.all;
    let now = unix(within_life(chain.leaf(), now));
    let verified = ParsedCertificate::try_from(&leaf).and_then(|leaf| {
        verify_server_cert_signed_by_trust_anchor(&leaf, &roots, &intermediates, now, algorithms)
    });
    let Err(error) = verified else { return (true, None) };
    let finding = (!is_of_time(&error)).then(|| {
        let (problem, fix) = words(&error, chain, &anchors.place);
        Finding::new(Check::Trust, problem, fix)
    });
    (false, finding)
}

/// Anchors live as well: rustls does not look at it, openssl does.
pub fn expired_anchor(chain: &Chain<'_>, anchors: &Anchors, now: Timestamp) -> Option<Finding> {
    let last = &chain.certificates[chain.path[chain.path.len() - 1]];
    let parsed = anchors.certificates.iter().filter_map(|der| X509Certificate::from_der(der).ok());
    let above = parsed.map(|(_, anchor)| anchor).filter(|anchor| signed(last, anchor).is_some());
    let latest = above.max_by_key(ends)?;
    // An anchor that the chain holds is judged with it.
    let known = chain.certificates.iter().any(|certificate| certificate.as_raw() == latest.as_raw());
    if known || now <= ends(&latest) {
        return None;
    }
    let who = shown(&latest.subject().to_string());
    let problem = format!("{who} in {} {}", anchors.place, days_ago(ends(&latest), now));
    Some(Finding::new(
        Check::Expiry,
        problem,
        "renew the authority, and give its new certificate to the clients",
    ))
}

/// Whether the leaf is for this server.
pub fn name(chain: &Chain<'_>, name: &ServerName<'_>) -> Option<Finding> {
    let leaf = CertificateDer::from(chain.leaf().as_raw());
    let error = ParsedCertificate::try_from(&leaf).and_then(|leaf| verify_server_name(&leaf, name)).err()?;
    let name = name.to_str();
    let problem = match error {
        Error::InvalidCertificate(CertificateError::BadEncoding) => {
            format!("clients cannot read the certificate, so that it covers no {name}")
        }
        _ => format!("the certificate does not cover {name}"),
    };
    let fix =
        format!("have it issued with {name} as subjectAltName, or reach the server by a name that it covers");
    Some(Finding::new(Check::Name, problem, fix))
}

fn within_life(leaf: &X509Certificate<'_>, now: Timestamp) -> Timestamp {
    let begin = leaf.validity().not_before.timestamp();
    let begin = Timestamp::from_second(begin).unwrap_or(Timestamp::MIN);
    now.max(begin).min(ends(leaf))
}

fn unix(time: Timestamp) -> UnixTime {
    let seconds = u64::try_from(time.as_second()).unwrap_or_default();
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
}

fn is_of_time(error: &Error) -> bool {
    use CertificateError as E;
    let Error::InvalidCertificate(error) = error else { return false };
    matches!(error, E::Expired | E::ExpiredContext { .. } | E::NotValidYet | E::NotValidYetContext { .. })
}

/// Problem and fix in the place of the library's words for programs.
fn words(error: &Error, chain: &Chain<'_>, place: &str) -> (String, &'static str) {
    use CertificateError as E;
    let anew = "have it issued anew";
    if chain.leaf().is_ca() {
        return (
            "the certificate of the server is an authority's (CA:TRUE), which clients refuse".into(),
            "have a leaf issued (with openssl req -x509: -addext basicConstraints=critical,CA:FALSE)",
        );
    }
    let Error::InvalidCertificate(error) = error else {
        return (format!("clients refuse the chain: {error}"), anew);
    };
    let itself = chain.links[chain.path[0]].is_some_and(|link| link.by == chain.path[0]);
    match error {
        E::UnknownIssuer | E::BadSignature if itself => (
            format!("the certificate is signed by itself, and is none of {place}"),
            "name it with --ca FILE where it is to be trusted, or have one issued by an authority",
        ),
        E::UnknownIssuer => (
            format!("the chain does not lead to a certificate of {place}"),
            "serve the certificates between the two as well, or name the authority with --ca FILE",
        ),
        E::BadSignature => (
            format!(
                "a signature is of another key than the issuer of that name has, in the chain or in {place}"
            ),
            "the authority may have a new key: use its certificate that signed this one, or have it issued anew",
        ),
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            ("the certificate is not for a TLS server (extendedKeyUsage lacks serverAuth)".into(), anew)
        }
        E::BadEncoding => ("clients cannot read a certificate of the chain".into(), anew),
        E::UnhandledCriticalExtension => ("clients do not know a critical extension".into(), anew),
        E::Other(other) => (format!("clients refuse the chain: {other}"), anew),
        // The long ones list bytes.
        _ => ("clients refuse the kind of a key or signature in the chain".into(), anew),
    }
}

#[cfg(test)]
#[path = "trust_tests.rs"]
mod tests;
