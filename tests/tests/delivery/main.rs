//! Acknowledged means acknowledged: a bridge under load while its Kafka, its disk, its network or itself fails, what
//! its callers were told, and what arrived in a real Kafka, compared event by event.
//!
//! Rows take turns. Each prints its line of the table in `docs/delivery.md`; `make delivery` makes all of it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is a test, and a panic is how a test fails"
)]

mod account;
mod bridge_process;
mod broker;
mod callers;
mod cluster;
mod disks;
mod gateway;
mod leader;
mod load;
mod network;
mod readiness;
mod scene;
mod silent;
mod single;
mod spool;
mod table;
mod topics;
