//! How many logins there are, and how long a token is good.

use serde_json::json;

use super::*;
use crate::vault::fake::{self, Fake, api_server, auth, log_in, service, told};

const LOGIN: &str = "auth/kubernetes/login";
const RENEWAL: &str = "auth/token/renew-self";

/// A token of five minutes that was given so long ago.
fn aged(seconds: u64, renewable: bool) -> Arc<Token> {
    let given = Auth { token: SecretString::from("old"), seconds: 300, renewable };
    Arc::new(Token::new(given, Instant::now() - Duration::from_secs(seconds)))
}

async fn put(fake: &Fake, identity: &Identity, token: Arc<Token>) {
    fake.connection.sessions.of(identity).0.lock().await.token = Some(token);
}

fn text(token: &Token) -> String {
    use secrecy::ExposeSecret as _;
    token.secret().expose_secret().to_owned()
}

#[tokio::test]
async fn a_thousand_callers_at_once_have_one_token_by_one_login() {
    let fake = Fake::start(|_| log_in()).await;
    let (client, identity) = (api_server(None), fake.connection.identity(&service("shop")));
    let all = futures::future::join_all((0..1000).map(|_| fake.connection.token(&client, &identity, None)));
    assert!(all.await.into_iter().all(|token| token.is_ok_and(|token| text(&token) == "token-1")));
    assert_eq!(fake.count(LOGIN), 1);
    let other = fake.connection.identity(&service("other"));
    let other = fake.connection.token(&client, &other, None).await;
    assert!(other.is_ok_and(|token| text(&token) == "token-2"), "another account has one of its own");
}

#[tokio::test]
async fn a_thousand_callers_with_a_revoked_token_log_in_once() {
    let fake = Fake::start(|_| log_in()).await;
    let (client, identity) = (api_server(None), fake.connection.identity(&service("shop")));
    let refused = aged(1, true);
    put(&fake, &identity, refused.clone()).await;
    let again = (0..1000).map(|_| fake.connection.token(&client, &identity, Some(&refused)));
    let all = futures::future::join_all(again).await;
    assert!(all.into_iter().all(|token| token.is_ok_and(|token| text(&token) == "token-1")));
    assert_eq!(fake.count(LOGIN), 1);
}

#[tokio::test]
async fn a_failed_login_is_not_repeated_by_those_who_waited_for_it() {
    let fake = Fake::start(|_| (403, "{}".into())).await;
    let (client, identity) = (api_server(None), fake.connection.identity(&service("shop")));
    let all = futures::future::join_all((0..500).map(|_| fake.connection.token(&client, &identity, None)));
    for answer in all.await {
        let problem = told(answer);
        assert_eq!(problem.reason, crds::Reason::VaultLoginRefused);
        assert!(problem.message.contains("ServiceAccount team/shop (403)"), "{}", problem.message);
        assert!(
            problem.message.contains("role hardened-team-shop of auth/kubernetes"),
            "{}",
            problem.message
        );
    }
    assert_eq!(fake.count(LOGIN), 1);
    told(fake.connection.token(&client, &identity, None).await);
    assert_eq!(fake.count(LOGIN), 2, "who comes later tries again");
}

#[tokio::test]
async fn an_account_without_a_token_is_told_and_vault_is_not_asked() {
    let fake = Fake::start(|_| log_in()).await;
    let identity = fake.connection.identity(&service("shop"));
    for (code, reason, part) in [
        (404, "VaultLoginRefused", "kubectl create serviceaccount shop -n team"),
        (
            422,
            "ApiError",
            "ServiceAccount shop, with which the operator logs in to Vault: the API server answers 422",
        ),
    ] {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "quoted", "metadata": {},
            "reason": if code == 404 { "NotFound" } else { "Invalid" },
        });
        let client = api_server(Some((code, status)));
        let problem = told(fake.connection.token(&client, &identity, None).await);
        assert_eq!(problem.reason.as_str(), reason);
        assert!(problem.message.contains(part) && !problem.message.contains("quoted"), "{}", problem.message);
    }
    assert!(fake.asked().is_empty());
}

