//! `kubectl hardened cert --out DIR`: a self-signed certificate for a server. It never prints the key.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    RsaKeySize, SerialNumber,
};
use secrecy::SecretString;
use time::OffsetDateTime;

use super::{files, fingerprint, minute, names};

/// notBefore lies this far back, for clients whose clock is slow.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);
/// A user is told after this time that the command is still at work.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
// The group would be called as that of the command around it.
#[group(skip)]
pub struct Arguments {
    /// Folder for cert.pem and key.pem; it is made, with mode 0700, when it is missing.
    #[arg(long, value_name = "DIR", required = true)]
    out: Option<PathBuf>,
    /// Host names and addresses of the server, repeated or with commas: exact names, `*.SUFFIX` for one label before a
    /// suffix, IPv4 or IPv6. openssl, curl and rustls match a `*` only before two labels: `*.localhost` is for others.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    #[arg(default_values = ["localhost", "*.localhost", "127.0.0.1"])]
    san: Vec<String>,
    /// Kind of the key. Most browsers refuse ed25519.
    #[arg(long, value_enum, value_name = "KIND", default_value = "rsa-4096")]
    key: Kind,
    /// Days that the certificate lives. Apple's systems refuse more than 825.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=825))]
    days: u16,
    /// Replace cert.pem and key.pem when they exist.
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    #[value(name = "rsa-2048")]
    Rsa2048,
    #[value(name = "rsa-3072")]
    Rsa3072,
    #[value(name = "rsa-4096")]
    Rsa4096,
    #[value(name = "ecdsa-p256")]
    EcdsaP256,
    #[value(name = "ecdsa-p384")]
    EcdsaP384,
    #[value(name = "ed25519")]
    Ed25519,
}

pub fn run(arguments: &Arguments, now: Timestamp) -> Result<String> {
    let folder = arguments.out.as_deref().context("--out is missing")?;
    let names = names::names(&arguments.san)?;
    let files = files::Files::below(folder);
    // Before the seconds that a key takes.
    if !arguments.force {
        files.must_be_absent()?;
    }
    let key = patiently(arguments.key)?;
    let (not_before, not_after) = life(arguments.days, now)?;
    let certificate =
        params(&names, not_before, not_after)?.self_signed(&key).context("sign the certificate")?;
    files.write(&certificate.pem(), &SecretString::from(key.serialize_pem()), arguments.force)?;

    let mut answer = String::new();
    writeln!(answer, "wrote {}", files.certificate.display())?;
    writeln!(answer, "wrote {} (mode 0600)", files.key.display())?;
    writeln!(answer, "names   {}", names.join(", "))?;
    writeln!(answer, "ends    {}", minute(not_after))?;
    writeln!(answer, "sha256  {}", fingerprint(certificate.der()))?;
    Ok(answer)
}

/// The key; a line says when it takes long.
fn patiently(kind: Kind) -> Result<KeyPair> {
    let (done, key) = channel();
    // Nobody listens any more only when the process ends.
    std::thread::spawn(move || drop(done.send(new_key(kind))));
    let key = match key.recv_timeout(PATIENCE) {
        Err(RecvTimeoutError::Timeout) => {
            eprintln!("note: making the key; one of RSA takes some seconds");
            key.recv().ok()
        }
        other => other.ok(),
    };
    key.context("the thread that makes the key ended")?.context("make the key")
}

fn new_key(kind: Kind) -> Result<KeyPair, rcgen::Error> {
    let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
    match kind {
        Kind::Rsa2048 => rsa(RsaKeySize::_2048),
        Kind::Rsa3072 => rsa(RsaKeySize::_3072),
        Kind::Rsa4096 => rsa(RsaKeySize::_4096),
        Kind::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        Kind::EcdsaP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        Kind::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519),
    }
}

/// Exactly so many days: the last second is within, and Apple's systems count from notBefore to it.
fn life(days: u16, now: Timestamp) -> Result<(Timestamp, Timestamp)> {
    let not_before = now.checked_sub(BACKDATE)?;
    let not_after = not_before.checked_add(SignedDuration::from_hours(24 * i64::from(days)))?;
    Ok((not_before, not_after.checked_sub(SignedDuration::from_secs(1))?))
}

fn params(names: &[String], not_before: Timestamp, not_after: Timestamp) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names).context("the names")?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, names::common_name(names));
    // No authority: with CA:TRUE its key could sign for every name, and rustls refuses an authority as a server.
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Clients that trust several certificates of one name tell them apart by it.
    params.use_authority_key_identifier_extension = true;
    params.not_before = OffsetDateTime::from_unix_timestamp(not_before.as_second())?;
    params.not_after = OffsetDateTime::from_unix_timestamp(not_after.as_second())?;
    params.serial_number = Some(serial()?);
    Ok(params)
}

/// 127 bits, positive in DER and unpredictable (CA/Browser Forum Baseline Requirements 7.1).
fn serial() -> Result<SerialNumber> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).ok().context("no random bytes from the operating system")?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

#[cfg(test)]
#[path = "generate_tests.rs"]
mod tests;
