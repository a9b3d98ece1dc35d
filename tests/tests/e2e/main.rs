//! The chain from caller to Kafka, every part of it real: one program, so that Kafka starts once.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is a test, and a panic is how a test fails"
)]

mod bad_input;
mod basic;
mod batches;
mod beacons;
mod bodies;
mod callers;
mod claims;
mod client_certificates;
mod cloudevents;
mod cloudevents_schema;
mod cloudevents_sdk;
mod clusters;
mod compressed;
mod cors;
mod denials;
mod encodings;
mod example;
mod examples;
mod expect;
mod explained;
mod failures;
mod fixtures;
mod frozen_kafka;
mod going_on;
mod hop;
mod in_front;
mod kafka_itself;
mod keys;
mod lane;
mod large_calls;
mod limits;
mod mapping;
mod matching;
mod observability;
mod redaction;
mod refusals;
mod replies;
mod rig;
mod signed;
mod spooled;
mod streams;
mod tokens;
mod topics;
mod uploads;
mod webhooks;
