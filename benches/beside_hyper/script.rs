//! What one kind of request does to Redis, ready to be done again for another subject.

use redis::{Pipeline, Value};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::recorder::Trip;

/// Commands as trips, and the answer.
#[derive(Serialize, Deserialize)]
pub struct Script {
    trips: Vec<Vec<Line>>,
    /// How many ids are made for each request.
    fresh: usize,
    pub status: u16,
    pub body: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    arguments: Vec<Argument>,
    /// Whether the reply begins with the revision of the document that the request is about.
    tells_revision: bool,
}

#[derive(Serialize, Deserialize)]
enum Argument {
    Fixed(Vec<u8>),
    Pieced(Vec<Piece>),
    /// So much more than the revision that was read.
    Revision(u64),
}

#[derive(Serialize, Deserialize)]
enum Piece {
    Fixed(Vec<u8>),
    Subject,
    Fresh(usize),
}

/// One request as recorded: what it was about (an id or a name, as it stands in path or body), and what it did.
pub struct Recording {
    pub subject: String,
    pub trips: Vec<Trip>,
}

const UUID: usize = 36;

impl Script {
    /// Two recordings of the same kind tell what belongs to the request, what is made new each time, and what stays.
    /// `None` when one of them holds something else, too, such as what the daemon does once a minute.
    pub fn of(first: &Recording, second: &Recording, status: u16, body: Vec<u8>) -> Option<Self> {
        let shape = |recording: &Recording| -> Vec<Vec<usize>> {
            recording.trips.iter().map(|trip| trip.iter().map(Vec::len).collect()).collect()
        };
        if shape(first) != shape(second) {
            return None;
        }
        let arguments = |recording: &Recording| recording.trips.concat().concat();
        let (ones, others) = (arguments(first), arguments(second));
        let known: Vec<&[u8]> = others.iter().flat_map(|argument| ids(argument)).collect();
        // A revision is what grew by one from the first to the second; it is compared, and then written one higher.
        let read = ones.iter().zip(&others).filter_map(|(one, other)| grew(one, other)).min();

        let mut fresh: Vec<&[u8]> = Vec::new();
        let mut at = 0;
        let mut argument = |bytes: &'_ [u8]| {
            let other = &others[at];
            at += 1;
            match (grew(bytes, other), read) {
                (Some(revision), Some(read)) => Argument::Revision(revision - read),
                _ => Argument::Fixed(bytes.to_vec()),
            }
        };
        let mut trips: Vec<Vec<Line>> = Vec::new();
        for trip in &first.trips {
            let mut lines = Vec::new();
            for command in trip {
                let tells_revision = command[0] == b"HMGET" && contains(&command[1], first.subject.as_bytes());
                let arguments = command.iter().map(|bytes| match argument(bytes) {
                    Argument::Fixed(_) => pieced(bytes, &first.subject, &known, &mut fresh),
                    revision => revision,
                });
                lines.push(Line { arguments: arguments.collect(), tells_revision });
            }
            trips.push(lines);
        }
        Some(Script { trips, fresh: fresh.len(), status, body })
    }

    /// Commands in each trip, for people: `3 + 1`.
    pub fn trips(&self) -> String {
        self.trips.iter().map(|trip| trip.len().to_string()).collect::<Vec<_>>().join(" + ")
    }

    /// Does it all again.
    ///
    /// # Errors
    /// Of Redis, and when a commit was refused.
    pub async fn replay<C>(&self, connection: &mut C, subject: &str) -> Result<(), String>
    where
        C: redis::aio::ConnectionLike,
    {
        let fresh: Vec<String> = (0..self.fresh).map(|_| new_id()).collect();
        let mut revision = 0;
        let mut scratch = Vec::new();
        for trip in &self.trips {
            let mut commands = Pipeline::with_capacity(trip.len());
            for line in trip {
                let mut command = redis::Cmd::new();
                for argument in &line.arguments {
                    match argument {
                        Argument::Fixed(bytes) => command.arg(bytes.as_slice()),
                        Argument::Revision(more) => command.arg(revision + more),
                        Argument::Pieced(pieces) => {
                            scratch.clear();
                            for piece in pieces {
                                scratch.extend_from_slice(match piece {
                                    Piece::Fixed(bytes) => bytes,
                                    Piece::Subject => subject.as_bytes(),
                                    Piece::Fresh(number) => fresh[*number].as_bytes(),
                                });
                            }
                            command.arg(scratch.as_slice())
                        }
                    };
                }
                commands.add_command(command);
            }
            let replies: Vec<Value> =
                commands.query_async(connection).await.map_err(|error| format!("Redis: {error}"))?;
            for (line, reply) in trip.iter().zip(&replies) {
                if line.tells_revision {
                    revision = first_number(reply).unwrap_or_default();
                }
                if line.is_commit() && !is_applied(reply) {
                    return Err(format!("refused: {reply:?}"));
                }
            }
        }
        Ok(())
    }
}

impl Line {
    fn is_commit(&self) -> bool {
        matches!(self.arguments.first(), Some(Argument::Fixed(name)) if name == b"EVALSHA")
    }
}

#[expect(clippy::disallowed_methods, reason = "a server that makes ids")]
fn new_id() -> String {
    Uuid::now_v7().to_string()
}

fn first_number(reply: &Value) -> Option<u64> {
    let Value::Array(fields) = reply else { return None };
    match fields.first()? {
        Value::BulkString(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
        _ => None,
    }
}

fn is_applied(reply: &Value) -> bool {
    matches!(reply, Value::Array(words) if matches!(&words[..], [Value::BulkString(word)] if word == b"applied"))
}

/// The number that `other` has one more of.
fn grew(one: &[u8], other: &[u8]) -> Option<u64> {
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse::<u64>().ok();
    let (one, other) = (number(one)?, number(other)?);
    (other == one + 1).then_some(one)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && bytes.windows(part.len()).any(|window| window == part)
}

fn id_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let text = bytes.get(at..at + UUID)?;
    Uuid::try_parse_ascii(text).is_ok().then_some(text)
}

fn ids(bytes: &[u8]) -> Vec<&[u8]> {
    (0..bytes.len()).filter_map(|at| id_at(bytes, at)).collect()
}

/// Cuts an argument where the subject and new ids stand in it; an id of `known` is not new.
fn pieced<'a>(bytes: &'a [u8], subject: &str, known: &[&[u8]], fresh: &mut Vec<&'a [u8]>) -> Argument {
    let mut pieces = Vec::new();
    let mut fixed = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (piece, length) = if !subject.is_empty() && bytes[at..].starts_with(subject.as_bytes()) {
            (Piece::Subject, subject.len())
        } else if let Some(id) = id_at(bytes, at).filter(|id| !known.contains(id)) {
            let number = fresh.iter().position(|known| *known == id).unwrap_or_else(|| {
                fresh.push(id);
                fresh.len() - 1
            });
            (Piece::Fresh(number), UUID)
        } else {
            fixed.push(bytes[at]);
            at += 1;
            continue;
        };
        if !fixed.is_empty() {
            pieces.push(Piece::Fixed(std::mem::take(&mut fixed)));
        }
        pieces.push(piece);
        at += length;
    }
    match pieces.is_empty() {
        true => Argument::Fixed(fixed),
        false => {
            if !fixed.is_empty() {
                pieces.push(Piece::Fixed(fixed));
            }
            Argument::Pieced(pieces)
        }
    }
}
