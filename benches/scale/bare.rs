//! What the same Redis does for a client that does nothing else: the commit script with the very batches that the
//! daemon sends, prepared beforehand, and as many of them on their way at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::fill::Person;

/// So many commits are on their way at once, as in the daemon.
const IN_FLIGHT: usize = 256;

/// A command as it was sent.
pub struct Sample {
    words: Vec<Vec<u8>>,
    person: Person,
}

pub async fn connect(port: u16) -> MultiplexedConnection {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    let config = redis::AsyncConnectionConfig::new()
        .set_response_timeout(Some(Duration::from_secs(30)))
        .set_pipeline_buffer_size(1024);
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

/// Listens to the server until the daemon commits what it has decided about this person's timer.
pub async fn overhear(port: u16, person: Person) -> Sample {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    stream.write_all(b"MONITOR\r\n").await.unwrap();
    let mut line = String::new();
    loop {
        line.clear();
        assert_ne!(stream.read_line(&mut line).await.unwrap(), 0, "the server has ended");
        let words = words(&line);
        let about = |word: &Vec<u8>| contains(word, format!("doc:user:{}", person.id).as_bytes());
        let is_commit = words.first().is_some_and(|word| word.eq_ignore_ascii_case(b"EVALSHA"));
        if is_commit && words.iter().any(about) && words.iter().any(|word| word == b"claimed") {
            return Sample { words, person };
        }
    }
}

/// The words of a line of MONITOR: quoted, with C escapes.
fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut bytes = line.bytes();
    while bytes.by_ref().any(|byte| byte == b'"') {
        let mut word = Vec::new();
        loop {
            match bytes.next().unwrap() {
                b'"' => break,
                b'\\' => word.push(match bytes.next().unwrap() {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 7,
                    b'b' => 8,
                    b'x' => {
                        let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                        u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                    }
                    other => other,
                }),
                byte => word.push(byte),
            }
        }
        words.push(word);
    }
    words
}

impl Sample {
    /// How many bytes it has.
    pub fn bytes(&self) -> usize {
        self.words.iter().map(Vec::len).sum()
    }

    /// The same change for everybody of these, who were not changed before; how many a second.
    pub async fn rate(&self, port: u16, people: &[Person]) -> f64 {
        let mut connection = connect(port).await;
        let token = self.word_behind(b"claimed", 3);
        let claims = self.words.iter().find(|word| word.ends_with(b":claims")).unwrap();
        for some in people.chunks(1_000) {
            let mut commands = redis::pipe();
            for person in some {
                let claim = format!("{} 0", String::from_utf8_lossy(token));
                commands.cmd("HSET").arg(claims).arg(format!("user:{}", person.id)).arg(claim).ignore();
            }
            commands.query_async::<()>(&mut connection).await.unwrap();
        }
        let commands: Arc<Vec<redis::Cmd>> = Arc::new(people.iter().map(|person| self.about(person)).collect());
        let next = Arc::new(AtomicUsize::new(0));
        let began = Instant::now();
        let mut senders = tokio::task::JoinSet::new();
        for _ in 0..IN_FLIGHT {
            let (commands, next, mut connection) = (commands.clone(), next.clone(), connection.clone());
            senders.spawn(async move {
                while let Some(command) = commands.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let answer: Vec<String> = command.query_async(&mut connection).await.unwrap();
                    assert_eq!(answer, ["applied"]);
                }
            });
        }
        while let Some(done) = senders.join_next().await {
            done.unwrap();
        }
        people.len() as f64 / began.elapsed().as_secs_f64()
    }

    /// The command about somebody else, with a commit id of its own.
    fn about(&self, person: &Person) -> redis::Cmd {
        let mut command = redis::cmd("EVALSHA");
        let keys: usize = std::str::from_utf8(&self.words[2]).unwrap().parse().unwrap();
        for (number, word) in self.words.iter().enumerate().skip(1) {
            if number == 3 + keys {
                command.arg(Uuid::new_v4().to_string());
                continue;
            }
            let word = replaced(word, self.person.id.as_bytes(), person.id.as_bytes());
            command.arg(replaced(&word, self.person.name.as_bytes(), person.name.as_bytes()));
        }
        command
    }

    fn word_behind(&self, word: &[u8], by: usize) -> &[u8] {
        let at = self.words.iter().position(|found| found == word).unwrap();
        &self.words[at + by]
    }
}

fn contains(word: &[u8], part: &[u8]) -> bool {
    word.windows(part.len()).any(|window| window == part)
}

/// Both parts are of the same length.
fn replaced(word: &[u8], part: &[u8], by: &[u8]) -> Vec<u8> {
    let mut word = word.to_vec();
    let mut at = 0;
    while at + part.len() <= word.len() {
        if word[at..].starts_with(part) {
            word[at..at + part.len()].copy_from_slice(by);
            at += part.len();
        } else {
            at += 1;
        }
    }
    word
}
