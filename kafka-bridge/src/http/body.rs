//! Reading a request's body: whole, bounded in size, in time, and in memory over all requests.

use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};
use wicketgate_envelope::media_type;

use crate::body_memory::{Exhausted, Share};
use crate::http::Limits;
use crate::http::shortened::shortened;
use crate::problem::{Kind, Problem};

/// A body, and its share of the memory that all bodies have together.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: Bytes,
    memory: Share,
}

impl Received {
    /// Its sender has proven who it is.
    pub(super) fn prove(&mut self) {
        self.memory.prove();
    }
}

/// Why a body was not read.
#[derive(Debug)]
pub(super) struct Unread {
    /// As a metric label.
    pub(super) reason: &'static str,
    pub(super) problem: Problem,
}

impl Unread {
    fn new(reason: &'static str, kind: Kind, detail: impl Into<String>) -> Self {
        Self { reason, problem: Problem::new(kind, detail) }
    }
}

impl From<Unread> for Problem {
    fn from(unread: Unread) -> Self {
        unread.problem
    }
}

/// The body of a request: as it was read when its signature was checked, or read now.
///
/// # Errors
/// As [`read`].
pub(super) async fn take(mut request: Request, limits: &Limits) -> Result<Arc<Received>, Problem> {
    match request.extensions_mut().remove() {
        Some(received) => Ok(received),
        None => Ok(Arc::new(read(request.into_body(), limits, Share::proven(&limits.memory), || ()).await?)),
    }
}

/// Reads the body. `memory` grows as its bytes arrive, whatever was announced; `tell` is called for each KiB of a body without
/// a proof.
///
/// # Errors
/// A problem that says which bound it broke, or that it broke off.
pub(super) async fn read(
    body: Body,
    limits: &Limits,
    mut memory: Share,
    tell: impl Fn(),
) -> Result<Received, Unread> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limits.body_bytes {
        return Err(too_large(limits));
    }
    let reading = async {
        let mut body = body;
        let mut whole = Vec::new();
        let mut first: Option<Bytes> = None;
        // Frames without data do not count, so that nobody holds a connection open with them.
        let mut heard = Instant::now();
        loop {
            let next = timeout_at(heard + limits.body_idle_timeout, body.frame());
            let next = tokio::select! {
                biased;
                () = memory.evicted() => return Err(no_memory(Exhausted)),
                next = next => next,
            };
            let frame = match next {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => return Err(paused(limits, first.is_none() && whole.is_empty())),
            };
            let frame = frame.map_err(|_| {
                Unread::new("broken_off", Kind::BadRequest, "the body broke off before its announced end")
            })?;
            // Trailers carry nothing that the bridge uses.
            let Ok(data) = frame.into_data() else { continue };
            if data.is_empty() {
                continue;
            }
            heard = Instant::now();
            let length = first.as_ref().map_or(whole.len(), Bytes::len).saturating_add(data.len());
            if length > limits.body_bytes {
                return Err(too_large(limits));
            }
            if memory.arrived(length).map_err(no_memory)? {
                tell();
            }
            if first.is_none() && whole.is_empty() {
                memory.hold(length).map_err(no_memory)?;
                first = Some(data);
                continue;
            }
            if length > whole.capacity() {
                // Twice what there is, so that it is not moved too often.
                let end = if announced >= length { announced } else { limits.body_bytes };
                let capacity = length.saturating_mul(2).min(end);
                memory.hold(capacity).map_err(no_memory)?;
                whole.reserve_exact(capacity.saturating_sub(whole.len()));
            }
            if let Some(start) = first.take() {
                whole.extend_from_slice(&start);
            }
            whole.extend_from_slice(&data);
        }
        Ok(first.unwrap_or_else(|| Bytes::from(whole)))
    };
    match tokio::time::timeout(limits.body_timeout, reading).await {
        Ok(bytes) => Ok(Received { bytes: bytes?, memory }),
        Err(_) => Err(Unread::new(
            "slow_body",
            Kind::RequestTimeout,
            format!("the whole body must arrive within {}", humantime::format_duration(limits.body_timeout)),
        )),
    }
}

fn paused(limits: &Limits, before_the_first: bool) -> Unread {
    let what = if before_the_first { "the body must begin" } else { "the body must go on" };
    let within = humantime::format_duration(limits.body_idle_timeout);
    Unread::new("slow_body", Kind::RequestTimeout, format!("{what} within {within}"))
}

fn too_large(limits: &Limits) -> Unread {
    let detail = format!("the body is larger than {} bytes", limits.body_bytes);
    Unread::new("too_large", Kind::TooLarge, detail)
}

fn no_memory(_: Exhausted) -> Unread {
    let problem = Problem::unavailable("the bridge is reading as many requests as it has memory for", 1);
    Unread { reason: "no_memory", problem }
}

/// Checks the media type of the body.
///
/// # Errors
/// 415 with what was wanted and what came.
pub(super) fn require_media_type(headers: &HeaderMap, wanted: &str) -> Result<(), Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Err(Problem::new(
            Kind::UnsupportedMediaType,
            format!("content-type: wanted {wanted}, got none"),
        ));
    };
    let text = value.to_str().unwrap_or("(not text)");
    if media_type::essence(text).eq_ignore_ascii_case(wanted) {
        Ok(())
    } else {
        Err(Problem::new(
            Kind::UnsupportedMediaType,
            format!("content-type: wanted {wanted}, got {:?}", shortened(text)),
        ))
    }
}
