//! nginx in front of the service, and what each of the two says of the same requests. One connection between them carries
//! everything, so that a request whose end they see in different places would give a later client somebody else's answer.

use std::{
    cell::RefCell,
    collections::HashMap,
    io::{Cursor, Read as _, Write as _},
    net::SocketAddr,
};

use testbed::{Nginx, etcd::free_port};

use crate::{
    client::{Answer, connect, read},
    headers,
    process::{Service, policy, wait_until},
};

/// Where nginx speaks to the service from: the only trusted proxy.
const PROXY: &str = "127.0.0.5";

/// `RAW` hands on path, host and body as they come, `TIDY` after it has read them: both are what people configure.
const HTTP: &str = r#"
    log_format pair '$request_id $status $upstream_status $upstream_http_x_request_id';
    access_log FOLDER/access pair;
    upstream service { server SERVICE; keepalive 1; }
    client_header_timeout 1s; client_body_timeout 1s; keepalive_timeout 5s;
    client_max_body_size 0; large_client_header_buffers 4 256k;
    proxy_http_version 1.1; proxy_bind PROXY; proxy_read_timeout 10s; proxy_next_upstream off;
    proxy_set_header Connection ""; proxy_set_header X-Request-Id $request_id; proxy_set_header Host $sent;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_pass_header Server;
    add_header X-Seen-As $request_id always;
    server {
        listen 127.0.0.1:RAW;
        set $sent $http_host;
        location / { proxy_pass http://service; proxy_request_buffering off; }
    }
    server {
        listen 127.0.0.1:TIDY;
        set $sent $host;
        location / { proxy_pass http://service/; }
    }
"#;

pub struct Pair {
    /// Stops first, so that nothing is under way when the service stops.
    nginx: Nginx,
    pub service: Service,
    /// The two ways in.
    pub doors: [SocketAddr; 2],
    /// nginx's id and the status of every answer that came out.
    got: RefCell<HashMap<String, u16>>,
}

/// One request in nginx's log.
struct Handed {
    id: String,
    status: u16,
    /// Status and id of the service's answer, where it was asked.
    upstream: Option<(u16, String)>,
}

impl Pair {
    /// With these rate limits.
    pub fn start(limits: &str) -> Self {
        let text = format!(
            r#"{{"version": 1, "trustedHosts": ["studio.example"],
                "rateLimits": {{"trustedProxies": ["{PROXY}/32"], "rules": [{limits}]}}}}"#
        );
        let file = policy(&text);
        let path = file.path().to_str().unwrap().to_owned();
        let settings = [("POLICY_FILE", &*path), ("MAX_BODY_BYTES", "65536"), ("BODY_TIMEOUT", "2")];
        let mut service = Service::start(&settings);
        service.keep(file);
        let ports = [(); 2].map(|()| free_port().unwrap());
        let http = HTTP.replace("SERVICE", &service.api.to_string()).replace("PROXY", PROXY);
        let http = http.replace("RAW", &ports[0].to_string()).replace("TIDY", &ports[1].to_string());
        let nginx = Nginx::start(&http, &[], ports[1]).unwrap();
        let doors = ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        Self { nginx, service, doors, got: RefCell::default() }
    }

    /// Sends bytes and a last good request over one connection and gives all answers until it ends.
    pub fn exchange(&self, door: SocketAddr, bytes: &[u8]) -> Vec<Answer> {
        let last = b"GET / HTTP/1.1\r\nhost: studio.example\r\nconnection: close\r\n\r\n";
        let mut connection = connect(door);
        // An answer may come, and the connection end, before everything is sent.
        let _ = connection.write_all(bytes).and_then(|()| connection.write_all(last));
        let mut all = Vec::new();
        let _ = connection.read_to_end(&mut all);
        let (mut all, mut answers) = (Cursor::new(all), Vec::new());
        while all.position() < all.get_ref().len() as u64 {
            answers.push(read(&mut all, false));
        }
        // Not an answer yet.
        answers.retain(|answer| answer.status != 100);
        for answer in &answers {
            self.check(answer);
        }
        answers
    }

    /// One request alone; each header ends its line.
    pub fn ask(&self, door: SocketAddr, line: &str, headers: &str) -> Answer {
        let request = format!("{line} HTTP/1.1\r\nconnection: close\r\ncontent-length: 0\r\n{headers}\r\n");
        let mut connection = connect(door);
        connection.write_all(request.as_bytes()).unwrap();
        let answer = read(&mut connection, line.starts_with("HEAD"));
        self.check(&answer);
        answer
    }

    /// That all have seen the same: the service has answered each request that nginx has handed on once, with the status that
    /// nginx has seen, and no other; and those answers, no more and no fewer, have come out.
    pub fn assert_agreement(&self, what: &str) {
        let end = self.ask(self.doors[0], "GET /agreement", "host: studio.example\r\n");
        let end = end.header("x-request-id");
        self.service.wait_for_log(|line| line["request_id"] == end);
        // It writes a line when it is done with the request, which can be after the client has its answer.
        let handed = wait_until("a line of nginx for each answer", || {
            let handed = self.handed();
            let is_told = |id: &String| handed.iter().any(|line| line.id == *id);
            self.got.borrow().keys().all(is_told).then_some(handed)
        });
        let mut answered = HashMap::new();
        for line in self.service.log().iter().filter(|line| line["target"] == "access") {
            let id = line["request_id"].as_str().unwrap().to_owned();
            let twice = answered.insert(id, (line["status"].clone(), line["method"].is_null()));
            assert_eq!(twice, None, "{what}: two requests for one: {line}");
        }
        for Handed { id, status, upstream } in &handed {
            assert!(
                *status < 500 || upstream.is_none() && *status == 501,
                "{what}: {status}, {}",
                self.nginx.log()
            );
            let Some((status, own_id)) = upstream else { continue };
            let own = answered.remove(own_id);
            let by_parser = own.as_ref().is_some_and(|(_, by_parser)| *by_parser);
            assert_eq!(own.map(|(status, _)| status), Some((*status).into()), "{what}: {status} to nginx");
            // The parser cannot read the id of a request that it refuses.
            assert!(own_id == id || by_parser, "{what}: nginx has the answer to another request");
            assert_eq!(self.got.borrow().get(id), Some(status), "{what}: an answer did not come out");
        }
        assert!(answered.is_empty(), "{what}: requests that nobody has sent: {answered:?}");
    }

    fn handed(&self) -> Vec<Handed> {
        let line = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            let (id, status) = (words.next()?, words.next()?.parse().ok()?);
            let upstream = words.next()?.parse().ok().zip(words.next());
            Some(Handed { id, status, upstream })
        };
        self.nginx.read("access").lines().filter_map(line).collect()
    }

    /// Every answer is to the request that it came for, and one of the service carries its headers whatever the status is.
    fn check(&self, answer: &Answer) {
        let twice = self.got.borrow_mut().insert(answer.header("x-seen-as").to_owned(), answer.status);
        assert_eq!(twice, None, "two answers to one request: {answer:?}");
        if !by_service(answer) {
            assert!([400, 405, 408, 414, 501].contains(&answer.status), "nginx itself: {answer:?}");
            return;
        }
        headers::check(answer);
        assert!(answer.status < 500, "{answer:?}");
        if answer.status >= 400 {
            assert_eq!(answer.header("content-type"), "application/problem+json");
            assert!(answer.body.is_empty() || answer.json()["status"] == answer.status, "{answer:?}");
        }
        let same = answer.header("x-request-id") == answer.header("x-seen-as");
        assert!(same || matches!(answer.status, 400 | 408 | 431), "somebody else's: {answer:?}");
    }
}

/// Whether the service made it, and not nginx.
pub fn by_service(answer: &Answer) -> bool {
    answer.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-security-policy"))
}
