//! Whether a record that came back with an error may be in Kafka all the same.
#![allow(unsafe_code, reason = "librdkafka knows, and its Rust binding has no safe way to ask")]

use rdkafka::bindings::{rd_kafka_message_status, rd_kafka_msg_status_t};
use rdkafka::message::BorrowedMessage;

/// Whether a broker may have written the record, in any of the attempts that were made. The error that it came back
/// with is about the last of these: an earlier one may have been written, and its acknowledgement lost.
pub(super) fn may_be_written(message: &BorrowedMessage<'_>) -> bool {
    // SAFETY: the message is borrowed, so librdkafka has not freed what it points to, and the function only reads it
    // (`rd_kafka_message_status` in rdkafka.h: "Returns the message's persistence status in the topic log", for
    // messages of delivery reports).
    let status = unsafe { rd_kafka_message_status(message.ptr()) };
    status != rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED
}
