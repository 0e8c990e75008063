//! The limit: hyper, one connection to Redis, and nothing else. It does what a [`Script`] says and answers what usherd
//! answered when the script was recorded; it reads no token, no JSON and no reply.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderName};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use redis::aio::MultiplexedConnection;
use tokio::net::TcpListener;

use crate::script::Script;

/// The word on the command line that makes this program the server.
pub const SERVE: &str = "serve-bare";
/// Which script to follow, and what about: `script/subject`.
pub const REPLAY: HeaderName = HeaderName::from_static("x-replay");

/// The server as a process of its own, like usherd; killed by its id when it is dropped.
pub struct Bare {
    child: Child,
    pub port: u16,
}

impl Bare {
    /// `scripts` are written into `directory`, from which the process reads them.
    pub fn start(scripts: &BTreeMap<String, Script>, redis: u16, directory: &Path) -> Self {
        let file = directory.join("scripts.json");
        std::fs::write(&file, serde_json::to_vec(scripts).unwrap()).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([SERVE, &redis.to_string()])
            .arg(&file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Bare { child, port: line.trim().parse().unwrap() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // Either may fail only because it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What the process does until it is killed: tells its port, and serves.
pub fn serve(redis: &str, scripts: &str) {
    let scripts: BTreeMap<String, Script> = serde_json::from_slice(&std::fs::read(scripts).unwrap()).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(accept(redis.parse().unwrap(), Arc::new(scripts)));
}

async fn accept(redis: u16, scripts: Arc<BTreeMap<String, Script>>) {
    let client = redis::Client::open(("127.0.0.1", redis)).unwrap();
    // As usherd's own connection: the default buffer of 50 makes callers queue for the queue.
    let config = redis::AsyncConnectionConfig::new().set_pipeline_buffer_size(1024);
    let redis = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (scripts, redis) = (Arc::clone(&scripts), redis.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &scripts, redis.clone()));
            // Ends with an error when the clients are done.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    scripts: &BTreeMap<String, Script>,
    mut redis: MultiplexedConnection,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let replay = request.headers()[REPLAY].to_str().unwrap().to_owned();
    drop(request.into_body().collect().await);
    let (name, subject) = replay.split_once('/').unwrap();
    let script = &scripts[name];
    let (status, body) = match script.replay(&mut redis, subject).await {
        Ok(()) => (StatusCode::from_u16(script.status).unwrap(), Bytes::from(script.body.clone())),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, Bytes::from(error)),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, "application/scim+json".parse().unwrap());
    Ok(response)
}
