//! The chain from caller to Kafka, every part of it real: one program, so that Kafka starts once.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is a test, and a panic is how a test fails"
)]

mod bodies;
mod callers;
mod denials;
mod expect;
mod failures;
mod fixtures;
mod kafka_itself;
mod keys;
mod lane;
mod refusals;
mod uploads;
