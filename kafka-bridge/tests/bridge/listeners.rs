//! Where connections come in.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::common::{Answer, Bridge, Client, EVENT, cluster, count, event};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kafka_bridge::server::{Listen, Listener};
use tokio::net::UnixStream;

/// A folder that is there as long as this value, with a path that is short enough for sockets.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bridge-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn socket(&self, name: &str) -> (String, PathBuf) {
        let path = self.0.join(name);
        (format!("unix:{}", path.display()), path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn request(id: &str) -> Request<Full<Bytes>> {
    Request::post("http://bridge/v1/topics/t/events")
        .header("host", "bridge")
        .header("content-type", EVENT)
        .body(Full::new(event(id, 10).into()))
        .unwrap()
}

async fn read(response: hyper::Response<hyper::body::Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: head.status, version: head.version, headers: head.headers, body }
}

#[tokio::test]
async fn a_unix_socket_is_served_beside_tcp_and_keeps_connections() {
    let cluster = cluster();
    let folder = Folder::new("served");
    let ((first, path), (second, other)) = (folder.socket("a"), folder.socket("b"));
    let flags = ["--listen", &format!("{first},{second}"), "--unix-socket-mode", "600"];
    let bridge = Bridge::ready(&cluster, &flags).await;

    let stream = UnixStream::connect(&path).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    for id in ["1", "2", "3"] {
        let answer = read(sender.send_request(request(id)).await.unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.json()["id"].as_str()), (202, Some(id)), "{answer:?}");
        sender.ready().await.unwrap();
    }

    let stream = UnixStream::connect(&other).await.unwrap();
    let (sender2, connection2) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection2 = tokio::spawn(connection2);
    let calls = (4..14).map(|id| {
        let mut sender = sender2.clone();
        tokio::spawn(async move { read(sender.send_request(request(&id.to_string())).await.unwrap()).await })
    });
    for call in calls.collect::<Vec<_>>() {
        let answer = call.await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.version), (202, hyper::Version::HTTP_2), "{answer:?}");
    }
    assert_eq!(bridge.client.event("t", event("14", 10)).await.status, 202);
    assert_eq!(count(&cluster, "t"), 14);
    for path in [&path, &other] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o7777, 0o600);
    }

    // It ends with the connections that are idle, and takes its sockets with it.
    assert!(bridge.stop().await.is_none());
    connection.await.unwrap().unwrap();
    drop(sender2);
    connection2.await.unwrap().unwrap();
    assert!(!path.exists() && !other.exists());
}

async fn bind(listen: &str) -> std::io::Result<Listener> {
    Listener::bind(&listen.parse::<Listen>().unwrap(), 0o660).await
}

/// What a process leaves that is killed: a socket on which nobody listens.
fn leave_behind(path: &Path) {
    drop(std::os::unix::net::UnixListener::bind(path).unwrap());
}

#[tokio::test]
async fn a_socket_that_was_left_behind_is_replaced_and_nothing_else_is() {
    let folder = Folder::new("stale");
    let (listen, path) = folder.socket("s");
    leave_behind(&path);
    let listener = bind(&listen).await.unwrap();
    UnixStream::connect(&path).await.unwrap();

    // While somebody listens it is not touched, even if nobody gets round to answering.
    let error = bind(&listen).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse, "{error}");
    UnixStream::connect(&path).await.unwrap();

    // What another has put in its place is not removed with the listener.
    fs::remove_file(&path).unwrap();
    leave_behind(&path);
    drop(listener);
    assert!(path.exists());

    // Nor is what is no socket, or a link to one.
    let (file, file_path) = folder.socket("file");
    fs::write(&file_path, "mine").unwrap();
    let (link, link_path) = folder.socket("link");
    std::os::unix::fs::symlink(&path, &link_path).unwrap();
    for listen in [file, link] {
        let error = bind(&listen).await.unwrap_err();
        assert!(error.to_string().contains("not a socket"), "{error}");
    }
    assert_eq!(fs::read_to_string(&file_path).unwrap(), "mine");
    let (nowhere, _) = folder.socket("none/s");
    assert_eq!(bind(&nowhere).await.unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

#[tokio::test]
async fn of_many_that_start_at_once_one_gets_the_socket() {
    let folder = Folder::new("race");
    let (listen, path) = folder.socket("s");
    leave_behind(&path);
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let listen = listen.clone();
            tokio::spawn(async move { bind(&listen).await })
        })
        .collect();
    let mut won = Vec::new();
    for start in starts {
        match start.await.unwrap() {
            Ok(listener) => won.push(listener),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse, "{error}"),
        }
    }
    assert_eq!(won.len(), 1);
    UnixStream::connect(&path).await.unwrap();
}

#[tokio::test]
async fn what_is_for_operators_can_have_a_listener_of_its_own() {
    let cluster = cluster();
    let flags = ["--admin-listen", "127.0.0.1:0"];
    let bridge = Bridge::start(&cluster.bootstrap_servers(), &flags).await;
    let &Listen::Tcp(address) = &bridge.listening[0] else { unreachable!() };
    let operators = Client::new(address);
    operators.until_ready(true, Duration::from_secs(10)).await;
    for path in ["/livez", "/readyz", "/metrics", "/openapi.json"] {
        assert_eq!(operators.get(path).await.status, 200, "{path}");
        bridge.client.get(path).await.assert_problem(404, "not-found");
    }
    assert_eq!(bridge.client.event("t", event("1", 10)).await.status, 202);
    operators.event("t", event("2", 10)).await.assert_problem(404, "not-found");
    assert_eq!(
        operators.metric(r#"kafka_bridge_records_total{cluster="default",outcome="acknowledged"}"#).await,
        1
    );
    assert!(bridge.stop().await.is_none());
}
