//! Opening a connection to whatever the address means: one server, the primary that the sentinels name, or a cluster.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, Pipeline, RedisFuture, RedisResult, Value,
    from_redis_value,
};
use tokio::task::JoinSet;

use super::refusal::Failure;
use crate::store::settings::Topology;

/// How long a command and a connect may take, so that two attempts and a connect fit into the outer deadline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    response: Duration,
    connect: Duration,
}

impl Timeouts {
    pub(super) fn within(deadline: Duration) -> Self {
        Timeouts { response: deadline * 2 / 5, connect: deadline / 5 }
    }

    fn config(self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_response_timeout(Some(self.response))
            .set_connection_timeout(Some(self.connect))
            // The default of 50 makes callers queue for the queue.
            .set_pipeline_buffer_size(1024)
    }
}

/// One multiplexed connection, or one per node. Cheap to clone; clones share the connection.
#[derive(Clone)]
pub(super) enum Connection {
    Server { connection: MultiplexedConnection, address: ConnectionAddr },
    Cluster(ClusterConnection),
}

impl Connection {
    /// Asks the primary that holds this key a command that names no key.
    pub(super) async fn ask_primary_of(&mut self, key: &str, command: Cmd) -> RedisResult<Value> {
        match self {
            Connection::Server { connection, .. } => command.query_async(connection).await,
            Connection::Cluster(connection) => {
                let primary = SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master));
                connection.route_command(command, RoutingInfo::SingleNode(primary)).await
            }
        }
    }

    /// The reply to INFO of every primary.
    pub(super) async fn infos(&mut self) -> RedisResult<Vec<String>> {
        let info = redis::cmd("INFO");
        match self {
            Connection::Server { connection, .. } => Ok(vec![info.query_async(connection).await?]),
            Connection::Cluster(connection) => {
                let primaries = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                let infos: HashMap<String, String> =
                    from_redis_value(connection.route_command(info, primaries).await?)?;
                Ok(infos.into_values().collect())
            }
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Connection::Server { connection, .. } => connection.req_packed_command(cmd),
            Connection::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Connection::Server { connection, .. } => connection.req_packed_commands(pipeline, offset, count),
            Connection::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Connection::Server { connection, .. } => connection.get_db(),
            Connection::Cluster(connection) => connection.get_db(),
        }
    }
}

pub(super) async fn open(topology: &Topology, timeouts: Timeouts) -> Result<Connection, Failure> {
    match topology {
        Topology::Single(server) => connect(server.clone(), timeouts).await,
        Topology::Sentinel { sentinels, service, primary } => {
            let address = named_primary(sentinels, service, primary, timeouts).await?;
            connect(primary.clone().set_addr(address), timeouts).await
        }
        Topology::Cluster(nodes) => {
            let client = ClusterClient::builder(nodes.clone())
                // Retries are ours: the client would send a commit again whose connection broke.
                .retries(0)
                .response_timeout(timeouts.response)
                .connection_timeout(timeouts.connect)
                .build()
                .map_err(|error| Failure::of(&error))?;
            client.get_async_connection().await.map(Connection::Cluster).map_err(|error| Failure::of(&error))
        }
    }
}

/// Whether the sentinels still name the server of this connection.
pub(super) async fn still_primary(
    connection: &Connection,
    topology: &Topology,
    timeouts: Timeouts,
) -> Result<(), Failure> {
    match (connection, topology) {
        (Connection::Server { address, .. }, Topology::Sentinel { sentinels, service, primary }) => {
            // Sentinels that are away or disagree are no reason to leave a primary that works.
            match named_primary(sentinels, service, primary, timeouts).await {
                Ok(named) if named != *address => {
                    Err(Failure::NotPrimary(format!("the sentinels name another primary, {named}")))
                }
                Ok(_) | Err(_) => Ok(()),
            }
        }
        (Connection::Server { .. } | Connection::Cluster(_), _) => Ok(()),
    }
}

async fn connect(server: ConnectionInfo, timeouts: Timeouts) -> Result<Connection, Failure> {
    let address = server.addr().clone();
    let client = Client::open(server).map_err(|error| Failure::of(&error))?;
    let connection = client.get_multiplexed_async_connection_with_config(&timeouts.config()).await;
    match connection {
        Ok(connection) => Ok(Connection::Server { connection, address }),
        Err(error) => Err(match Failure::of(&error) {
            Failure::Timeout => Failure::Dropped(format!("Redis at {address} did not answer in time")),
            Failure::Dropped(_) => Failure::Dropped(format!("there is no Redis at {address} ({})", error.category())),
            failure => failure,
        }),
    }
}

/// The address that most of all sentinels give. One sentinel alone may not have heard of a failover.
async fn named_primary(
    sentinels: &[ConnectionInfo],
    service: &str,
    primary: &ConnectionInfo,
    timeouts: Timeouts,
) -> Result<ConnectionAddr, Failure> {
    let mut asked = JoinSet::new();
    for sentinel in sentinels {
        asked.spawn(ask(sentinel.clone(), service.to_owned(), timeouts));
    }
    let mut votes: BTreeMap<(String, u16), usize> = BTreeMap::new();
    while let Some(answer) = asked.join_next().await {
        if let Ok(Some(named)) = answer {
            *votes.entry(named).or_default() += 1;
        }
    }
    let elected = votes.into_iter().find(|(_, count)| *count * 2 > sentinels.len());
    let ((host, port), _) = elected.ok_or_else(|| {
        Failure::NotPrimary(format!("most of the {} sentinels do not name one primary for {service}", sentinels.len()))
    })?;
    let mut address = primary.addr().clone();
    match &mut address {
        ConnectionAddr::Tcp(old_host, old_port) => (*old_host, *old_port) = (host, port),
        ConnectionAddr::TcpTls { host: old_host, port: old_port, .. } => (*old_host, *old_port) = (host, port),
        _ => return Err(Failure::Refused("sentinels name primaries on TCP only".to_owned())),
    }
    Ok(address)
}

async fn ask(sentinel: ConnectionInfo, service: String, timeouts: Timeouts) -> Option<(String, u16)> {
    let client = Client::open(sentinel).ok()?;
    // A sentinel is near or it is down; there is a vote to win without it.
    let config = timeouts.config().set_response_timeout(Some(timeouts.connect));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await.ok()?;
    let mut question = redis::cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(service);
    question.query_async::<Option<(String, u16)>>(&mut connection).await.ok()?
}
