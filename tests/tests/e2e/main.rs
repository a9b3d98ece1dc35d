//! The chain from caller to Kafka, every part of it real.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is a test, and a panic is how a test fails"
)]

mod kafka_itself;
