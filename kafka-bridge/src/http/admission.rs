//! Lets in who has a proof, before anything of the request's body is looked into.

use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use wicketgate_envelope::signature::SIGNATURE_HEADER;

use crate::body_memory::Share;
use crate::hop::{Presented, Refusal};
use crate::http::{Shared, body, request_id, route_label};
use crate::problem::Problem;
use crate::server::Connection;
use crate::sparse::Sparse;

/// Requests that bring no proof can come without end.
static REFUSED: LazyLock<Sparse> = LazyLock::new(Sparse::default);

/// How a request was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// None is asked for, or a token or a certificate, which vouch for all of the request.
    Whole,
    /// A signature, which vouches for method, path and body, and not for headers.
    Signature,
}

/// Answers 401 to requests without a proof, where one is configured.
pub(super) async fn require_proof(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let came = SystemTime::now();
    let (request, proof) = if shared.guard.is_open() {
        (request, Proof::Whole)
    } else {
        match admit(&shared, request).await {
            Ok(admitted) => admitted,
            Err(problem) => return problem.into_response(),
        }
    };
    if let Some(connection) = request.extensions().get::<Arc<Connection>>() {
        connection.let_in();
    }
    traced(&shared, request, proof, came, next).await
}

/// Answers a request that has been let in. Only such requests have spans, so that nobody else fills the queue of these.
async fn traced(
    shared: &Shared,
    mut request: Request,
    proof: Proof,
    came: SystemTime,
    next: Next,
) -> Response {
    request.extensions_mut().insert(proof);
    let Some(telemetry) = &shared.telemetry else { return next.run(request).await };
    let route = route_label(request.extensions().get::<MatchedPath>().map(MatchedPath::as_str));
    let span = telemetry.request(route, &request, came, proof == Proof::Whole);
    let response = span.around(next.run(request)).await;
    span.answered(response.status());
    response
}

async fn admit(shared: &Shared, request: Request) -> Result<(Request, Proof), Problem> {
    let id = request_id(request.headers());
    let refused = |refusal: Refusal| {
        let reason = refusal.label();
        shared.metrics.hop_refused(reason);
        if let Some(left_out) = REFUSED.take(reason, Instant::now()) {
            let (request_id, remedy) = (id.as_deref(), refusal.remedy());
            tracing::warn!(
                reason,
                remedy,
                request_id,
                left_out,
                "a call is refused for want of a good proof"
            );
        }
        if refusal == Refusal::Full {
            Problem::unavailable("the bridge has seen as many calls as it can remember", 1)
        } else {
            // Nothing more: whoever guesses is not told how far the guess went.
            Problem::unauthenticated(shared.guard.challenge())
        }
    };
    let guard = &shared.guard;
    let presented = request.extensions().get::<Arc<Presented>>();
    let certificate = guard.check_certificate(presented.map(|presented| &**presented), SystemTime::now());
    let token = guard.check_token(only(request.headers(), &header::AUTHORIZATION));
    if certificate.is_ok() || token.is_ok() {
        return Ok((request, Proof::Whole));
    }
    let (mut head, body) = request.into_parts();
    let name = HeaderName::from_static(SIGNATURE_HEADER);
    let signature =
        guard.read_signature(only(&head.headers, &name), SystemTime::now()).map_err(|refusal| {
            // Of several proofs one that is there says more.
            let refusals = [Some(refusal), token.err(), certificate.err()];
            let told = refusals.into_iter().flatten().find(|refusal| *refusal != Refusal::Missing);
            refused(told.unwrap_or(Refusal::Missing))
        })?;
    let connection = head.extensions.get::<Arc<Connection>>();
    let on_connection = connection.map(|connection| Arc::clone(connection.memory())).unwrap_or_default();
    let memory = Share::unproven(&shared.limits.memory, &on_connection);
    let heard = || connection.iter().for_each(|connection| connection.heard());
    let mut received = body::read(body, &shared.limits, memory, heard).await.inspect_err(|unread| {
        shared.metrics.hop_refused(unread.reason);
    })?;
    let path = head.uri.path_and_query().map_or("", |path| path.as_str());
    guard
        .check_signature(&signature, head.method.as_str(), path, &received.bytes, SystemTime::now())
        .map_err(refused)?;
    received.prove();
    head.extensions.insert(Arc::new(received));
    Ok((Request::from_parts(head, Body::empty()), Proof::Signature))
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none()).map(|value| value.as_bytes())
}
