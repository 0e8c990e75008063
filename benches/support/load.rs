//! Clients that keep their connections and ask one thing after another on each.
//!
//! Threads that block, and no HTTP library: what the clients cost is taken from the servers on the same machine, and
//! brings every ratio nearer to 1.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

/// Far above what a healthy machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whose turn it is to ask: which connection, and how many requests it has sent before.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    pub connection: usize,
    pub number: usize,
}

/// Connections to one server.
pub struct Clients {
    connections: Vec<Connection>,
}

impl Clients {
    pub fn connect(port: u16, count: usize) -> Self {
        Clients { connections: (0..count).map(|_| Connection::open(port)).collect() }
    }

    /// Asks on all connections for this long; how many answers came in a second.
    pub fn ask_for(&mut self, time: Duration, request: &(impl Fn(Turn) -> Vec<u8> + Sync)) -> f64 {
        let begun = Instant::now();
        let answered = self.each(request, |_| begun.elapsed() < time);
        answered as f64 / begun.elapsed().as_secs_f64()
    }

    /// Asks so often on each connection.
    pub fn ask_times(&mut self, times: usize, request: &(impl Fn(Turn) -> Vec<u8> + Sync)) {
        self.each(request, |asked| asked < times);
    }

    fn each(
        &mut self,
        request: &(impl Fn(Turn) -> Vec<u8> + Sync),
        goes_on: impl Fn(usize) -> bool + Copy + Send + Sync,
    ) -> usize {
        thread::scope(|scope| {
            let asking = self.connections.iter_mut().enumerate().map(|(connection, client)| {
                scope.spawn(move || {
                    let mut asked = 0;
                    while goes_on(asked) {
                        client.ask(&request(Turn { connection, number: client.sent }));
                        asked += 1;
                    }
                    asked
                })
            });
            let asking: Vec<_> = asking.collect();
            asking.into_iter().map(|asked| asked.join().unwrap()).sum()
        })
    }
}

/// One connection, with one request at a time.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    sent: usize,
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Connection {
    pub fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Connection { stream, received: Vec::with_capacity(1 << 18), sent: 0 }
    }

    /// The answer, which has to be a success: a fast refusal must not count.
    pub fn ask(&mut self, request: &[u8]) -> Answer {
        self.stream.write_all(request).unwrap();
        self.sent += 1;
        self.received.clear();
        let head = loop {
            if let Some(at) = self.received.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.receive();
        };
        let (status, length) = parse(std::str::from_utf8(&self.received[..head]).unwrap());
        while self.received.len() < head + length {
            self.receive();
        }
        let answer = Answer { status, body: self.received[head..].to_vec() };
        let said = || format!("{} {}", String::from_utf8_lossy(request), String::from_utf8_lossy(&answer.body));
        assert!((200..300).contains(&status), "{status}: {}", said());
        answer
    }

    fn receive(&mut self) {
        let before = self.received.len();
        self.received.resize(before + (1 << 16), 0);
        let count = self.stream.read(&mut self.received[before..]).unwrap();
        assert!(count > 0, "the server closed the connection");
        self.received.truncate(before + count);
    }
}

/// Status and length of the body.
fn parse(head: &str) -> (u16, usize) {
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    };
    assert_eq!(header("transfer-encoding"), None, "these clients read whole bodies only");
    (status, header("content-length").map_or(0, |length| length.parse().unwrap()))
}

/// A request as it goes over the wire. Each of `headers` ends in CRLF.
pub fn request(method: &str, path: &str, port: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{headers}content-length: {length}\r\n\r\n{body}")
        .into_bytes()
}
