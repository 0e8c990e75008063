//! Stands between a daemon and its Redis, and notes which commands go there, and in how many trips.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Name and arguments.
pub type Command = Vec<Vec<u8>>;
/// Commands that were sent without waiting for an answer in between.
pub type Trip = Vec<Command>;

/// A daemon that was left alone for so long does nothing that belongs to a request any more.
const QUIET: Duration = Duration::from_millis(400);

pub struct Recorder {
    pub port: u16,
    recorded: Arc<Mutex<Vec<Trip>>>,
}

impl Recorder {
    /// A recorder in front of the server on this port, for as long as the process lives.
    pub fn before(redis: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let recorded = Arc::default();
        let recorder = Recorder { port, recorded: Arc::clone(&recorded) };
        thread::spawn(move || {
            for client in listener.incoming() {
                relay(client.unwrap(), redis, &recorded);
            }
        });
        recorder
    }

    /// The trips that `request` makes until it is answered.
    pub fn during<T>(&self, request: impl FnOnce() -> T) -> (T, Vec<Trip>) {
        // What the request before left to do, such as its line in the story, is not of this one.
        thread::sleep(QUIET);
        self.recorded.lock().unwrap().clear();
        let answer = request();
        (answer, std::mem::take(&mut *self.recorded.lock().unwrap()))
    }
}

fn relay(client: TcpStream, redis: u16, recorded: &Arc<Mutex<Vec<Trip>>>) {
    let server = TcpStream::connect(("127.0.0.1", redis)).unwrap();
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let answered = Arc::new(Mutex::new(true));
    let asking = {
        let (answered, recorded) = (Arc::clone(&answered), Arc::clone(recorded));
        let mut unread = Vec::new();
        move |bytes: &[u8]| {
            unread.extend_from_slice(bytes);
            while let Some((command, length)) = parse(&unread) {
                unread.drain(..length);
                let new_trip = std::mem::take(&mut *answered.lock().unwrap());
                note(&mut recorded.lock().unwrap(), command, new_trip);
            }
        }
    };
    let ends = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || copy(client, server, asking));
    thread::spawn(move || copy(ends.1, ends.0, move |_| *answered.lock().unwrap() = true));
}

fn note(recorded: &mut Vec<Trip>, command: Command, new_trip: bool) {
    // The clock and the watch over the primary, and the worker that looks for due timers: nobody's request.
    let is_own = match command[0].as_slice() {
        b"TIME" | b"INFO" | b"PING" | b"CLIENT" => true,
        b"ZRANGE" => command[1].ends_with(b":timers"),
        _ => false,
    };
    if is_own {
        return;
    }
    if new_trip || recorded.is_empty() {
        recorded.push(Trip::new());
    }
    recorded.last_mut().expect("there is a trip").push(command);
}

/// Ends when either end does.
fn copy(mut from: TcpStream, mut to: TcpStream, mut see: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 1 << 18];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        see(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // Fails when the other end is gone already.
    to.shutdown(Shutdown::Both).ok();
}

/// The first command in these bytes and its length, when it is there as a whole.
fn parse(bytes: &[u8]) -> Option<(Command, usize)> {
    let mut at = 0;
    let mut number = |mark: u8| -> Option<(usize, usize)> {
        let rest = bytes.get(at..)?;
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        assert_eq!(rest[0], mark, "Redis commands are arrays of strings");
        let number = std::str::from_utf8(&rest[1..end]).unwrap().parse().unwrap();
        at += end + 2;
        if mark == b'$' {
            let begin = at;
            at += number + 2;
            return (at <= bytes.len()).then_some((begin, begin + number));
        }
        Some((number, 0))
    };
    let (count, _) = number(b'*')?;
    let mut command = Command::with_capacity(count);
    for _ in 0..count {
        let (begin, end) = number(b'$')?;
        command.push(bytes[begin..end].to_vec());
    }
    Some((command, at))
}
