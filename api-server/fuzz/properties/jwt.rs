//! What holds for every token: none counts but one that the service's own key has signed, and of those exactly the ones
//! whose header and claims say what they must. The input is a header in the first line, claims in the second and something
//! in the place of the signature below; KID stands for the name of the key.

use std::{
    sync::LazyLock,
    time::{Duration, UNIX_EPOCH},
};

use api_server::{
    auth::{Role, Subject},
    config::Config,
    jwt::Jwt,
    policy::AuthSet,
    secrets::Secrets,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Parser as _;
use jsonwebtoken::{Algorithm, EncodingKey, crypto::sign};
use rcgen::{KeyPair, PKCS_ED25519};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

/// The one second in which all of it happens.
const NOW: u64 = 1_800_000_000;

#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    config: Config,
}

/// A service's keys, and those of somebody else.
struct Stage {
    runtime: Runtime,
    jwt: Jwt,
    policy: AuthSet,
    own: EncodingKey,
    other: EncodingKey,
    kid: String,
    /// A good token in its three parts.
    good: [String; 3],
}

static STAGE: LazyLock<Stage> = LazyLock::new(|| {
    let [own, other] = [(); 2].map(|()| KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("JWT_SIGNING_KEY"), &own).unwrap();
    let flags = ["", "--environment", "staging", "--secrets-dir", folder.path().to_str().unwrap()];
    let config = Flags::parse_from(flags).config;
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let (secrets, _) = runtime.block_on(Secrets::load(&config.secrets, config.environment));
    let jwt = Jwt::new(&config, &secrets).unwrap();
    let somebody = Subject { id: Uuid::from_u128(7), role: Role::Admin };
    let good = jwt.signer().unwrap().access_token(somebody, UNIX_EPOCH + Duration::from_secs(NOW)).unwrap();
    let kid = jsonwebtoken::decode_header(&good).unwrap().kid.unwrap();
    let good: Vec<_> = good.split('.').map(str::to_owned).collect();
    let [own, other] = [own, other].map(|pem| EncodingKey::from_ed_pem(pem.as_bytes()).unwrap());
    Stage {
        runtime,
        jwt,
        policy: AuthSet::new(None).unwrap(),
        own,
        other,
        kid,
        good: good.try_into().unwrap(),
    }
});

impl Stage {
    fn subject(&self, token: &str) -> Option<Subject> {
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        self.runtime.block_on(self.jwt.subject(token, &self.policy, now)).ok()
    }
}

/// Whether a token of the service's own key with this header and these claims counts.
pub fn check(input: &[u8]) -> bool {
    let stage = &*STAGE;
    let text = String::from_utf8_lossy(input).replace("KID", &stage.kid);
    let mut lines = text.splitn(3, '\n');
    let [header, claims, signature] = [(); 3].map(|()| lines.next().unwrap_or_default());
    foreign_tokens_do_not_count(stage, header, claims, signature);
    parts_of_a_good_token_do_not_help(stage, &text);
    // Also where a name stands twice or a number is odd: what counts says what it must.
    let message = message(header, claims);
    let found = stage.subject(&signed(&message, &stage.own));
    let values = serde_json::from_str(header).and_then(|header| Ok((header, serde_json::from_str(claims)?)));
    // Deeper or odder than a value may be, in a claim that is ignored.
    let Ok((header, claims)) = values else { return found.is_some() };
    assert!(found.is_none() || found == expected(stage, &header, &claims), "{message}");
    let plain = self::message(&header.to_string(), &claims.to_string());
    let token = signed(&plain, &stage.own);
    let expected = expected(stage, &header, &claims).filter(|_| token.len() <= 8192);
    assert_eq!(stage.subject(&token), expected, "{header} {claims}");
    found.is_some()
}

fn message(header: &str, claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

fn signed(message: &str, key: &EncodingKey) -> String {
    format!("{message}.{}", sign(message.as_bytes(), key, Algorithm::EdDSA).unwrap())
}

fn foreign_tokens_do_not_count(stage: &Stage, header: &str, claims: &str, signature: &str) {
    let message = message(header, claims);
    let by_public_key =
        sign(message.as_bytes(), &EncodingKey::from_secret(stage.kid.as_bytes()), Algorithm::HS256);
    for token in [
        signed(&message, &stage.other),
        format!("{message}.{}", by_public_key.unwrap()),
        format!("{message}.{signature}"),
        format!("{message}."),
        message,
    ] {
        assert_eq!(stage.subject(&token), None, "{token}");
    }
}

/// A good token with one part replaced, lengthened or cut is none.
fn parts_of_a_good_token_do_not_help(stage: &Stage, text: &str) {
    let [header, claims, signature] = &stage.good;
    let good = stage.good.join(".");
    for token in [
        text.to_owned(),
        format!("{text}.{claims}.{signature}"),
        format!("{header}.{text}.{signature}"),
        format!("{header}.{claims}.{text}"),
        format!("{header}.{claims}.{signature}{text}"),
    ] {
        assert!(token == good || stage.subject(&token).is_none(), "{token}");
    }
    assert!(stage.subject(&good).is_some());
}

/// Whom a token speaks for that our key has signed: the rules of docs/api-server.md once more.
fn expected(stage: &Stage, header: &Value, claims: &Value) -> Option<Subject> {
    let refused = ["crit", "jku", "jwk", "x5u", "x5c"];
    let named = header["alg"] == "EdDSA" && header["kid"] == *stage.kid;
    if !named || refused.iter().any(|name| header.get(name).is_some()) {
        return None;
    }
    let audience = claims["aud"] == "api-server"
        || claims["aud"]
            .as_array()
            .is_some_and(|all| all.iter().all(Value::is_string) && all.iter().any(|one| one == "api-server"));
    let (issued, ends) = (claims["iat"].as_u64()?, claims["exp"].as_u64()?);
    let begins = claims.get("nbf").map_or(Some(0), Value::as_u64)?;
    let times = issued <= NOW + 60
        && begins <= NOW + 60
        && ends.saturating_add(60) > NOW
        && ends >= issued
        && ends - issued <= 24 * 3600;
    let named = claims["iss"] == "api-server" && claims["env"] == "staging" && audience;
    let jti = claims.get("jti").is_none_or(|jti| jti.is_null() || jti.is_string());
    if !named || !times || !jti {
        return None;
    }
    let id = serde_json::from_value(claims["sub"].clone()).ok()?;
    let role = serde_json::from_value(claims["role"].clone()).ok()?;
    Some(Subject { id, role })
}
