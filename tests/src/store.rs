//! What etcd itself holds, past the API server: every version of every key since a revision, as bytes. It writes nothing.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use k8s_openapi::ByteString;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;

use crate::pieces::bytes;
use crate::state::State;

/// Where Secrets are stored, and the only place where a key may be.
const SECRETS: &str = "/registry/secrets/";
/// Every key: as the first of a range and as its end.
const ALL: &str = "AA==";

/// The etcd of a running testbed, by its gateway for JSON.
#[derive(Debug)]
pub struct Store {
    address: String,
}

/// One version of one key; a deletion has no value.
#[derive(Debug, Deserialize)]
pub struct Version {
    key: ByteString,
    mod_revision: String,
    #[serde(default)]
    value: ByteString,
}

impl Version {
    fn path(&self) -> String {
        String::from_utf8_lossy(&self.key.0).into_owned()
    }
}

#[derive(Deserialize)]
struct Answer {
    header: Header,
}

#[derive(Deserialize)]
struct Header {
    revision: String,
}

#[derive(Deserialize)]
struct Watched {
    result: Events,
}

#[derive(Deserialize)]
struct Events {
    #[serde(default)]
    canceled: bool,
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    kv: Version,
}

impl Store {
    /// That of the testbed whose state this is.
    pub fn of(state: &State) -> Result<Self> {
        let url = std::fs::read_to_string(state.path("etcd.url")).context("where etcd listens")?;
        Ok(Self { address: url.trim_start_matches("http://").to_owned() })
    }

    /// The present revision of everything.
    pub async fn revision(&self) -> Result<u64> {
        let range = json!({"key": ALL, "range_end": ALL, "count_only": true});
        let mut lines = self.ask("/v3/kv/range", &range).await?;
        let answer: Answer = read(lines.next_line().await?)?;
        Ok(answer.header.revision.parse()?)
    }

    /// Every version that came after this revision, also of what was overwritten or deleted since. The API server lets
    /// etcd forget old versions after five minutes.
    pub async fn since(&self, revision: u64) -> Result<Vec<Version>> {
        let last = self.revision().await?;
        let create = json!({"create_request": {
            "key": ALL, "range_end": ALL, "start_revision": (revision + 1).to_string(),
        }});
        let mut lines = self.ask("/v3/watch", &create).await?;
        let mut seen = Vec::new();
        let mut at = revision;
        while at < last {
            let Watched { result } = read(lines.next_line().await?)?;
            ensure!(!result.canceled, "etcd has forgotten revision {revision}");
            for Event { kv } in result.events {
                at = kv.mod_revision.parse()?;
                seen.push(kv);
            }
        }
        Ok(seen)
    }

    /// Fails unless each of these keys was written below Secrets since then, and no piece of one anywhere else.
    pub async fn has_only_in_secrets(&self, revision: u64, keys: &[(&str, Vec<u8>)]) -> Result<()> {
        let pieces: Vec<_> = keys
            .iter()
            .flat_map(|(name, key)| bytes(key).into_iter().map(move |piece| (*name, piece)))
            .collect();
        let mut found = BTreeSet::new();
        for version in self.since(revision).await? {
            let (path, value) = (version.path(), version.value.0);
            let held = |piece: &[u8]| value.windows(piece.len()).any(|window| window == piece);
            let names = pieces.iter().filter(|(_, piece)| held(piece)).map(|(name, _)| *name);
            let names: BTreeSet<_> = names.collect();
            ensure!(names.is_empty() || path.starts_with(SECRETS), "{path} holds {names:?}");
            found.extend(names);
        }
        let missed: Vec<_> =
            keys.iter().map(|(name, _)| *name).filter(|name| !found.contains(name)).collect();
        ensure!(missed.is_empty(), "the search does not even find {missed:?} where they belong");
        Ok(())
    }

    /// The lines of the answer's body.
    async fn ask(&self, path: &str, body: &Value) -> Result<Lines<BufReader<TcpStream>>> {
        let mut stream = TcpStream::connect(&self.address).await?;
        let (body, host) = (body.to_string(), &self.address);
        let head = format!("POST {path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await?;
        let mut lines = BufReader::new(stream).lines();
        let status = lines.next_line().await?.unwrap_or_default();
        ensure!(status.contains(" 200 "), "etcd answers {status}");
        while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
        Ok(lines)
    }
}

fn read<T: DeserializeOwned>(line: Option<String>) -> Result<T> {
    let line = line.context("etcd ends its answer")?;
    serde_json::from_str(&line).with_context(|| format!("read {line}"))
}
