//! Accepts connections, serves HTTP/1 and HTTP/2 on them, and ends them without cutting off a request.

mod listener;
mod tls;

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::hop::Presented;
use crate::http::ConnectionMemory;
use listener::Accepted;
pub use listener::Listener;
pub use tls::Tls;

/// How long to wait when the operating system has no more sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A server on its way out: it accepts no more, and finishes what it has.
#[allow(missing_debug_implementations, reason = "the connections have nothing to show")]
pub struct Draining {
    connections: GracefulShutdown,
}

impl Draining {
    /// Waits until the last request is answered.
    pub async fn finish(self) {
        self.connections.shutdown().await;
    }
}

/// What every connection is held to.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a connection may be idle, or take over the head of a request.
    pub idle_timeout: Duration,
    /// Bytes of a head that the router still wants to see, to refuse it with an answer of its own.
    pub header_bytes: u32,
    /// Fields of a head, likewise.
    pub headers: u32,
}

/// As many fields as hyper reads over HTTP/1 without an allocation for each request.
const HEADERS: u32 = 100;

impl Settings {
    /// As configured. Heads a good deal larger than what is taken are read, so that they can be refused in the bridge's
    /// own words; beyond that hyper answers 431 without a body.
    pub fn new(config: &Config) -> Self {
        Self {
            idle_timeout: config.idle_timeout,
            header_bytes: config.max_header_bytes.saturating_mul(2).max(32 << 10),
            headers: config.max_headers.saturating_add(HEADERS / 4).max(HEADERS),
        }
    }

    fn http(self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        let mut http1 = builder.http1();
        http1.timer(TokioTimer::new()).header_read_timeout(self.idle_timeout);
        // What is read ahead, bodies included, and so a bound for heads.
        http1.max_buf_size(usize::try_from(self.header_bytes).unwrap_or(usize::MAX));
        if self.headers > HEADERS {
            http1.max_headers(usize::try_from(self.headers).unwrap_or(usize::MAX));
        }
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(self.idle_timeout)
            .keep_alive_timeout(self.idle_timeout)
            .max_header_list_size(self.header_bytes)
            .adaptive_window(true);
        builder
    }
}

/// What connections are served by.
#[derive(Clone, Debug)]
pub struct Served {
    /// What answers requests.
    pub router: Router,
    /// What new connections are held to.
    pub settings: Settings,
    /// What new connections with TLS shake hands with.
    pub tls: Option<Tls>,
}

/// Serves what `served` holds until `stop` is done; then the listeners are closed. What it holds may change on the way:
/// each request is answered by what it held when the request came.
pub async fn serve(
    listeners: Vec<Listener>,
    served: watch::Receiver<Served>,
    stop: impl Future<Output = ()>,
) -> Draining {
    let connections = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    let mut turn = 0;
    // No request has come on these yet, so nothing is lost if they end with the listeners.
    let mut handshakes = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = &mut stop => return Draining { connections },
            Some(shaken) = handshakes.join_next() => match shaken {
                Ok(Ok((stream, presented))) => {
                    connection(stream, presented, &served, &connections);
                }
                Ok(Err(error)) => tracing::debug!(%error, "no TLS"),
                Err(error) => tracing::error!(%error, "a handshake failed"),
            },
            accepted = poll_fn(|cx| poll_accept(&listeners, &mut turn, cx)) => match accepted {
                Ok(Accepted::Tcp(stream)) => {
                    no_delay(&stream);
                    connection(stream, None, &served, &connections);
                }
                Ok(Accepted::Tls(stream)) => {
                    no_delay(&stream);
                    let tls = served.borrow().tls.clone();
                    if let Some(tls) = tls {
                        handshakes.spawn(async move { tls.accept(stream).await });
                    }
                }
                Ok(Accepted::Unix(stream)) => connection(stream, None, &served, &connections),
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "no connection can be accepted; trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// Answers are small; none of them waits to be sent together with the next.
fn no_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
}

/// The next connection on any of them; whose `turn` it is comes first, so that a busy one does not keep out the others.
fn poll_accept(listeners: &[Listener], turn: &mut usize, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
    let first = *turn % listeners.len().max(1);
    let (later, sooner) = listeners.split_at(first);
    for listener in sooner.iter().chain(later) {
        if let Poll::Ready(accepted) = listener.poll_accept(cx) {
            *turn = first + 1;
            return Poll::Ready(accepted);
        }
    }
    Poll::Pending
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

fn connection<S>(
    stream: S,
    presented: Option<Arc<Presented>>,
    served: &watch::Receiver<Served>,
    connections: &GracefulShutdown,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let settings = served.borrow().settings;
    let served = served.clone();
    let used = Arc::new(AtomicBool::new(false));
    let memory = Arc::new(ConnectionMemory::default());
    let service = {
        let used = Arc::clone(&used);
        service_fn(move |mut request: Request<Incoming>| {
            if let Some(presented) = &presented {
                request.extensions_mut().insert(Arc::clone(presented));
            }
            request.extensions_mut().insert(Arc::clone(&memory));
            used.store(true, Ordering::Relaxed);
            let router = served.borrow().router.clone();
            TowerToHyperService::new(router).call(request)
        })
    };
    let serving = settings.http().serve_connection(TokioIo::new(stream), service).into_owned();
    let serving = connections.watch(serving);
    tokio::spawn(async move {
        let mut serving = std::pin::pin!(serving);
        // hyper's own timeout starts once it knows the version of HTTP, for which it would wait forever.
        let served = match tokio::time::timeout(settings.idle_timeout, &mut serving).await {
            Ok(served) => served,
            Err(_) if used.load(Ordering::Relaxed) => serving.await,
            Err(_) => Ok(()),
        };
        if let Err(error) = served {
            tracing::debug!(%error, "connection ended early");
        }
    });
}
