//! The bridge from outside, over HTTP: in the test's process or as the program, in front of a cluster whose faults the
//! test chooses or of a real Apache Kafka.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_debug_implementations,
    reason = "tests"
)]

mod acks;
#[path = "../../../tests/src/certificates.rs"]
mod certificates;
mod common;

mod batches;
mod breaker;
mod clusters;
mod connections;
mod early;
mod faults;
mod hop;
mod http;
mod idempotency;
mod identity;
mod isolation;
mod journal;
mod limits;
mod listeners;
mod modes;
mod mtls;
mod openapi;
mod otlp;
mod overdue;
mod process;
mod produce;
mod reload;
#[cfg(feature = "oidc")]
mod secured;
mod shared;
mod shared_limits;
mod sink;
mod spool;
mod strangers;
mod tail;
mod topics;
mod tracing;
