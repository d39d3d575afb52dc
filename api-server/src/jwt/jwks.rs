//! Keys of another issuer, fetched from `JWKS_URI` by one task. Requests read what is there; they never fetch.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use reqwest::{Client, Response, StatusCode, Url, header::CACHE_CONTROL};
use serde::Deserialize;
use serde_json::Value;
use tokio::{sync::watch, time};

use super::{JwtError, key::PublicKey};
use crate::{config::Environment, metrics::Metrics, outbound};

/// For one fetch as a whole.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A set of 64 keys of RSA 4096 has about 60 kB.
const LONGEST: usize = 256 * 1024;
const MOST_KEYS: usize = 64;
/// How long a set counts as fresh where the answer does not say so.
const FRESH: Duration = Duration::from_mins(5);
/// What the answer may say: a revoked key must end, and nobody fetches with every request.
const SHORTEST_FRESH: Duration = Duration::from_mins(1);
const LONGEST_FRESH: Duration = Duration::from_hours(1);
/// While nothing can be fetched the last good set counts for so long, as an outage of the issuer must not be ours.
const STALE: Duration = Duration::from_hours(24);
/// Pauses between failed fetches, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// Tokens with an unknown key cause one fetch in that time: whoever makes up names must not drive us to ask.
const REFETCH_EVERY: Duration = Duration::from_secs(30);
/// A request waits for such a fetch no longer than this.
const REFETCH_WAIT: Duration = Duration::from_secs(2);

/// The keys of the last good fetch.
#[derive(Debug)]
pub struct Fetched {
    keys: Vec<PublicKey>,
    /// Not at all before the first fetch.
    until: Option<Instant>,
}

impl Fetched {
    /// The key of that name.
    pub fn find(&self, kid: &str) -> Option<&PublicKey> {
        self.find_at(kid, Instant::now())
    }

    fn find_at(&self, kid: &str, now: Instant) -> Option<&PublicKey> {
        self.until.filter(|until| now < *until)?;
        self.keys.iter().find(|key| key.kid() == kid)
    }
}

/// The last fetch that an unknown key has asked for.
#[derive(Debug, Default)]
struct Asked {
    at: Option<Instant>,
    number: u64,
}

impl Asked {
    /// The fetch that helps a request now: the last one, or another where that is long enough ago.
    fn number(&mut self, now: Instant) -> u64 {
        if self.at.is_none_or(|at| now.duration_since(at) >= REFETCH_EVERY) {
            self.at = Some(now);
            self.number += 1;
        }
        self.number
    }
}

/// Others' keys.
#[derive(Debug)]
pub struct Jwks {
    uri: Url,
    client: Client,
    fetched: ArcSwap<Fetched>,
    asked: Mutex<Asked>,
    wanted: watch::Sender<u64>,
    done: watch::Sender<u64>,
}

impl Jwks {
    /// Checks the address; nothing is fetched before `follow`.
    pub fn new(uri: &str, environment: Environment, ca_file: Option<&PathBuf>) -> Result<Self, JwtError> {
        Ok(Self {
            uri: outbound::address(uri, environment).map_err(JwtError::Uri)?,
            client: outbound::client(ca_file, TIMEOUT)?,
            fetched: ArcSwap::from_pointee(Fetched { keys: Vec::new(), until: None }),
            asked: Mutex::default(),
            wanted: watch::Sender::new(0),
            done: watch::Sender::new(0),
        })
    }

    /// The keys that count now.
    pub fn current(&self) -> Arc<Fetched> {
        self.fetched.load_full()
    }

    /// Waits for the refetch that an unknown key may cause, if there is one to wait for.
    pub async fn refetched(&self) -> bool {
        let number = self.asked.lock().unwrap_or_else(PoisonError::into_inner).number(Instant::now());
        let mut done = self.done.subscribe();
        if *done.borrow() >= number {
            return false;
        }
        self.wanted.send_if_modified(|wanted| std::mem::replace(wanted, number.max(*wanted)) < number);
        time::timeout(REFETCH_WAIT, done.wait_for(|done| *done >= number)).await.is_ok()
    }

    /// Fetches until the process ends.
    pub async fn follow(&self, metrics: &Metrics) {
        let mut wanted = self.wanted.subscribe();
        let mut failures = 0;
        loop {
            let number = *wanted.borrow_and_update();
            let pause = match self.fetch().await {
                Ok(fresh) => {
                    if failures > 0 {
                        tracing::info!("JWKS_URI answers again");
                    }
                    failures = 0;
                    fresh
                }
                Err(reason) => {
                    failures += 1;
                    if failures == 1 {
                        tracing::warn!(reason, "JWKS_URI gives no keys, the last good ones stay for 24 h");
                    }
                    pause_after(failures)
                }
            };
            metrics.jwks_fetched(failures == 0);
            self.done.send_replace(number);
            tokio::select! {
                () = time::sleep(pause) => {}
                // The sender is ours, so this ends only with a wish.
                _ = wanted.changed() => {}
            }
        }
    }

