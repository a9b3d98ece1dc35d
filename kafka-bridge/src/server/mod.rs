//! Accepts connections, serves HTTP/1 and HTTP/2 on them, and ends them without cutting off a request.

mod connection;
mod connections;
mod descriptors;
mod lingering;
mod listen;
mod listener;
mod metrics;
mod options;
mod tls;

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::watch;

use connections::Place;
pub(crate) use connections::{Connection, Connections};
pub(crate) use descriptors::connections as most_connections;
pub use descriptors::{TooManyConnections, raise_limit};
pub use listen::Listen;
use listener::Accepted;
pub use listener::Listener;
pub use metrics::Metrics;
pub use options::{Options, Reloadable};
pub use tls::Tls;

/// How long to wait when the operating system has no more sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A server on its way out: it accepts no more, and finishes what it has.
#[derive(Debug)]
pub(crate) struct Draining {
    connections: Arc<Connections>,
}

impl Draining {
    /// Waits until the last connection has ended, which those do that have no request any more.
    pub(crate) async fn finish(&self) {
        self.connections.none().await;
    }

    /// Whether requests that were let in are not answered yet.
    pub(crate) fn has_requests(&self) -> bool {
        self.connections.has_requests()
    }
}

/// What every connection is held to.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a connection may be without a request, the head of the next one included.
    pub idle_timeout: Duration,
    /// How long the body of a request may take, and how long its answer may be on its way to a caller who does not read it.
    pub body_timeout: Duration,
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
    pub fn new(options: &Reloadable) -> Self {
        Self {
            idle_timeout: options.idle_timeout,
            body_timeout: options.body_timeout,
            header_bytes: options.max_header_bytes.saturating_mul(2).max(32 << 10),
            headers: options.max_headers.saturating_add(HEADERS / 4).max(HEADERS),
        }
    }

    fn http(self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        let mut http1 = builder.http1();
        // Heads that do not come are left to what ends idle connections, which both versions of HTTP have in common.
        http1.timer(TokioTimer::new()).header_read_timeout(None);
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
    /// What answers callers, and operators too where they have no listener of their own.
    pub router: Router,
    /// What answers on the listener of operators.
    pub admin: Router,
    /// What new connections are held to.
    pub settings: Settings,
    /// What new connections with TLS shake hands with.
    pub tls: Option<Tls>,
}

/// Serves what `served` holds until `stop` is done; then the listeners are closed. What it holds may change on the way:
/// each request is answered by what it held when the request came.
pub(crate) async fn serve(
    listeners: Vec<Listener>,
    served: watch::Receiver<Served>,
    connections: Arc<Connections>,
    stop: impl Future<Output = ()>,
) -> Draining {
    let (stopping, stopped) = watch::channel(false);
    let mut stop = std::pin::pin!(stop);
    let mut turn = 0;
    let mut fails = false;
    loop {
        let accepting = async {
            connections.room().await;
            poll_fn(|cx| poll_accept(&listeners, &mut turn, cx)).await
        };
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accepting => accepted,
        };
        match accepted {
            Ok((accepted, admin)) => {
                if std::mem::take(&mut fails) {
                    tracing::info!("connections can be accepted again");
                }
                let place = connections.enter();
                tokio::spawn(serve_one(place, (accepted, admin), served.clone(), stopped.clone()));
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut fails, true) {
                    tracing::error!(%error, "no connection can be accepted; trying again");
                }
                tokio::select! {
                    () = &mut stop => break,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
    // Those that stay look at it before they look for this sender.
    stopping.send_replace(true);
    Draining { connections }
}

/// Serves a connection that has come in.
async fn serve_one(
    place: Place,
    (accepted, admin): (Accepted, bool),
    served: watch::Receiver<Served>,
    mut stopped: watch::Receiver<bool>,
) {
    let connection = &place.0;
    match accepted {
        Accepted::Tcp(stream) => {
            no_delay(&stream);
            connection::serve(connection, (stream, admin), None, served, stopped).await;
        }
        Accepted::Unix(stream) => connection::serve(connection, (stream, admin), None, served, stopped).await,
        Accepted::Tls(stream) => {
            no_delay(&stream);
            let Some(tls) = served.borrow().tls.clone() else { return };
            // No request has come yet, so nothing is lost if it ends here.
            let shaken = tokio::select! {
                shaken = tls.accept(stream) => shaken,
                () = connection.told() => return,
                _ = stopped.wait_for(|stopped| *stopped) => return,
            };
            match shaken {
                Ok((stream, presented)) => {
                    connection::serve(connection, (stream, admin), presented, served, stopped).await;
                }
                Err(error) => tracing::debug!(%error, "no TLS"),
            }
        }
    }
}

/// Answers are small; none of them waits to be sent together with the next.
fn no_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
}

/// The next connection on any of them, and whether it is one of operators; whose `turn` it is comes first, so that a busy one does not keep out the others.
fn poll_accept(
    listeners: &[Listener],
    turn: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(Accepted, bool)>> {
    let first = *turn % listeners.len().max(1);
    let (later, sooner) = listeners.split_at(first);
    for listener in sooner.iter().chain(later) {
        if let Poll::Ready(accepted) = listener.poll_accept(cx) {
            *turn = first + 1;
            return Poll::Ready(accepted.map(|accepted| (accepted, listener.admin)));
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
