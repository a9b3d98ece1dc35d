//! The harness of the end-to-end tests: it starts a real Apache Kafka, the real bridge and a real Envoy with the
//! `wicketgate.wasm` that ships, and reads back what arrived.
//!
//! Nothing here skips. A part that is missing fails the test with the command that mends it. Every process ends
//! with the process that started it, however that ends. Logs are under `target/e2e/<pid>/`; what a failing test
//! used is also printed.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a harness that cannot go on fails the test that uses it, and a panic is how a test fails"
)]

pub mod artefacts;
pub mod authority;
pub mod bridge;
pub mod certificates;
pub mod cloudevents;
pub mod disk;
pub mod envoy;
pub mod gateway;
pub mod http_client;
pub mod java;
pub mod kafka;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod python;
pub mod raw_http;
pub mod redis;
pub mod topic;
pub mod upstream;
pub mod wait;
