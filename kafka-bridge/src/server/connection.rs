//! One connection from its start to its end: what is served on it, and what ends it.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::{Service as _, service_fn};
use hyper::{Request, Version};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;

use super::connections::{Connection, InFlight, Own, PutOut};
use super::lingering::{Early, Lingering, Watched};
use super::{Served, Settings};
use crate::hop::Presented;

/// How long a connection that has been asked to end may take over it once no request is on it: for the last bytes of an
/// answer, and for HTTP/2's farewell, which takes a round trip.
const FAREWELL: Duration = Duration::from_secs(5);

/// The same for one on which nobody has been let in.
const STRANGERS_FAREWELL: Duration = Duration::from_millis(500);

/// How long such a connection lasts when the bridge stops, whatever is on it.
const STRANGERS_LAST: Duration = Duration::from_secs(2);

/// What there is to do about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing before this time.
    Stay(Instant),
    /// It has to be asked to end.
    AskToEnd,
    /// It has to end, with all that is on it.
    Cut(&'static str),
}

/// What a connection is judged by besides what is on it.
#[derive(Clone, Copy, Debug)]
struct Life {
    settings: Settings,
    opened: Instant,
    /// When the bridge began to stop.
    stopping: Option<Instant>,
    /// When it was asked to end.
    asked: Option<Instant>,
}

impl Life {
    fn judge(&self, own: &Own, let_in: bool, now: Instant) -> Verdict {
        let Settings { idle_timeout, body_timeout, .. } = self.settings;
        if own.put_out == Some(PutOut::AtOnce) {
            // Counted by who put it out.
            return Verdict::Cut("");
        }
        let mut next = now + idle_timeout.min(body_timeout);
        // What is still to come by a time: true if that is over.
        let mut is_over = |time: Instant| {
            if now < time {
                next = next.min(time);
            }
            now >= time
        };
        if own.oldest_answer().is_some_and(|began| is_over(began + body_timeout)) {
            return Verdict::Cut("answer_not_taken");
        }
        let quiet_since = (own.in_flight == 0).then_some(own.quiet_since);
        let Some(asked) = self.asked else {
            let idle = quiet_since.is_some_and(|since| is_over(since + idle_timeout));
            let strange = !let_in && is_over(self.opened + idle_timeout);
            let ask = idle || strange || self.stopping.is_some() || own.put_out.is_some();
            return if ask { Verdict::AskToEnd } else { Verdict::Stay(next) };
        };
        let farewell = if let_in { FAREWELL } else { STRANGERS_FAREWELL };
        if quiet_since.is_some_and(|since| is_over(since.max(asked) + farewell)) {
            return Verdict::Cut("idle");
        }
        // Long enough for a body that began to come in the last moment, and its answer.
        let stopping = self.stopping.filter(|_| !let_in);
        if stopping.is_some_and(|since| is_over(since + STRANGERS_LAST))
            || !let_in && is_over(asked + idle_timeout.max(body_timeout * 2))
        {
            return Verdict::Cut("no_proof");
        }
        Verdict::Stay(next)
    }
}

/// Serves a connection to its end. `stop` becomes true when the bridge stops.
pub(super) async fn serve<S>(
    connection: &Arc<Connection>,
    (stream, admin): (S, bool),
    presented: Option<Arc<Presented>>,
    served: watch::Receiver<Served>,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let settings = served.borrow().settings;
    let early = Early::default();
    let service = {
        let (connection, early) = (Arc::clone(connection), early.clone());
        service_fn(move |mut request: Request<Incoming>| {
            if let Some(presented) = &presented {
                request.extensions_mut().insert(Arc::clone(presented));
            }
            request.extensions_mut().insert(Arc::clone(&connection));
            let mut in_flight = connection.begin();
            let router = {
                let served = served.borrow();
                if admin { served.admin.clone() } else { served.router.clone() }
            };
            let early = (request.version() < Version::HTTP_2).then(|| early.clone());
            let request = request.map(|body| Watched::new(body, early));
            let answering = TowerToHyperService::new(router).call(request);
            async move {
                let response = answering.await?;
                in_flight.answered();
                Ok::<_, std::convert::Infallible>(
                    response.map(|body| Answer { body, in_flight: Some(in_flight) }),
                )
            }
        })
    };
    let http = settings.http();
    let mut serving = pin!(http.serve_connection(TokioIo::new(Lingering::new(stream, early)), service));
    let mut life = Life { settings, opened: Instant::now(), stopping: None, asked: None };
    loop {
        let now = Instant::now();
        if life.stopping.is_none() && *stop.borrow_and_update() {
            life.stopping = Some(now);
        }
        let verdict = life.judge(&connection.own(), connection.is_let_in(), now);
        let until = match verdict {
            Verdict::Stay(until) => until,
            Verdict::AskToEnd => {
                serving.as_mut().graceful_shutdown();
                life.asked = Some(now);
                continue;
            }
            Verdict::Cut("") => return,
            Verdict::Cut(reason) => return connection.count_end(reason),
        };
        tokio::select! {
            served = &mut serving => {
                if let Err(error) = served {
                    tracing::debug!(%error, "connection ended early");
                }
                return;
            }
            () = connection.told() => {}
            changed = stop.changed(), if life.stopping.is_none() => {
                if changed.is_err() {
                    life.stopping = Some(now);
                }
            }
            () = tokio::time::sleep_until(until) => {}
        }
    }
}

/// An answer, whose request is in flight until the last of it has been handed over.
#[derive(Debug)]
struct Answer {
    body: Body,
    in_flight: Option<InFlight>,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.in_flight = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
