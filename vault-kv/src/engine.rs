//! The two versions of Vault's KV engine: which one a mount has, and what their answers mean. Values are never in an error.

use std::collections::BTreeMap;

use rustify::{
    endpoint::Endpoint,
    enums::{RequestMethod, RequestType, ResponseType},
    errors::ClientError,
};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::wire::{self, Fault, Wire};

/// Where values are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The engine.
    pub mount: String,
    /// Path below it, without `data/`.
    pub path: String,
    /// Of the engine's version 2; the newest when there is none.
    pub version: Option<u64>,
}

/// A value; no Debug.
pub enum KvValue {
    /// A text, or the exact JSON text of a number or a boolean.
    Text(SecretString),
    /// Something that is none, and what.
    Unusable(&'static str),
}

/// Which version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A path holds values.
    One,
    /// A path holds versions of values.
    Two,
}

/// What a place holds; no Debug.
pub struct Content {
    /// By key.
    pub values: BTreeMap<String, KvValue>,
    /// Of the engine's version 2.
    pub version: Option<u64>,
}

/// Why there are no values; no Debug.
pub enum Lack {
    /// The engine's version could not be read.
    Mount(Fault),
    /// The mount has another engine, or none of its own.
    NoKv,
    /// A version was asked for of an engine that has none.
    Versionless,
    /// The values could not be read.
    Read(Engine, Fault),
    /// Nothing is there, or Vault does not show it.
    Absent,
    /// It is there but holds nothing.
    Empty(Option<u64>),
    /// This version was deleted, and can be brought back.
    Deleted(u64, String),
    /// This version was destroyed.
    Destroyed(u64),
}

/// `GET PATH`, with or without a version.
struct Get {
    path: String,
    version: Option<u64>,
}

impl Endpoint for Get {
    type Response = ();
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        self.path.clone()
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::GET
    }

    fn query(&self) -> Result<Option<String>, ClientError> {
        Ok(self.version.map(|version| format!("version={version}")))
    }
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: Option<T>,
}

/// Texts as they stand in the answer: a number of 30 digits stays one.
type Raw<'a> = BTreeMap<String, &'a RawValue>;

#[derive(Deserialize)]
struct Versioned<'a> {
    #[serde(borrow)]
    data: Option<Raw<'a>>,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    version: u64,
    #[serde(default)]
    destroyed: bool,
    #[serde(default)]
    deletion_time: String,
}

impl Engine {
    /// What a policy must let a role read.
    pub fn policy_path(self, Place { mount, path, .. }: &Place) -> String {
        match self {
            Self::One => format!("{mount}/{path}"),
            Self::Two => format!("{mount}/data/{path}"),
        }
    }

    /// Looks at the mount. This path is open to every token that may read anything below it; `sys/mounts` is not.
    pub async fn look(wire: &Wire<'_>, mount: &str) -> Result<Self, Lack> {
        let request = Get { path: format!("sys/internal/ui/mounts/{mount}"), version: None };
        let body = wire.ask(&request).await.map_err(Lack::Mount)?;
        engine(mount, &body)
    }

    /// Reads the place.
    pub async fn read(self, wire: &Wire<'_>, place: &Place) -> Result<Content, Lack> {
        if self == Self::One && place.version.is_some() {
            return Err(Lack::Versionless);
        }
        match wire.ask(&Get { path: self.policy_path(place), version: place.version }).await {
            Ok(body) => self.content(&body),
            Err(Fault::Status { code: 404, body }) => Err(gone(&body)),
            Err(fault) => Err(Lack::Read(self, fault)),
        }
    }

    fn content(self, body: &[u8]) -> Result<Content, Lack> {
        let foreign = |fault| Lack::Read(self, fault);
        let (raw, version) = match self {
            Self::One => (wire::parse::<Envelope<Raw<'_>>>(body).map_err(foreign)?.data, None),
            Self::Two => {
                let answer = wire::parse::<Envelope<Versioned<'_>>>(body).map_err(foreign)?.data;
                match answer {
                    Some(Versioned { data, metadata }) => (data, Some(metadata.version)),
                    None => (None, None),
                }
            }
        };
        match raw {
            Some(raw) if !raw.is_empty() => Ok(Content { values: each(raw), version }),
            _ => Err(Lack::Empty(version)),
        }
    }
}

impl Lack {
    /// Whether an engine of the other version explains it.
    pub fn may_be_of_the_other_version(&self) -> bool {
        match self {
            Self::Versionless | Self::Absent | Self::Read(_, Fault::Foreign) => true,
            Self::Read(_, fault) => matches!(fault.refusal(), Some(400 | 405)),
            _ => false,
        }
    }

    /// Whether Vault refuses the token, or what it may do.
    pub fn is_denial(&self) -> bool {
        matches!(self, Self::Mount(fault) | Self::Read(_, fault) if fault.refusal() == Some(403))
    }
}

/// What the mount says of itself.
fn engine(mount: &str, body: &[u8]) -> Result<Engine, Lack> {
    #[derive(Deserialize)]
    struct Mount {
        #[serde(default)]
        path: String,
        #[serde(rename = "type")]
        type_: String,
        options: Option<BTreeMap<String, String>>,
    }
    let answer: Envelope<Mount> = wire::parse(body).map_err(Lack::Mount)?;
    let found = answer.data.ok_or(Lack::Mount(Fault::Foreign))?;
    // A mount above it is shown as well.
    let path = found.path.trim_matches('/');
    let is_this = path == mount || path.ends_with(&format!("/{mount}"));
    if !is_this || !["kv", "generic"].contains(&&*found.type_) {
        return Err(Lack::NoKv);
    }
    let version = found.options.as_ref().and_then(|options| options.get("version"));
    Ok(if version.is_some_and(|version| version == "2") { Engine::Two } else { Engine::One })
}

/// What a 404 says: of a version that was deleted or destroyed it holds more than of one that never was.
fn gone(body: &str) -> Lack {
    let answer = wire::parse::<Envelope<Versioned<'_>>>(body.as_bytes());
    match answer.ok().and_then(|answer| answer.data) {
        Some(Versioned { metadata: Metadata { version, destroyed: true, .. }, .. }) => {
            Lack::Destroyed(version)
        }
        Some(Versioned { metadata: Metadata { version, deletion_time, .. }, .. }) => {
            Lack::Deleted(version, deletion_time)
        }
        None => Lack::Absent,
    }
}

/// The values of a JSON map, if it is one. An error of the parser would repeat the text around the fault.
pub fn values(text: &str) -> Option<BTreeMap<String, KvValue>> {
    serde_json::from_str::<Raw<'_>>(text).ok().map(each)
}

fn each(raw: Raw<'_>) -> BTreeMap<String, KvValue> {
    raw.into_iter().map(|(key, raw)| (key, value(raw))).collect()
}

fn value(raw: &RawValue) -> KvValue {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str(text).map_or(KvValue::Unusable("no text"), KvValue::Text),
        Some(b'[') => KvValue::Unusable("a list"),
        Some(b'{') => KvValue::Unusable("a map"),
        Some(b'n') => KvValue::Unusable("null"),
        _ => KvValue::Text(SecretString::from(text)),
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
