//! A caller of the gateway.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, SizeHint};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// No answer takes longer than this, unless something hangs.
const LIMIT: Duration = Duration::from_secs(30);

/// The body of a request.
pub type Body = BoxBody<Bytes, Infallible>;

/// A client of one server, with its own connections. A test has one of its own, because connections live in the
/// test's runtime.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Pool<HttpConnector, Body>,
    server: SocketAddr,
}

/// A response, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Why there is no response.
#[derive(Clone, Debug)]
pub struct NoAnswer {
    /// Whether there was a connection, and the server may thus have the request.
    pub connected: bool,
    why: String,
}

impl NoAnswer {
    fn after_connecting(why: &dyn fmt::Debug) -> Self {
        Self { connected: true, why: format!("{why:?}") }
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// A body sent in one piece, with a `content-length`.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

/// A body sent piece by piece without a `content-length`: chunked in HTTP/1.1, DATA frames in HTTP/2.
pub fn pieces(pieces: impl IntoIterator<Item = Bytes>) -> Body {
    frames(pieces.into_iter().map(Frame::data).collect())
}

/// A body sent piece by piece that ends with trailers.
pub fn pieces_and_trailers(pieces: impl IntoIterator<Item = Bytes>, trailers: HeaderMap) -> Body {
    frames(pieces.into_iter().map(Frame::data).chain([Frame::trailers(trailers)]).collect())
}

/// A body that comes as it is put into the other end of this channel, and ends with that.
pub fn open(pieces: tokio::sync::mpsc::Receiver<Bytes>) -> Body {
    Open(pieces).boxed()
}

struct Open(tokio::sync::mpsc::Receiver<Bytes>);

impl hyper::body::Body for Open {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

fn frames(frames: Vec<Frame<Bytes>>) -> Body {
    Frames(frames.into()).boxed()
}

struct Frames(std::collections::VecDeque<Frame<Bytes>>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.pop_front().map(Ok))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Client {
    /// Speaks HTTP/1.1.
    pub fn http1(server: SocketAddr) -> Self {
        Self { pool: Pool::builder(TokioExecutor::new()).build(connector()), server }
    }

    /// Speaks HTTP/2 without TLS and without asking first.
    pub fn http2(server: SocketAddr) -> Self {
        Self { pool: Pool::builder(TokioExecutor::new()).http2_only(true).build(connector()), server }
    }

    /// The start of a request for `path` of this server.
    pub fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(format!("http://{}{path}", self.server))
    }

    /// Sends a request and reads its answer.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let what = format!("{} {}", request.method(), request.uri());
        self.try_send(request).await.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// The same, for when no answer is an answer too.
    pub async fn try_send(&self, request: Request<Body>) -> Result<Answer, NoAnswer> {
        let exchange = async {
            let response = self
                .pool
                .request(request)
                .await
                .map_err(|error| NoAnswer { connected: !error.is_connect(), why: format!("{error:?}") })?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(|error| NoAnswer::after_connecting(&error))?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        tokio::time::timeout(LIMIT, exchange)
            .await
            .unwrap_or_else(|_| Err(NoAnswer::after_connecting(&format!("no answer within {LIMIT:?}"))))
    }

    /// The answer to a GET, or `None` when there is no server.
    pub async fn try_get(&self, path: &str) -> Option<Answer> {
        let request = self.request(Method::GET, path).body(full("")).expect("a valid request");
        self.try_send(request).await.ok()
    }
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// A field's value as text; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(HeaderValue::to_str).transpose().ok().flatten().unwrap_or_default()
    }
}
