//! Jobs: what clients ask for, and what workers make of it, with a real Postgres.

use serde_json::{Value, json};

use crate::{
    backed::{Backed, Client, request},
    client::Answer,
    process::wait_until,
    provider::Provider,
};

const ANSWER: &str = r#"{"choices": [{"message": {"content": "It is about cats."}}]}"#;
const AI_KEY: (&str, &str) = ("AI_API_KEY", "sk-key-of-the-service");

fn with_provider(provider: &Provider, settings: &[(&str, &str)]) -> Backed {
    Backed::with(&[&[("AI_BASE_URL", provider.url().as_str()), AI_KEY], settings].concat())
}

fn analyze(client: &Client, video: &Value) -> String {
    let answer = client.post("/analyze", &json!({ "videoId": video["id"], "question": "What is it about?" }));
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.header("location").to_owned()
}

/// The job, once it has ended.
fn ended(client: &Client, path: &str) -> Value {
    wait_until("the job's end", || {
        let job = client.get(path).json();
        ["succeeded", "failed"].contains(&job["state"].as_str().unwrap()).then_some(job)
    })
}

#[test]
fn a_question_is_answered_by_the_provider_with_the_services_key() {
    let provider = Provider::start(&[(200, ANSWER)]);
    let backed = with_provider(&provider, &[]);
    let anna = backed.account("anna@example.com", "editor");
    let job = ended(&anna, &analyze(&anna, &anna.video("Cats")));
    assert_eq!(job["result"], json!({ "text": "It is about cats.", "model": "gpt-4o-mini" }));
    let asked = &provider.asked()[0];
    assert!(asked.head.starts_with("POST /v1/chat/completions "), "{asked:?}");
    assert!(asked.head.contains("Bearer sk-key-of-the-service"), "{asked:?}");
    assert!(asked.body.contains("Cats") && asked.body.contains("What is it about?"), "{asked:?}");
}

