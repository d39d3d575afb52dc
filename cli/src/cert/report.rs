//! What `inspect` answers, as text and as JSON. Everything that somebody else chose is cleaned before it is shown: a
//! certificate could write to the terminal.

use std::fmt::Write;

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use x509_parser::prelude::X509Certificate;

use super::algorithm::Key;
use super::minute;

/// The answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub target: String,
    /// Whether there are no findings.
    pub ok: bool,
    pub findings: Vec<Finding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    pub certificates: Vec<Certificate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_key: Option<PrivateKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: Check,
    pub problem: String,
    pub fix: String,
}

/// What was looked at, in the order in which findings are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Check {
    /// The TLS handshake came to its end.
    Handshake,
    /// Valid now.
    Expiry,
    /// The name of the server is one of the certificate's.
    Name,
    /// The key is the certificate's.
    KeyMatch,
    /// Each is signed by another here, or ends the chain.
    Chain,
    /// The leaf first, then each one's issuer.
    Order,
    /// Clients trust it.
    Trust,
    /// Clients accept kind and size of keys and signatures.
    Algorithm,
}

/// One certificate; `signed_by` is the number of another or its own, counted from 1.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    pub subject: String,
    pub issuer: String,
    pub signed_by: Option<usize>,
    pub signature_verified: bool,
    pub authority: bool,
    pub names: Vec<String>,
    pub serial: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// Whole days; negative when it has ended.
    pub days_left: i64,
    pub key: Key,
    pub signature: String,
    pub sha256: String,
}

/// What client and server agreed on.
#[derive(Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    pub address: String,
    pub version: Option<String>,
    pub cipher_suite: Option<String>,
    pub key_exchange: Option<String>,
    pub alpn: Option<String>,
    /// Why the handshake did not come to its end, after the certificates were seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The private key that belongs to it, or not; none when nobody can tell.
#[derive(Serialize)]
pub struct PrivateKey {
    pub place: String,
    pub matches: Option<bool>,
    #[serde(skip)]
    pub words: String,
}

#[derive(Serialize)]
pub struct Name {
    pub name: String,
    pub covered: bool,
}

#[derive(Serialize)]
pub struct Trust {
    pub anchors: String,
    pub trusted: bool,
}

impl Finding {
    pub fn new(check: Check, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, problem: problem.into(), fix: fix.into() }
    }
}

impl Check {
    fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Expiry => "expiry",
            Self::Name => "name",
            Self::KeyMatch => "keyMatch",
            Self::Chain => "chain",
            Self::Order => "order",
            Self::Trust => "trust",
            Self::Algorithm => "algorithm",
        }
    }
}

impl Report {
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut out = format!("{}\n", self.target);
        if let Some(connection) = &self.connection {
            writeln!(out, "connection    {}", connection.words())?;
        }
        for (index, certificate) in self.certificates.iter().enumerate() {
            certificate.write(&mut out, index + 1)?;
        }
        if let Some(key) = &self.private_key {
            writeln!(out, "private key   {}: {}", key.place, key.words)?;
        }
        if let Some(name) = &self.name {
            writeln!(
                out,
                "name          {}: {}",
                name.name,
                if name.covered { "covered" } else { "not covered" }
            )?;
        }
        match &self.trust {
            Some(trust) if trust.trusted => writeln!(out, "trust         verified by {}", trust.anchors)?,
            Some(trust) => writeln!(out, "trust         refused by {}", trust.anchors)?,
            None => writeln!(out, "trust         not checked; name the authority with --ca FILE")?,
        }
        match self.findings.len() {
            0 => writeln!(out, "\nnothing is wrong")?,
            1 => writeln!(out, "\n1 problem")?,
            count => writeln!(out, "\n{count} problems")?,
        }
        for Finding { check, problem, fix } in &self.findings {
            writeln!(out, "- {}: {problem}\n  fix: {fix}", check.as_str())?;
        }
        Ok(out)
    }
}

impl Certificate {
    fn write(&self, out: &mut String, number: usize) -> std::fmt::Result {
        let verified = if self.signature_verified { "signature verified" } else { "signature not verified" };
        let by = match self.signed_by {
            Some(by) if by == number => format!("itself, {verified}"),
            Some(by) => format!("certificate {by}, {verified}"),
            None => "not here".into(),
        };
        let names = if self.names.is_empty() { "none".into() } else { self.names.join(", ") };
        let left = match self.days_left {
            ..=-1 => "ended".into(),
            1 => "1 day left".into(),
            days => format!("{days} days left"),
        };
        writeln!(out, "certificate {number}{}", if self.authority { ", an authority" } else { "" })?;
        writeln!(out, "  subject     {}", self.subject)?;
        writeln!(out, "  issuer      {} ({by})", self.issuer)?;
        writeln!(out, "  names       {names}")?;
        let (begin, end) = (minute(self.not_before), minute(self.not_after));
        writeln!(out, "  valid       {begin} to {end}, {left}")?;
        writeln!(out, "  key         {}", self.key.words())?;
        writeln!(out, "  signature   {}", self.signature)?;
        writeln!(out, "  serial      {}", self.serial)?;
        writeln!(out, "  sha256      {}", self.sha256)
    }
}

impl Connection {
    fn words(&self) -> String {
        let alpn = self.alpn.as_ref().map(|protocol| format!("ALPN {protocol}"));
        let parts =
            [&Some(self.address.clone()), &self.version, &self.cipher_suite, &self.key_exchange, &alpn];
        parts.into_iter().flatten().cloned().collect::<Vec<_>>().join(", ")
    }
}

/// Text that somebody else chose, as an answer can carry it: no control characters, nothing that turns the direction.
pub fn shown(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || c.is_ascii_graphic() || c == ' ';
    text.chars().take(200).map(|c| if plain(c) { c } else { '?' }).collect()
}

/// `certificate 2 (CN=Example CA)`.
pub fn numbered(all: &[X509Certificate<'_>], index: usize) -> String {
    format!("certificate {} ({})", index + 1, shown(&all[index].subject().to_string()))
}

/// The last second of its life.
pub fn ends(certificate: &X509Certificate<'_>) -> Timestamp {
    Timestamp::from_second(certificate.validity().not_after.timestamp()).unwrap_or(Timestamp::MAX)
}

/// `ended on 2026-01-31 12:00 UTC, 3 days ago`.
pub fn days_ago(end: Timestamp, now: Timestamp) -> String {
    let ago = match (now.as_second() - end.as_second()) / 86_400 {
        0 => "today".into(),
        1 => "1 day ago".into(),
        days => format!("{days} days ago"),
    };
    format!("ended on {}, {ago}", minute(end))
}