#[tokio::test]
async fn a_token_is_renewed_after_two_thirds_of_its_life_and_not_before() {
    let fake = Fake::start(|asked| match &*asked.path {
        RENEWAL => (200, auth("old", 300, true)),
        _ => log_in(),
    })
    .await;
    let (client, identity) = (api_server(None), fake.connection.identity(&service("shop")));
    for (age, renewals) in [(190, 0), (210, 1), (190, 1)] {
        put(&fake, &identity, aged(age, true)).await;
        assert!(
            fake.connection.token(&client, &identity, None).await.is_ok_and(|token| text(&token) == "old")
        );
        assert_eq!(fake.count(RENEWAL), renewals, "{age}");
    }
    // The renewed one is as young as a new one.
    put(&fake, &identity, aged(250, true)).await;
    for _ in 0..3 {
        assert!(fake.connection.token(&client, &identity, None).await.is_ok());
    }
    assert_eq!((fake.count(RENEWAL), fake.count(LOGIN)), (2, 0));
}

#[tokio::test]
async fn what_cannot_be_renewed_is_replaced_by_a_new_login() {
    let fake = Fake::start(|asked| match &*asked.path {
        RENEWAL => (403, "{}".into()),
        _ => log_in(),
    })
    .await;
    let (client, identity) = (api_server(None), fake.connection.identity(&service("shop")));
    for (number, (token, renewals)) in
        [(aged(250, false), 0), (aged(250, true), 1), (aged(301, true), 1)].into_iter().enumerate()
    {
        put(&fake, &identity, token).await;
        let wanted = format!("token-{}", number + 1);
        assert!(fake.connection.token(&client, &identity, None).await.is_ok_and(|t| text(&t) == wanted));
        assert_eq!(fake.count(RENEWAL), renewals, "{wanted}");
    }
}

#[tokio::test]
async fn a_vault_that_cannot_renew_now_is_not_asked_for_a_login() {
    let fake = Fake::start(|_| (503, "{}".into())).await;
    let (client, identity) = (api_server(None), fake.connection.identity(&service("shop")));
    put(&fake, &identity, aged(250, true)).await;
    let problem = told(fake.connection.token(&client, &identity, None).await);
    assert_eq!(problem.reason, crds::Reason::VaultUnreachable);
    assert!(problem.message.contains("answers 503: it is sealed"), "{}", problem.message);
    assert_eq!(fake.count(LOGIN), 0);
}

#[test]
fn at_its_maximal_life_a_token_is_not_renewed_for_less_and_less() {
    let token = aged(210, true);
    let given = |seconds| Auth { token: SecretString::from("old"), seconds, renewable: true };
    let now = Instant::now();
    assert!(token.renewed(given(300), now).renewable);
    let last = token.renewed(given(100), now);
    assert!(!last.renewable && last.is_young(now) && !last.is_young(now + Duration::from_secs(67)));
    let endless = Token::new(Auth { seconds: 0, ..given(0) }, now);
    assert!(endless.is_young(now + Duration::from_hours(9999)) && !endless.is_over(now));
}

#[tokio::test]
async fn what_nobody_used_for_longer_than_it_lives_is_dropped_and_what_is_in_use_is_not() {
    let sessions = Sessions::default();
    let identity = fake::connection().identity(&service("shop"));
    let (session, now) = (sessions.of(&identity), Instant::now());
    let left = || sessions.0.lock().unwrap().len();
    let mut state = session.0.lock().await;
    sessions.tidy(now);
    assert_eq!(left(), 1, "somebody logs in");
    (state.token, state.used) = (Some(aged(0, true)), Some(now));
    drop(state);
    sessions.tidy(now + Duration::from_mins(5));
    assert_eq!(left(), 1);
    sessions.tidy(now + Duration::from_secs(301));
    assert_eq!(left(), 0);
    sessions.of(&identity);
    sessions.tidy(now);
    assert_eq!(left(), 0, "one without a token");
}

#[tokio::test]
async fn at_the_end_every_token_is_given_back_and_forgotten() {
    let fake = Fake::start(|_| log_in()).await;
    let client = api_server(None);
    for name in ["shop", "other"] {
        let identity = fake.connection.identity(&service(name));
        assert!(fake.connection.token(&client, &identity, None).await.is_ok());
    }
    put(&fake, &fake.connection.identity(&service("gone")), aged(301, true)).await;
    fake.connection.end_sessions().await;
    let mut ended: Vec<_> = fake.asked().into_iter().filter(|a| a.path == "auth/token/revoke-self").collect();
    ended.sort_by(|a, b| a.token.cmp(&b.token));
    assert_eq!(ended.into_iter().map(|asked| asked.token).collect::<Vec<_>>(), ["token-1", "token-2"]);
    fake.connection.end_sessions().await;
    assert_eq!(fake.count("auth/token/revoke-self"), 2);
}
