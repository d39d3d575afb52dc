//! An issuer of a test's own on loopback: it serves a JWK Set, and fails in every way that others fail in.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::tokens::Key;

/// How it answers.
#[derive(Clone)]
pub enum Answer {
    Keys(Value),
    /// To /elsewhere, which serves these keys.
    Redirect(Value),
    Down,
    Error,
    Garbage,
    /// Good keys, then spaces without end.
    Huge(Value),
    Slow,
}

pub struct Issuer {
    pub address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicU64>,
}

pub fn set(keys: &[&Key]) -> Value {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()})
}

impl Issuer {
    /// Over plain HTTP, or TLS.
    pub fn start(answer: Answer, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicU64::new(0)));
        let issuer = Self { address, answer: answer.clone(), asked: asked.clone() };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, asked, tls) = (answer.clone(), asked.clone(), tls.clone());
                thread::spawn(move || match tls {
                    Some(tls) => {
                        let session = ServerConnection::new(tls).unwrap();
                        serve(StreamOwned::new(session, stream), &answer, &asked);
                    }
                    None => serve(stream, &answer, &asked),
                });
            }
        });
        issuer
    }

    pub fn uri(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    pub fn now(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// How often it was asked for keys.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: impl Read + Write, answer: &Mutex<Answer>, asked: &AtomicU64) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return;
        }
        head.push(byte[0]);
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let elsewhere = head.starts_with(b"GET /elsewhere");
    let (status, more, body) = match answer.lock().unwrap().clone() {
        Answer::Keys(keys) => ("200 OK", "", keys.to_string()),
        Answer::Redirect(keys) if elsewhere => ("200 OK", "", keys.to_string()),
        Answer::Redirect(_) => ("302 Found", "location: /elsewhere\r\n", String::new()),
        Answer::Down => return,
        Answer::Error => ("500 Internal Server Error", "", "{\"keys\": []}".into()),
        Answer::Garbage => ("200 OK", "", "<html>".into()),
        Answer::Huge(keys) => ("200 OK", "", format!("{keys}{}", " ".repeat(300 * 1024))),
        Answer::Slow => {
            thread::sleep(Duration::from_mins(1));
            return;
        }
    };
    let length = body.len();
    let text =
        format!("HTTP/1.1 {status}\r\n{more}connection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    // A client that has read enough closes.
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
}