    /// One fetch; says how long the keys count as fresh.
    async fn fetch(&self) -> Result<Duration, String> {
        let answer = self.client.get(self.uri.clone()).send().await;
        let answer = answer.map_err(|e| format!("no answer: {}", kind(&e)))?;
        if answer.status() != StatusCode::OK {
            return Err(format!("status {}", answer.status().as_u16()));
        }
        let fresh = fresh(&answer);
        let body = outbound::body(answer, LONGEST).await.map_err(|e| e.to_string())?;
        let keys = keys(&body).ok_or("no JWK Set")?;
        let count = keys.len();
        self.fetched.store(Arc::new(Fetched { keys, until: Some(Instant::now() + fresh + STALE) }));
        tracing::debug!(keys = count, "fetched JWKS_URI");
        Ok(fresh)
    }
}

/// Without the text of the error, which has the address.
fn kind(error: &reqwest::Error) -> &'static str {
    match error {
        e if e.is_timeout() => "timeout",
        e if e.is_connect() => "cannot connect",
        _ => "broken",
    }
}

fn fresh(answer: &Response) -> Duration {
    let values = answer.headers().get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let age = values.flat_map(|line| line.split(',')).find_map(|directive| {
        let (name, seconds) = directive.trim().split_once('=')?;
        name.eq_ignore_ascii_case("max-age").then(|| seconds.trim_matches('"').parse().ok())?
    });
    age.map_or(FRESH, Duration::from_secs).clamp(SHORTEST_FRESH, LONGEST_FRESH)
}

fn pause_after(failures: u32) -> Duration {
    (FIRST_PAUSE * 2_u32.saturating_pow(failures.saturating_sub(1).min(8))).min(LONGEST_PAUSE)
}

/// The usable keys of a set. One that is not usable, or has a private part, says nothing of the others.
fn keys(body: &[u8]) -> Option<Vec<PublicKey>> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(body).ok()?;
    let public = set.keys.into_iter().filter(|key| key.get("d").is_none());
    let usable =
        public.filter_map(|key| PublicKey::from_jwk(serde_json::from_value(key).ok()?).ok()).take(MOST_KEYS);
    Some(usable.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fetched_over_tls_unless_it_is_a_developer_alone() {
        use Environment::{Development, Production, Staging};
        for (uri, environment, taken) in [
            ("https://id.example/keys", Production, true),
            ("http://127.0.0.1:9/keys", Development, true),
            ("http://[::1]:9/keys", Development, true),
            ("http://localhost/keys", Development, true),
            ("http://127.0.0.1:9/keys", Staging, false),
            ("http://localhost/keys", Production, false),
            ("http://id.example/keys", Development, false),
            ("http://127.0.0.1.example/keys", Development, false),
            ("https://a:b@id.example/keys", Production, false),
            ("file:///etc/keys", Development, false),
            ("keys", Development, false),
        ] {
            assert_eq!(outbound::address(uri, environment).is_ok(), taken, "{uri} {environment:?}");
        }
    }

    #[test]
    fn the_answer_says_within_bounds_how_long_it_is_fresh() {
        for (value, seconds) in [
            ("public, max-age=600", 600),
            ("Max-Age=\"120\"", 120),
            ("max-age=0", 60),
            ("max-age=31536000", 3600),
            ("max-age=99999999999999999999", 300),
            ("no-store", 300),
        ] {
            let answer = http::Response::builder().header("cache-control", value).body("").unwrap();
            assert_eq!(fresh(&answer.into()).as_secs(), seconds, "{value}");
        }
    }

    #[test]
    fn made_up_key_names_cause_one_fetch_in_30_seconds() {
        let start = Instant::now();
        let mut asked = Asked::default();
        let numbers = [0, 0, 1, 29, 30, 59, 60].map(|s| asked.number(start + Duration::from_secs(s)));
        assert_eq!(numbers, [1, 1, 1, 1, 2, 2, 3]);
    }

    #[test]
    fn keys_count_until_a_day_after_they_were_fresh() {
        let jwk = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        let now = Instant::now();
        let fetched = Fetched { keys: keys(jwk.as_bytes()).unwrap(), until: Some(now + STALE) };
        assert!(fetched.find_at("a", now).is_some());
        assert!(fetched.find_at("a", now + Duration::from_hours(23)).is_some());
        assert!(fetched.find_at("a", now + STALE).is_none());
        assert!(fetched.find_at("b", now).is_none());
    }

    #[test]
    fn a_failed_fetch_is_tried_again_ever_later() {
        assert_eq!([1, 2, 3, 6, 7, 999].map(|n| pause_after(n).as_secs()), [2, 4, 8, 60, 60, 60]);
    }

    #[test]
    fn of_a_set_only_the_public_keys_for_signatures_are_taken() {
        let x = r#""kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;
        let set = format!(
            r#"{{"keys": [7, {{}}, {{"kid": "e", {x}, "use": "enc"}}, {{"kid": "d", {x}, "d": "AA"}}, {{"kid": "a", {x}}},
                {{"kty": "oct", "kid": "h", "k": "AAAA"}}, {{"kid": "x", {x}, "alg": 7}}]}}"#
        );
        let names: Vec<_> = keys(set.as_bytes()).unwrap().iter().map(|key| key.kid().to_owned()).collect();
        assert_eq!(names, ["a"]);
        let many: Vec<_> = (0..100).map(|n| format!(r#"{{"kid": "{n}", {x}}}"#)).collect();
        assert_eq!(keys(format!(r#"{{"keys": [{}]}}"#, many.join(",")).as_bytes()).unwrap().len(), 64);
        for body in ["", "[]", "{}", r#"{"keys": {}}"#] {
            assert!(keys(body.as_bytes()).is_none(), "{body}");
        }
    }
}
