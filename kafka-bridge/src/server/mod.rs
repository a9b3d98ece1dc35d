//! Accepts connections, serves HTTP/1 and HTTP/2 on them, and ends them without cutting off a request.

mod listener;

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

use listener::Accepted;
pub use listener::Listener;

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

/// Serves `router` until `stop` is done; then the listeners are closed. A connection that is idle for `idle_timeout`,
/// or takes as long over the head of a request, is closed too.
pub async fn serve(
    listeners: Vec<Listener>,
    router: Router,
    idle_timeout: Duration,
    stop: impl Future<Output = ()>,
) -> Draining {
    let connections = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    let mut turn = 0;
    loop {
        tokio::select! {
            biased;
            () = &mut stop => return Draining { connections },
            accepted = poll_fn(|cx| poll_accept(&listeners, &mut turn, cx)) => match accepted {
                Ok(Accepted::Tcp(stream)) => {
                    // Answers are small; none of them waits to be sent together with the next.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "TCP_NODELAY");
                    }
                    connection(stream, &router, idle_timeout, &connections);
                }
                Ok(Accepted::Unix(stream)) => connection(stream, &router, idle_timeout, &connections),
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "no connection can be accepted; trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
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

fn connection<S>(stream: S, router: &Router, idle_timeout: Duration, connections: &GracefulShutdown)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(idle_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(idle_timeout)
        .keep_alive_timeout(idle_timeout)
        .adaptive_window(true);
    let used = Arc::new(AtomicBool::new(false));
    let service = TowerToHyperService::new(router.clone());
    let service = {
        let used = Arc::clone(&used);
        service_fn(move |request: Request<Incoming>| {
            used.store(true, Ordering::Relaxed);
            service.call(request)
        })
    };
    let serving = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let serving = connections.watch(serving);
    tokio::spawn(async move {
        let mut serving = std::pin::pin!(serving);
        // hyper's own timeout starts once it knows the version of HTTP, for which it would wait forever.
        let served = match tokio::time::timeout(idle_timeout, &mut serving).await {
            Ok(served) => served,
            Err(_) if used.load(Ordering::Relaxed) => serving.await,
            Err(_) => Ok(()),
        };
        if let Err(error) = served {
            tracing::debug!(%error, "connection ended early");
        }
    });
}
