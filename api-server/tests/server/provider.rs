//! A stand-in for what cannot run here, the AI provider and the logins of Azure: it answers what a test says and keeps what it was asked.

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub head: String,
    pub body: String,
}

pub struct Provider {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Provider {
    /// Answers each request with the next status and body of the list, then with the last one for good. Status 0 never
    /// answers.
    pub fn start(answers: &[(u16, &str)]) -> Self {
        Self::start_with(answers, None)
    }

    /// Over plain HTTP, or TLS.
    pub fn start_with(answers: &[(u16, &str)], tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers: Vec<_> = answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
        let kept = asked.clone();
        thread::spawn(move || {
            let mut silent = Vec::new();
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream: Box<dyn Stream> = match &tls {
                    Some(tls) => Box::new(StreamOwned::new(
                        ServerConnection::new(tls.clone()).unwrap(),
                        stream.unwrap(),
                    )),
                    None => Box::new(stream.unwrap()),
                };
                let (status, body) = &answers[number.min(answers.len() - 1)];
                kept.lock().unwrap().push(read(&mut *stream));
                if *status == 0 {
                    silent.push(stream);
                    continue;
                }
                let length = body.len();
                // A client that has gone meanwhile is the test's business.
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
                );
            }
        });
        Self { address, asked }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The address for `AI_BASE_URL`.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn read(stream: &mut dyn Stream) -> Asked {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Asked { head, body: String::from_utf8_lossy(&body).into_owned() }
}
