//! The contract between the Wicketgate filter and `kafka-bridge`: what an event looks like ([`event`],
//! [`data`]), how records travel from one to the other ([`hop`]), how they are signed on the way ([`signature`]), and
//! what Kafka gets ([`kafka`]). Both sides use this crate and its golden vectors (`envelope/vectors`), so neither can
//! drift from the other.
//!
//! `docs/envelope.md` is the prose specification.

pub mod data;
pub mod event;
pub mod hop;
pub mod http_event;
pub mod http_header;
pub mod json_fault;
pub mod kafka;
pub mod media_type;
pub mod octets;
pub mod quote;
pub mod signature;
pub mod timestamp;
pub mod trace_context;

/// Version of the envelope, carried in every event as the extension attribute `wgversion`. It changes when an
/// attribute changes its meaning or disappears, not when one is added.
pub const ENVELOPE_VERSION: u32 = 1;

/// The media type of a CloudEvent in JSON, structured mode (CloudEvents JSON Format 1.0.2, section 3).
pub const STRUCTURED_CONTENT_TYPE: &str = "application/cloudevents+json; charset=UTF-8";
