//! Videos over real sockets and a real Postgres.

use serde_json::{Value, json};

use crate::backed::{Backed, Client};

fn titles(client: &Client, query: &str) -> (Vec<String>, Option<String>) {
    let answer = client.get(&format!("/videos{query}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let page = answer.json();
    let items = page["items"].as_array().unwrap().iter();
    (
        items.map(|video| video["title"].as_str().unwrap().to_owned()).collect(),
        page["next"].as_str().map(str::to_owned),
    )
}

#[test]
fn pages_along_a_cursor_hold_each_video_once_newest_first() {
    let backed = Backed::start();
    let anna = backed.account("anna@example.com", "editor");
    for number in 1..=5 {
        anna.video(&format!("video {number}"));
    }
    let (first, next) = titles(&anna, "?limit=2");
    assert_eq!(first, ["video 5", "video 4"]);
    anna.video("one more, which moves nothing");
    let (second, next) = titles(&anna, &format!("?limit=2&cursor={}", next.unwrap()));
    assert_eq!(second, ["video 3", "video 2"]);
    let (last, next) = titles(&anna, &format!("?limit=2&cursor={}", next.unwrap()));
    assert_eq!((last, next), (vec!["video 1".to_owned()], None));
}

#[test]
fn a_filter_finds_by_status_and_by_text_as_it_stands() {
    let backed = Backed::start();
    let anna = backed.account("anna@example.com", "editor");
    anna.video("100 % cats");
    let dogs = json!({ "title": "100 DOGS", "url": "https://files.example/d.mp4", "status": "published" });
    assert_eq!(anna.post("/videos", &dogs).status, 201);
    assert_eq!(titles(&anna, "?status=published").0, ["100 DOGS"]);
    assert_eq!(titles(&anna, "?title=dogs").0, ["100 DOGS"]);
    assert_eq!(titles(&anna, "?title=100%20%25").0, ["100 % cats"], "a percent sign is no wildcard");
    assert_eq!(titles(&anna, "?title=_").0, Vec::<String>::new());
}

#[test]
fn a_video_is_made_read_replaced_and_removed() {
    let backed = Backed::start();
    let (anna, admin) =
        (backed.account("anna@example.com", "editor"), backed.account("root@example.com", "admin"));
    let made = anna.post("/videos", &json!({ "title": "a", "url": "https://files.example/a.mp4" }));
    let path = made.header("location").to_owned();
    assert_eq!(anna.get(&path).json(), made.json());
    let change = json!({ "title": "b", "description": "two\nlines", "url": "https://files.example/b.mp4", "status": "archived" });
    let changed = anna.ask("PUT", &path, Some(&change)).json();
    assert_eq!((&changed["title"], &changed["status"]), (&json!("b"), &json!("archived")));
    assert_eq!(changed["createdAt"], made.json()["createdAt"]);
    assert_eq!(admin.ask("DELETE", &path, None).status, 204);
    assert_eq!(anna.get(&path).status, 404);
    assert_eq!(admin.ask("DELETE", &path, None).status, 404);
}

#[test]
fn an_editor_changes_own_videos_only() {
    let backed = Backed::start();
    let [anna, bert] = ["anna", "bert"].map(|name| backed.account(&format!("{name}@example.com"), "editor"));
    let admin = backed.account("root@example.com", "admin");
    let path = format!("/videos/{}", anna.video("hers")["id"].as_str().unwrap());
    let change = json!({ "title": "mine", "url": "https://files.example/b.mp4" });
    assert_eq!(bert.ask("PUT", &path, Some(&change)).status, 404);
    assert_eq!(anna.get(&path).json()["title"], "hers");
    assert_eq!(admin.ask("PUT", &path, Some(&change)).status, 200);
}

#[test]
fn what_is_not_valid_is_refused_with_the_field_named() {
    let backed = Backed::start();
    let anna = backed.account("anna@example.com", "editor");
    let with = |field: &str, value: Value| {
        let mut body = json!({ "title": "a", "url": "https://files.example/a.mp4" });
        body[field] = value;
        anna.post("/videos", &body)
    };
    for (field, value) in [
        ("title", json!("")),
        ("title", json!("x".repeat(201))),
        ("title", json!("a\u{0}b")),
        ("title", json!("a\nb")),
        ("title", json!(7)),
        ("description", json!("x".repeat(5001))),
        ("description", json!("a\u{0}")),
        ("url", json!("http://files.example/a.mp4")),
        ("url", json!("https://anna:secret@files.example/a.mp4")),
        ("url", json!("javascript:alert(1)")),
        ("status", json!("gone")),
        ("owner", json!("somebody")),
    ] {
        let answer = with(field, value.clone());
        assert_eq!(answer.status, 400, "{field} {value}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(field), "{field} {value}: {detail}");
    }
    for query in
        ["limit=0", "limit=101", "limit=x", "cursor=x", "status=gone", "title=", "title=%00", "page=2"]
    {
        let answer = anna.get(&format!("/videos?{query}"));
        let field = query.split('=').next().unwrap();
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == 400 && detail.contains(field), "{query}: {answer:?}");
    }
}
