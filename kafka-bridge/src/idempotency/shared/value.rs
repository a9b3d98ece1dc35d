//! What keys and values in Redis look like.

use wicketgate_envelope::hop::Ack;
use wicketgate_envelope::timestamp::Timestamp;

use crate::delivery::{Outcome, RecordMetadata};
use crate::idempotency::Identity;
use crate::idempotency::identity::Digest;

/// What keys start with: whose they are, and the version of their values.
pub(super) const PREFIX: &str = "wicketgate:idempotency:1:";

/// What a value says.
pub(super) struct Entry<'v> {
    pub(super) content: &'v str,
    pub(super) state: State<'v>,
}

pub(super) enum State<'v> {
    /// A bridge is at it: this one.
    Pending(&'v str),
    Written(Outcome),
}

impl<'v> Entry<'v> {
    pub(super) fn parse(value: &'v str) -> Option<Self> {
        let mut parts = value.split(' ');
        let (kind, content, third) = (parts.next()?, parts.next()?, parts.next()?);
        let state = match kind {
            "p" => State::Pending(third),
            "w" => {
                let ack = match third {
                    "all" => Ack::All,
                    "leader" => Ack::Leader,
                    "none" => Ack::None,
                    "spooled" => Ack::Spooled,
                    _ => return None,
                };
                let metadata = match parts.next() {
                    None => None,
                    Some(partition) => Some(RecordMetadata {
                        partition: partition.parse().ok()?,
                        offset: parts.next()?.parse().ok()?,
                        timestamp: Timestamp::from_millis(parts.next()?.parse().ok()?),
                    }),
                };
                State::Written(Outcome::Acknowledged { ack, metadata })
            }
            _ => return None,
        };
        parts.next().is_none().then_some(Self { content, state })
    }
}

/// `None` for what was not written, or may not have been, and may be tried again.
pub(super) fn written(identity: &Identity, outcome: Outcome) -> Option<String> {
    let Outcome::Acknowledged { ack, metadata } = outcome else { return None };
    let ack = match ack {
        Ack::All => "all",
        Ack::Leader => "leader",
        Ack::None => "none",
        Ack::Spooled => "spooled",
    };
    let content = hex(&identity.content);
    Some(match metadata {
        Some(RecordMetadata { partition, offset, timestamp }) => {
            format!("w {content} {ack} {partition} {offset} {}", timestamp.as_millis())
        }
        None => format!("w {content} {ack}"),
    })
}

pub(super) fn key(name: &Digest) -> String {
    format!("{PREFIX}{}", hex(name))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The claim of an event, by this process.
pub(super) fn pending(identity: &Identity, owner: &str) -> String {
    format!("p {} {owner}", hex(&identity.content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_were_written() {
        let identity = Identity::from_bytes([0xa5; 32]);
        let metadata =
            RecordMetadata { partition: 7, offset: -1, timestamp: Timestamp::from_millis(1_795_353_386_123) };
        for ack in [Ack::All, Ack::Leader, Ack::None, Ack::Spooled] {
            for metadata in [None, Some(metadata)] {
                let outcome = Outcome::Acknowledged { ack, metadata };
                let value = written(&identity, outcome).unwrap();
                let entry = Entry::parse(&value).unwrap();
                assert_eq!(entry.content, "a5".repeat(16));
                assert!(matches!(entry.state, State::Written(read) if read == outcome), "{value}");
            }
        }
        for outcome in [Outcome::Unknown, Outcome::Refused, Outcome::Unavailable, Outcome::TooLarge] {
            assert_eq!(written(&identity, outcome), None);
        }
        assert!(matches!(Entry::parse("p c o").unwrap().state, State::Pending("o")));
        for other in [
            "",
            "p",
            "p c",
            "p c o x",
            "w c",
            "w c some",
            "w c all 1",
            "w c all 1 2",
            "w c all 1 2 3 4",
            "x c all",
        ] {
            assert!(Entry::parse(other).is_none(), "{other}");
        }
    }
}
