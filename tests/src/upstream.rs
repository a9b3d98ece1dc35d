//! The service behind the gateway: it remembers what reaches it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// A request with this header field is answered with its value for a status as soon as its head is there, whatever becomes
/// of its body.
pub const ANSWER_EARLY: &str = "x-answer-early";

/// A small HTTP server that answers 200 with the body `upstream`, with header fields of its own about caches and
/// origins, and keeps every request.
#[derive(Clone, Debug)]
pub struct Upstream {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A request that reached the service.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its method.
    pub method: Method,
    /// Its path and query.
    pub path: String,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Upstream {
    /// Starts one on a thread of its own, since a test's runtime ends with the test.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let address = listener.local_addr().expect("a bound socket has an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let upstream = Self { address, seen };
        let server = upstream.clone();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(server.serve(listener));
        });
        upstream
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request that reached it so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no holder of this lock panics").clone()
    }

    async fn serve(self, listener: std::net::TcpListener) {
        let listener = TcpListener::from_std(listener).expect("a listener for tokio");
        while let Ok((stream, _)) = listener.accept().await {
            let upstream = self.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| upstream.answer(request));
                // A connection that breaks is the gateway's business.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let (head, body) = request.into_parts();
        let early =
            head.headers.get(ANSWER_EARLY).and_then(|status| status.to_str().ok()?.parse::<u16>().ok());
        let body = match early {
            // It is read on, so that no reset overtakes the answer.
            Some(_) => {
                tokio::spawn(body.collect());
                Bytes::new()
            }
            None => body.collect().await?.to_bytes(),
        };
        let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        self.seen.lock().expect("no holder of this lock panics").push(Seen {
            method: head.method,
            path,
            headers: head.headers,
            body,
        });
        let answer = Response::builder()
            .status(early.unwrap_or(200))
            .header("vary", "accept-encoding")
            .header("access-control-allow-origin", "https://of-the-upstream.example")
            .body(Full::from("upstream"));
        Ok(answer.expect("a valid answer"))
    }
}
