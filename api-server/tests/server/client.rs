//! A small HTTP/1.1 client that shows every byte: header order, doubles, and what is not there.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// The value of a header that must be there exactly once.
    pub fn header(&self, name: &str) -> &str {
        let values: Vec<_> = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).collect();
        assert_eq!(values.len(), 1, "{name} in {self:?}");
        &values[0].1
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// GET over a connection of its own.
pub fn get(address: SocketAddr, path: &str) -> Answer {
    send(&mut connect(address), &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"))
}

/// A request without a body over a connection of its own; each header ends its line.
pub fn ask(address: SocketAddr, line: &str, headers: &str) -> Answer {
    let request = format!("{line} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n{headers}\r\n");
    send(&mut connect(address), &request)
}

/// Sends the text as it is and reads one answer.
pub fn send(stream: &mut (impl Read + Write), request: &str) -> Answer {
    stream.write_all(request.as_bytes()).unwrap();
    stream.flush().unwrap();
    read(stream, request.starts_with("HEAD"))
}

pub fn read(stream: &mut impl Read, no_body: bool) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "closed after {:?}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|l| l.split_once(": ").unwrap()).map(|(n, v)| (n.into(), v.into())).collect();
    let mut answer = Answer { status, headers, body: String::new() };
    let mut body = vec![
        0;
        if no_body || status < 200 || status == 204 {
            0
        } else {
            answer.header("content-length").parse().unwrap()
        }
    ];
    stream.read_exact(&mut body).unwrap();
    answer.body = String::from_utf8(body).unwrap();
    answer
}
