//! The operator's CA, and while it is replaced the one that comes or the one that goes. One Secret holds all of it, so each
//! step is one PUT: whoever dies between two leaves a state that the next one goes on from. No requests, no clock.

use std::collections::BTreeMap;

use crds::{CA_SECRET, ROTATE_CA_ANNOTATION};
use k8s_openapi::{ByteString, api::core::v1::Secret, jiff::Timestamp};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    error::Error,
    pki::{Ca, Pair, new_ca},
};

const SIGNING: [&str; 2] = ["tls.crt", "tls.key"];
const NEXT: [&str; 2] = ["next.crt", "next.key"];
const PREVIOUS: &str = "previous.crt";

/// The CA that signs, and what stands beside it.
pub struct Authority {
    /// Signs certificates.
    pub ca: Ca,
    /// How far a rotation is.
    pub stage: Stage,
    request: Option<Request>,
}

/// How far a rotation is.
pub enum Stage {
    /// There is none.
    Idle,
    /// The next CA (PEM) is trusted too, before it signs anything.
    Introduced(String),
    /// The CA signs, and the previous one (PEM) is still trusted.
    Switched(String),
}

impl Stage {
    /// The name in logs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Introduced(_) => "introduced",
            Self::Switched(_) => "switched",
        }
    }
}

/// What a platform admin asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    /// Another CA, with a time in which both are trusted.
    Overlap,
    /// Another CA at once: the old one is trusted no more.
    Emergency,
}

/// The next thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make the next CA and let it be trusted.
    Introduce,
    /// Let it sign.
    Switch,
    /// Trust the previous one no more.
    Retire,
    /// Replace the CA without an overlap.
    Replace,
}

impl Step {
    /// The name in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Introduce => "the next CA is published",
            Self::Switch => "the next CA signs",
            Self::Retire => "the previous CA is trusted no more",
            Self::Replace => "emergency: the CA is replaced, and the old one is trusted no more",
        }
    }
}

impl Authority {
    /// Reads the Secret.
    pub fn of(secret: &Secret) -> Result<Self, Error> {
        let unusable = || Error::KeyUnusable(CA_SECRET);
        let read = |keys| pair(secret, keys).and_then(|pair| Ca::read(&pair)).ok_or_else(unusable);
        let stage = match (text(secret, NEXT[0]), text(secret, PREVIOUS)) {
            (Some(_), _) => Stage::Introduced(read(NEXT)?.pem),
            (None, Some(previous)) => Stage::Switched(previous),
            (None, None) => Stage::Idle,
        };
        let annotations = secret.metadata.annotations.as_ref();
        let request = annotations.and_then(|all| all.get(ROTATE_CA_ANNOTATION)).map(|value| match &**value {
            "emergency" => Request::Emergency,
            _ => Request::Overlap,
        });
        Ok(Self { ca: read(SIGNING)?, stage, request })
    }

    /// What clients should trust (PEM), the oldest first, so that the text stays when the next CA begins to sign.
    pub fn bundle(&self) -> String {
        match &self.stage {
            Stage::Idle => self.ca.pem.clone(),
            Stage::Introduced(next) => [self.ca.pem.as_str(), next].concat(),
            Stage::Switched(previous) => [previous, self.ca.pem.as_str()].concat(),
        }
    }

    /// Differs from every other state that a rotation passes through.
    pub fn epoch(&self) -> String {
        format!("{}/{}", self.ca.id, self.stage.as_str())
    }

    /// Whether two CAs are trusted.
    pub const fn is_rotating(&self) -> bool {
        !matches!(self.stage, Stage::Idle)
    }

    /// What to do now, if anything. `arrived` tells that every service is where the stage leads to. Without being asked
    /// a CA is replaced at two thirds of its life, when the longest certificate still fits into the rest.
    pub fn due(&self, arrived: bool, now: Timestamp) -> Option<Step> {
        let life = self.ca.not_after.as_second() - self.ca.not_before.as_second();
        let is_old = now.as_second() >= self.ca.not_after.as_second() - life / 3;
        match (&self.stage, self.request) {
            (_, Some(Request::Emergency)) => Some(Step::Replace),
            (Stage::Idle, Some(Request::Overlap)) => Some(Step::Introduce),
            (Stage::Idle, None) => is_old.then_some(Step::Introduce),
            (Stage::Introduced(_), _) => arrived.then_some(Step::Switch),
            (Stage::Switched(_), _) => arrived.then_some(Step::Retire),
        }
    }
}

/// The data of the first CA's Secret.
pub fn first(now: Timestamp) -> Result<BTreeMap<String, ByteString>, Error> {
    let mut data = BTreeMap::new();
    put(&mut data, SIGNING, new_ca(now)?);
    Ok(data)
}

/// The Secret after this step. A request that it answers is taken off.
pub fn after(mut secret: Secret, step: Step, now: Timestamp) -> Result<Secret, Error> {
    let data = secret.data.get_or_insert_default();
    match step {
        Step::Introduce => put(data, NEXT, new_ca(now)?),
        Step::Switch => {
            let mut take = |key| data.remove(key).ok_or(Error::KeyUnusable(CA_SECRET));
            let entries =
                [(PREVIOUS, take(SIGNING[0])?), (SIGNING[0], take(NEXT[0])?), (SIGNING[1], take(NEXT[1])?)];
            data.extend(entries.map(|(key, value)| (key.to_owned(), value)));
        }
        Step::Retire => drop(data.remove(PREVIOUS)),
        Step::Replace => {
            // Whoever stole the CA has what lay beside it.
            data.clear();
            put(data, SIGNING, new_ca(now)?);
        }
    }
    if matches!(step, Step::Introduce | Step::Replace)
        && let Some(annotations) = &mut secret.metadata.annotations
    {
        annotations.remove(ROTATE_CA_ANNOTATION);
    }
    Ok(secret)
}

fn put(data: &mut BTreeMap<String, ByteString>, [certificate, key]: [&str; 2], pair: Pair) {
    data.insert(certificate.to_owned(), ByteString(pair.certificate.into_bytes()));
    data.insert(key.to_owned(), ByteString(pair.key.expose_secret().as_bytes().to_vec()));
}

fn pair(secret: &Secret, [certificate, key]: [&str; 2]) -> Option<Pair> {
    Some(Pair { certificate: text(secret, certificate)?, key: SecretString::from(text(secret, key)?) })
}

fn text(secret: &Secret, key: &str) -> Option<String> {
    String::from_utf8(secret.data.as_ref()?.get(key)?.0.clone()).ok()
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