#[test]
fn an_account_with_a_key_of_its_own_pays_for_its_own_transcription() {
    let provider = Provider::start(&[(200, r#"{"text": "miaow"}"#)]);
    let backed = with_provider(&provider, &[]);
    let anna = backed.account("anna@example.com", "editor");
    assert_eq!(anna.ask("PUT", "/provider-key", Some(&json!({ "key": "sk-key-of-anna" }))).status, 204);
    let body = json!({ "videoId": anna.video("Cats")["id"], "language": "en" });
    let path = anna.post("/transcribe", &body).header("location").to_owned();
    assert_eq!(ended(&anna, &path)["result"]["text"], "miaow");
    let asked = &provider.asked()[0];
    assert!(asked.head.starts_with("POST /v1/audio/transcriptions "), "{asked:?}");
    assert!(asked.head.contains("Bearer sk-key-of-anna"), "{asked:?}");
    assert!(asked.body.contains("https://files.example/a.mp4"), "{asked:?}");
}

#[test]
fn an_attempt_that_failed_is_made_again_and_a_refused_key_is_not() {
    let provider = Provider::start(&[(500, "{}"), (200, ANSWER)]);
    let backed = with_provider(&provider, &[]);
    let anna = backed.account("anna@example.com", "editor");
    let job = ended(&anna, &analyze(&anna, &anna.video("Cats")));
    assert_eq!((&job["state"], &job["attempts"]), (&json!("succeeded"), &json!(2)));

    let provider = Provider::start(&[(401, r#"{"error": "bad key sk-key-of-the-service"}"#)]);
    let replica = with_provider(&provider, &[]);
    let anna = replica.account("anna@example.com", "editor");
    let job = ended(&anna, &analyze(&anna, &anna.video("Cats")));
    assert_eq!((&job["state"], &job["attempts"]), (&json!("failed"), &json!(1)));
    assert_eq!(job["error"], "The provider refuses the key.");
}

#[test]
fn a_job_whose_worker_is_killed_is_done_by_another() {
    let silent = Provider::start(&[(0, "")]);
    let lease = ("JOB_LEASE", "4");
    let mut backed = with_provider(&silent, &[lease]);
    let anna = backed.account("anna@example.com", "editor");
    let path = analyze(&anna, &anna.video("Cats"));
    wait_until("the provider to be asked", || (!silent.asked().is_empty()).then_some(()));
    backed.service.kill();
    let provider = Provider::start(&[(200, ANSWER)]);
    let replica = backed.replica(&[("AI_BASE_URL", &provider.url()), AI_KEY, lease]);
    let root = backed.account_at(replica.api, "root@example.com", "admin");
    let job = ended(&root, &path);
    assert_eq!((&job["state"], &job["attempts"]), (&json!("succeeded"), &json!(2)));
}

#[test]
fn two_replicas_do_each_job_once() {
    let provider = Provider::start(&[(200, ANSWER)]);
    let backed = with_provider(&provider, &[]);
    let _replica = backed.replica(&[("AI_BASE_URL", &provider.url()), AI_KEY]);
    let anna = backed.account("anna@example.com", "editor");
    let video = anna.video("Cats");
    let jobs: Vec<_> = (0..20).map(|_| analyze(&anna, &video)).collect();
    for job in &jobs {
        assert_eq!(ended(&anna, job)["attempts"], 1);
    }
    assert_eq!(provider.asked().len(), jobs.len());
}

#[test]
fn a_scheduled_video_is_published_at_its_time_and_not_before() {
    let backed = Backed::start();
    let anna = backed.account("anna@example.com", "editor");
    let video = anna.video("Cats");
    let schedule = |at: &str| anna.post("/schedule", &json!({ "videoId": video["id"], "publishAt": at }));
    let later = schedule(&format!("{}-01-01T00:00:00Z", 2027)).header("location").to_owned();
    let now = schedule("2020-01-01T00:00:00Z").header("location").to_owned();
    assert_eq!(ended(&anna, &now)["state"], "succeeded");
    assert_eq!(anna.get(&format!("/videos/{}", video["id"].as_str().unwrap())).json()["status"], "published");
    assert_eq!(anna.get(&later).json()["state"], "queued");
    assert_eq!(schedule("tomorrow").status, 400);
}

#[test]
fn a_job_is_its_owners_and_is_removed_for_good() {
    let provider = Provider::start(&[(0, "")]);
    let backed = with_provider(&provider, &[]);
    let [anna, bert] = ["anna", "bert"].map(|name| backed.account(&format!("{name}@example.com"), "editor"));
    let path = analyze(&anna, &anna.video("Cats"));
    assert_eq!(bert.get(&path).status, 404);
    assert_eq!(bert.ask("DELETE", &path, None).status, 404);
    assert_eq!(anna.ask("DELETE", &path, None).status, 204);
    assert_eq!(anna.get(&path).status, 404);
}

#[test]
fn a_request_that_is_sent_again_with_its_key_makes_no_second_job() {
    let backed = Backed::start();
    let anna = backed.account("anna@example.com", "editor");
    let video = anna.video("Cats");
    let send = |key: &str, video: &Value| -> Answer {
        let headers = format!("authorization: Bearer {}\r\nidempotency-key: {key}\r\n", anna.access);
        let body = json!({ "videoId": video["id"], "publishAt": "2020-01-01T00:00:00Z" });
        request(anna.api, "POST", "/schedule", &headers, Some(&body))
    };
    let first = send("k1", &video).json();
    assert_eq!(send("k1", &video).json()["id"], first["id"]);
    assert_ne!(send("k2", &video).json()["id"], first["id"]);
    assert_eq!(send("k1", &anna.video("Dogs")).status, 409);
    assert_eq!(send(&"k".repeat(129), &video).status, 400);
}

#[test]
fn without_a_provider_the_routes_that_need_one_name_it() {
    let backed = Backed::start();
    let anna = backed.account("anna@example.com", "editor");
    let video = anna.video("Cats");
    for (path, body) in [
        ("/analyze", json!({ "videoId": video["id"], "question": "?" })),
        ("/transcribe", json!({ "videoId": video["id"] })),
    ] {
        let answer = anna.post(path, &body);
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("AI_BASE_URL"), "{answer:?}");
    }
}
