//! Brokers whose faults the test chooses.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::sync::Mutex;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tokio::net::TcpSocket;

/// librdkafka's mock cluster, whose brokers find their ports free again when they come back.
pub struct Cluster {
    mock: MockCluster<'static, DefaultProducerContext>,
    /// The ports of brokers that are down, by their ids: bound, so that the kernel gives them to nobody, and not listened
    /// at, so that nobody can connect. librdkafka ends the process if it cannot have the port of a broker again.
    kept: Mutex<HashMap<i32, TcpSocket>>,
}

/// A cluster of one broker.
pub fn cluster() -> Cluster {
    brokers(1)
}

/// A cluster of so many brokers, whose ids begin with 1.
pub fn brokers(count: i32) -> Cluster {
    Cluster { mock: MockCluster::new(count).unwrap(), kept: Mutex::default() }
}

impl Cluster {
    /// Ends a broker's connections, and has it take no others.
    pub fn broker_down(&self, id: i32) {
        self.mock.broker_down(id).unwrap();
        let servers = self.mock.bootstrap_servers();
        let server = servers.split(',').nth(usize::try_from(id - 1).unwrap()).unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        // As librdkafka's own socket does, so that both can have the port.
        socket.set_reuseaddr(true).unwrap();
        socket.bind(server.parse().unwrap()).unwrap_or_else(|error| panic!("{server}: {error}"));
        self.kept.lock().unwrap().insert(id, socket);
    }

    /// Has a broker that was down take connections again.
    pub fn broker_up(&self, id: i32) {
        self.mock.broker_up(id).unwrap();
        self.kept.lock().unwrap().remove(&id);
    }
}

impl Deref for Cluster {
    type Target = MockCluster<'static, DefaultProducerContext>;

    fn deref(&self) -> &Self::Target {
        &self.mock
    }
}

#[test]
fn nobody_gets_the_port_of_a_broker_that_is_down_and_it_comes_back_to_it() {
    let cluster = cluster();
    let server: SocketAddr = cluster.bootstrap_servers().parse().unwrap();
    cluster.broker_down(1);
    assert!(TcpSocket::new_v4().unwrap().bind(server).is_err(), "another can have {server}");
    assert!(TcpStream::connect(server).is_err(), "{server} takes connections");
    cluster.broker_up(1);
    TcpStream::connect(server).unwrap_or_else(|error| panic!("{server}: {error}"));
}
