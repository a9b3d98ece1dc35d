//! HTTP/1.1 written by hand, for what a well-behaved client refuses to send.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// Sends `bytes` on a connection of their own and returns all that comes back until the server closes, so the
/// request should have `connection: close`.
pub async fn exchange(server: SocketAddr, bytes: impl Into<Vec<u8>>) -> Vec<u8> {
    let bytes = bytes.into();
    let exchange = tokio::task::spawn_blocking(move || {
        let mut stream = connect(server);
        stream.write_all(&bytes).expect("the server takes the request");
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => answer,
            // A server that refuses a request early may reset the connection after its answer.
            Err(_) if !answer.is_empty() => answer,
            Err(error) => panic!("no answer: {error}"),
        }
    });
    exchange.await.expect("the exchange does not panic")
}

/// The status of an answer that [`exchange`] returned.
pub fn status(answer: &[u8]) -> u16 {
    let line = answer.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let status = std::str::from_utf8(line).ok().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    status.unwrap_or_else(|| panic!("not an HTTP answer: {:?}", String::from_utf8_lossy(answer)))
}

/// A caller that sends a request and can leave before the answer.
#[derive(Debug)]
pub struct Caller(TcpStream);

impl Caller {
    /// Connects and sends `bytes`.
    pub fn send(server: SocketAddr, bytes: &[u8]) -> Self {
        let mut stream = connect(server);
        stream.write_all(bytes).expect("the server takes the request");
        Self(stream)
    }

    /// Closes the connection.
    pub fn leave(self) {
        // The server may have closed it already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&server, LIMIT).expect("the server takes connections");
    stream.set_read_timeout(Some(LIMIT)).expect("a socket takes a time limit");
    stream.set_write_timeout(Some(LIMIT)).expect("a socket takes a time limit");
    stream
}
