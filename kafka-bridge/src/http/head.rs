//! The bounds of a request's head.

use axum::extract::Request;

use crate::http::Limits;
use crate::problem::{Kind, Problem};

/// What a field takes besides its name and value, as HTTP/2 counts it (RFC 9113, section 6.5.2), in bytes.
const FIELD_OVERHEAD: usize = 32;

/// Checks how many fields a request has, and how many bytes they and its target come to.
///
/// # Errors
/// 431 with the bound that was broken.
pub(super) fn check(request: &Request, limits: &Limits) -> Result<(), Problem> {
    let (count, most) = (request.headers().len(), limits.headers);
    if count > most {
        return Err(Problem::new(
            Kind::HeadersTooLarge,
            format!("wanted at most {most} header fields, got {count}"),
        ));
    }
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let fields = request.headers().iter();
    let bytes = fields.fold(target, |sum, (name, value)| {
        sum.saturating_add(name.as_str().len() + value.len() + FIELD_OVERHEAD)
    });
    let most = limits.header_bytes;
    if bytes > most {
        return Err(Problem::new(
            Kind::HeadersTooLarge,
            format!(
                "wanted a head of at most {most} bytes, {FIELD_OVERHEAD} for each field included, got {bytes}"
            ),
        ));
    }
    Ok(())
}
