//! What became of a record, from what librdkafka says.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::delivery::Outcome;

/// The outcome of a record that the producer did not take. It is not in any queue, so it was not written.
pub(super) fn not_enqueued(error: &KafkaError) -> Outcome {
    match (error, error.rdkafka_error_code()) {
        (_, Some(code)) => permanent(code).unwrap_or(Outcome::Unavailable),
        // There is no producer, which says nothing of the record.
        (KafkaError::ClientCreation(_) | KafkaError::ClientConfig(..), None) => Outcome::Unavailable,
        // It could not even be expressed to librdkafka.
        (_, None) => Outcome::Refused,
    }
}

/// The outcome of a record that was handed to the producer and came back with an error.
///
/// Only an answer that Kafka gives to that very record counts as "not written". Everything else is unknown, a
/// timeout above all: a code alone does not tell whether an earlier attempt reached a broker.
pub(super) fn not_delivered(code: Code) -> Outcome {
    permanent(code).unwrap_or(Outcome::Unknown)
}

/// Whether a broker says this of a batch because of what is in it, and has written none of it. Each of its records
/// comes back with the same code, or with one that says that another was bad, whichever of them it was about.
///
/// The code must have come with a delivery report: librdkafka has a limit of its own for each record, and says so
/// when it is enqueued.
pub(super) fn is_of_batch(code: Code) -> bool {
    matches!(
        code,
        Code::MessageSizeTooLarge
            | Code::MessageBatchTooLarge
            | Code::InvalidMessageSize
            | Code::InvalidRecord
            | Code::InvalidDifferentRecord
            | Code::InvalidTimestamp
            | Code::PolicyViolation
            | Code::UnsupportedForMessageFormat
            | Code::InvalidRequest
    )
}

/// Whether sending the same record again would have the same result.
pub(super) fn is_permanent(code: Code) -> bool {
    permanent(code).is_some()
}

/// Whether this is said of a cluster that is out of reach or out of order, and not of a record: it passes, and the same
/// record is taken then.
pub(super) fn is_of_cluster(code: Code) -> bool {
    matches!(
        code,
        Code::MessageTimedOut
            | Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::RequestTimedOut
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::NetworkException
            | Code::SSL
            | Code::Authentication
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::KafkaStorageError
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::ThrottlingQuotaExceeded
    )
}

/// Codes after which sending the same record again has the same result.
fn permanent(code: Code) -> Option<Outcome> {
    Some(match code {
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => {
            Outcome::TooLarge
        }
        Code::UnknownTopic
        | Code::UnknownPartition
        | Code::UnknownTopicOrPartition
        | Code::InvalidTopic
        | Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::PolicyViolation
        | Code::InvalidRecord
        | Code::InvalidDifferentRecord
        | Code::InvalidTimestamp
        | Code::InvalidRequiredAcks
        | Code::UnsupportedForMessageFormat
        | Code::UnsupportedCompressionType
        | Code::UnsupportedVersion
        | Code::InvalidArgument
        | Code::InvalidRequest => Outcome::Refused,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_no_retry_mends_say_so_before_and_after_the_queue() {
        for (code, outcome) in [
            (Code::MessageSizeTooLarge, Outcome::TooLarge),
            (Code::MessageBatchTooLarge, Outcome::TooLarge),
            (Code::UnknownTopic, Outcome::Refused),
            (Code::UnknownTopicOrPartition, Outcome::Refused),
            (Code::UnknownPartition, Outcome::Refused),
            (Code::InvalidTopic, Outcome::Refused),
            (Code::TopicAuthorizationFailed, Outcome::Refused),
            (Code::ClusterAuthorizationFailed, Outcome::Refused),
            (Code::PolicyViolation, Outcome::Refused),
            (Code::InvalidRecord, Outcome::Refused),
            (Code::InvalidDifferentRecord, Outcome::Refused),
        ] {
            assert_eq!(not_enqueued(&KafkaError::MessageProduction(code)), outcome, "{code:?}");
            assert_eq!(not_delivered(code), outcome, "{code:?}");
        }
    }

    #[test]
    fn a_producer_that_cannot_be_made_is_not_held_against_the_record() {
        let creation = KafkaError::ClientCreation("Failed to create thread".to_owned());
        assert_eq!(not_enqueued(&creation), Outcome::Unavailable);
        let nul = std::ffi::CString::new("a\0").unwrap_err();
        assert_eq!(not_enqueued(&KafkaError::Nul(nul)), Outcome::Refused);
    }

    #[test]
    fn only_what_is_certainly_not_written_and_may_be_the_fault_of_another_record_is_of_the_batch() {
        for code in [
            Code::MessageSizeTooLarge,
            Code::MessageBatchTooLarge,
            Code::InvalidMessageSize,
            Code::InvalidRecord,
            Code::InvalidDifferentRecord,
            Code::InvalidTimestamp,
            Code::PolicyViolation,
        ] {
            assert!(is_of_batch(code), "{code:?}");
            assert_ne!(not_delivered(code), Outcome::Unknown, "{code:?}");
        }
        for code in [
            Code::UnknownTopicOrPartition,
            Code::TopicAuthorizationFailed,
            Code::InvalidMessage,
            Code::MessageTimedOut,
            Code::OutOfOrderSequenceNumber,
            Code::Fatal,
        ] {
            assert!(!is_of_batch(code), "{code:?}");
        }
    }

    #[test]
    fn what_never_entered_the_queue_can_be_retried_safely() {
        for code in [Code::QueueFull, Code::Fatal, Code::State, Code::PurgeQueue] {
            let error = KafkaError::MessageProduction(code);
            assert_eq!(not_enqueued(&error), Outcome::Unavailable, "{code:?}");
        }
    }

    #[test]
    fn what_was_handed_over_and_got_no_final_answer_is_unknown() {
        for code in [
            Code::MessageTimedOut,
            Code::RequestTimedOut,
            Code::BrokerTransportFailure,
            Code::AllBrokersDown,
            Code::NetworkException,
            Code::NotEnoughReplicas,
            Code::NotEnoughReplicasAfterAppend,
            Code::NotLeaderForPartition,
            Code::LeaderNotAvailable,
            Code::KafkaStorageError,
            Code::OutOfOrderSequenceNumber,
            Code::InvalidProducerEpoch,
            Code::UnknownProducerId,
            Code::ProducerFenced,
            Code::Fatal,
            Code::PurgeQueue,
            Code::PurgeInflight,
            Code::QueueFull,
            Code::Unknown,
        ] {
            assert_eq!(not_delivered(code), Outcome::Unknown, "{code:?}");
        }
    }
}
