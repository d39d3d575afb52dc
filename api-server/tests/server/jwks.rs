//! Keys of another issuer: fetched once for all, kept through its outages, gone when it takes them back.

use std::{sync::Arc, thread};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use serde_json::{Value, json};

use crate::{
    client::{ask, get},
    issuer::{Answer, Issuer, set},
    process::{Service, policy, wait_until},
    tokens::{Key, claims, with},
};

const POLICY: &str = r#"{"version": 1, "auth": {"jwt": {"issuer": "https://id.example", "audiences": ["videos", "api"],
    "roles": [{"path": {"value": "/"}, "anyOf": ["viewer"]}]}}}"#;

fn start(settings: &[(&str, &str)]) -> (Service, tempfile::NamedTempFile) {
    let file = policy(POLICY);
    let own = [("POLICY_FILE", file.path().to_str().unwrap()), ("RUST_LOG", "debug")];
    (Service::start(&[&own[..], settings].concat()), file)
}

/// A service that has fetched its first keys, without a request that made it do so.
fn fetched(settings: &[(&str, &str)]) -> (Service, tempfile::NamedTempFile) {
    let started = start(settings);
    started.0.wait_for_log(|line| line["message"] == "fetched JWKS_URI");
    started
}

fn foreign() -> Value {
    with(&with(&claims("viewer"), "iss", "https://id.example"), "aud", "api")
}

fn status(service: &Service, token: &str) -> u16 {
    ask(service.api, "GET /", &format!("authorization: Bearer {token}\r\n")).status
}

fn believed(service: &Service, key: &Key) -> bool {
    status(service, &key.token(&foreign())) == 200
}

#[test]
fn tokens_of_both_algorithms_are_believed_and_neither_issuer_speaks_for_the_other() {
    let (ed, rsa, own) = (Key::ed25519("ed"), Key::rsa("rsa"), Key::ed25519(""));
    let issuer = Issuer::start(Answer::Keys(set(&[&ed, &rsa])), None);
    let (service, _file) = fetched(&[("JWKS_URI", &issuer.uri()), ("JWT_SIGNING_KEY", &own.pem)]);
    assert!(believed(&service, &ed));
    assert!(believed(&service, &rsa));
    let published = get(service.api, "/.well-known/jwks.json").json();
    assert_eq!(published["keys"].as_array().unwrap().len(), 1, "others' keys are not ours");
    let own = Key { kid: published["keys"][0]["kid"].as_str().unwrap().into(), ..own };
    assert_eq!(status(&service, &own.token(&claims("viewer"))), 200);
    assert_eq!(status(&service, &own.token(&foreign())), 401, "our key for their issuer");
    assert_eq!(status(&service, &ed.token(&claims("viewer"))), 401, "their key for our issuer");
    let hijack = Key { kid: own.kid.clone(), ..Key::ed25519("") };
    issuer.now(Answer::Keys(set(&[&hijack])));
    assert_eq!(status(&service, &hijack.token(&claims("viewer"))), 401, "their key under our name");
    let crossed = ed.sign(&json!({"alg": "EdDSA", "kid": "rsa"}).to_string(), &foreign().to_string());
    assert_eq!(status(&service, &crossed), 401, "the algorithm is the key's");
}

#[test]
fn a_new_key_counts_at_once_and_one_that_was_taken_back_no_more() {
    let (old, new) = (Key::ed25519("old"), Key::ed25519("new"));
    let issuer = Issuer::start(Answer::Keys(set(&[&old])), None);
    let (service, _file) = fetched(&[("JWKS_URI", &issuer.uri())]);
    assert!(believed(&service, &old));
    issuer.now(Answer::Keys(set(&[&new])));
    assert!(believed(&service, &old), "cached");
    assert!(believed(&service, &new));
    assert!(!believed(&service, &old));
}

#[test]
fn many_made_up_names_at_once_cause_one_fetch() {
    let key = Key::ed25519("good");
    let issuer = Issuer::start(Answer::Keys(set(&[&key])), None);
    let (service, _file) = fetched(&[("JWKS_URI", &issuer.uri()), ("WORKERS", "4")]);
    thread::scope(|scope| {
        for n in 0..40 {
            let (key, service) = (&key, &service);
            scope.spawn(move || {
                let header = json!({"alg": "EdDSA", "kid": format!("made-up-{n}")});
                assert_eq!(status(service, &key.sign(&header.to_string(), &foreign().to_string())), 401);
            });
        }
    });
    assert_eq!(issuer.asked(), 2);
    assert!(believed(&service, &key));
}

#[test]
fn no_failure_of_the_issuer_takes_the_keys_away_or_brings_others() {
    let (good, evil) = (Key::ed25519("good"), Key::ed25519("evil"));
    let both = set(&[&good, &evil]);
    for failure in [
        Answer::Down,
        Answer::Error,
        Answer::Garbage,
        Answer::Redirect(both.clone()),
        Answer::Huge(both),
        Answer::Slow,
    ] {
        let issuer = Issuer::start(Answer::Keys(set(&[&good])), None);
        let (service, _file) = fetched(&[("JWKS_URI", &issuer.uri())]);
        let before = issuer.asked();
        issuer.now(failure);
        assert!(!believed(&service, &evil));
        wait_until("the refetch", || (issuer.asked() > before).then_some(()));
        assert!(believed(&service, &good), "stale while error");
        assert!(!believed(&service, &evil));
    }
}

#[test]
fn an_issuer_that_is_down_at_the_start_counts_when_it_is_back() {
    let key = Key::ed25519("good");
    let issuer = Issuer::start(Answer::Down, None);
    let (service, _file) = start(&[("JWKS_URI", &issuer.uri())]);
    assert!(!believed(&service, &key));
    assert_eq!(get(service.api, "/readyz").status, 200, "it takes no replica out");
    issuer.now(Answer::Keys(set(&[&key])));
    wait_until("the keys", || believed(&service, &key).then_some(()));
    let metrics = get(service.metrics, "/metrics").body;
    assert!(metrics.contains("jwks_fetches_total{result=\"failed\"}"), "{metrics}");
}

#[test]
fn over_tls_the_keys_are_believed_only_from_a_server_that_a_root_vouches_for() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let leaf = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&leaf, &ca).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(leaf.serialize_der()).unwrap(),
        )
        .unwrap();
    let key = Key::ed25519("good");
    let issuer = Issuer::start(Answer::Keys(set(&[&key])), Some(Arc::new(tls)));
    let uri = format!("https://localhost:{}/keys", issuer.address.port());
    let roots = policy(&ca.pem());
    let (trusting, _file) = fetched(&[("JWKS_URI", &uri), ("JWKS_CA_FILE", roots.path().to_str().unwrap())]);
    assert!(believed(&trusting, &key));
    let (other, _file) = start(&[("JWKS_URI", &uri)]);
    other.wait_for_log(|line| line["message"].as_str().is_some_and(|m| m.contains("JWKS_URI")));
    assert!(!believed(&other, &key));
}
