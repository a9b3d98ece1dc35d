//! How a record lies in the log. `docs/spool.md` specifies it; the golden bytes in the tests hold it still.

use segment_log::UnsealedFrame;

use crate::idempotency::Identity;

const HAS_KEY: u8 = 1;
const HAS_VALUE: u8 = 2;
const HAS_IDENTITY: u8 = 4;
const HAS_PARTITION: u8 = 8;
const HAS_REQUEST_ID: u8 = 16;
const HAS_REASON: u8 = 32;

/// A record as the spool keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// When it was spooled, in milliseconds since 1970-01-01T00:00:00Z.
    pub(super) spooled_at: u64,
    /// The record's own timestamp, in the same unit.
    pub(super) timestamp: i64,
    pub(super) topic: &'a str,
    pub(super) partition: Option<i32>,
    pub(super) key: Option<&'a [u8]>,
    pub(super) headers: Vec<(&'a str, &'a [u8])>,
    pub(super) value: Option<&'a [u8]>,
    /// By which the event is recognised if it comes again.
    pub(super) identity: Option<Identity>,
    /// The request that brought it, for the log.
    pub(super) request_id: Option<&'a str>,
    /// Why Kafka did not take it.
    pub(super) reason: Option<&'a str>,
}

impl<'a> Entry<'a> {
    /// The frame of this record.
    pub(super) fn encode(&self) -> UnsealedFrame {
        let sizes = [self.key, self.value].into_iter().flatten().map(<[u8]>::len);
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len() + 8);
        UnsealedFrame::new(128 + self.topic.len() + sizes.chain(headers).sum::<usize>(), |out| {
            self.write(out)
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let flag = |there: bool, flag: u8| if there { flag } else { 0 };
        out.push(
            flag(self.key.is_some(), HAS_KEY)
                | flag(self.value.is_some(), HAS_VALUE)
                | flag(self.identity.is_some(), HAS_IDENTITY)
                | flag(self.partition.is_some(), HAS_PARTITION)
                | flag(self.request_id.is_some(), HAS_REQUEST_ID)
                | flag(self.reason.is_some(), HAS_REASON),
        );
        out.extend_from_slice(&self.spooled_at.to_le_bytes());
        out.extend_from_slice(&self.timestamp.to_le_bytes());
        if let Some(partition) = self.partition {
            out.extend_from_slice(&partition.to_le_bytes());
        }
        if let Some(identity) = self.identity {
            out.extend_from_slice(&identity.to_bytes());
        }
        put(out, self.topic.as_bytes());
        let optional =
            [self.key, self.value, self.request_id.map(str::as_bytes), self.reason.map(str::as_bytes)];
        optional.into_iter().flatten().for_each(|bytes| put(out, bytes));
        for (name, value) in &self.headers {
            put(out, name.as_bytes());
            put(out, value);
        }
    }

    /// Reads what [`Entry::encode`] wrote; `None` if it is something else.
    pub(super) fn decode(payload: &'a [u8]) -> Option<Self> {
        let mut rest = payload;
        let [flags] = take(&mut rest)?;
        let has = |flag: u8| flags & flag != 0;
        let spooled_at = u64::from_le_bytes(take(&mut rest)?);
        let timestamp = i64::from_le_bytes(take(&mut rest)?);
        let partition = if has(HAS_PARTITION) { Some(i32::from_le_bytes(take(&mut rest)?)) } else { None };
        let identity = if has(HAS_IDENTITY) { Some(Identity::from_bytes(take(&mut rest)?)) } else { None };
        let topic = text(get(&mut rest)?)?;
        let mut optional = |flag: u8| if has(flag) { get(&mut rest).map(Some) } else { Some(None) };
        let (key, value) = (optional(HAS_KEY)?, optional(HAS_VALUE)?);
        let (request_id, reason) = (optional(HAS_REQUEST_ID)?, optional(HAS_REASON)?);
        let (request_id, reason) = (request_id.map(text), reason.map(text));
        let mut headers = Vec::new();
        while !rest.is_empty() {
            headers.push((text(get(&mut rest)?)?, get(&mut rest)?));
        }
        Some(Self {
            spooled_at,
            timestamp,
            topic,
            partition,
            key,
            headers,
            value,
            identity,
            request_id: if has(HAS_REQUEST_ID) { Some(request_id??) } else { None },
            reason: if has(HAS_REASON) { Some(reason??) } else { None },
        })
    }
}

#[cfg(test)]
impl<'a> Entry<'a> {
    /// A record with a value, and with as little else as there can be.
    pub(super) fn with_value(value: &'a [u8]) -> Self {
        Entry {
            spooled_at: 1,
            timestamp: 1,
            topic: "t",
            partition: None,
            key: None,
            headers: Vec::new(),
            value: Some(value),
            identity: None,
            request_id: None,
            reason: None,
        }
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    // What is longer was refused before: a record has at most 10^9 bytes.
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn get<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(u32::from_le_bytes(take(rest)?)).ok()?;
    let (bytes, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(bytes)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*bytes)
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Entry<'static> {
        Entry {
            spooled_at: 1_795_353_386_123,
            timestamp: 7,
            topic: "t",
            partition: Some(3),
            key: Some(b""),
            headers: vec![("h", b"\xff"), ("h", b"")],
            value: Some(b"v"),
            identity: Some(Identity::from_bytes(std::array::from_fn(|index| u8::try_from(index).unwrap()))),
            request_id: Some("r1"),
            reason: Some("why"),
        }
    }

    fn least() -> Entry<'static> {
        Entry {
            spooled_at: 1,
            timestamp: -1,
            topic: "topic",
            partition: None,
            key: None,
            headers: Vec::new(),
            value: None,
            identity: None,
            request_id: None,
            reason: None,
        }
    }

    fn payload(entry: &Entry<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        entry.write(&mut out);
        out
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_bytes_on_disk_are_these() {
        assert_eq!(
            hex(&payload(&least())),
            "00\
             0100000000000000\
             ffffffffffffffff\
             05000000746f706963"
        );
        assert_eq!(
            hex(&payload(&full())),
            "3f\
             8b9c6603a2010000\
             0700000000000000\
             03000000\
             000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\
             0100000074\
             00000000\
             0100000076\
             020000007231\
             03000000776879\
             010000006801000000ff\
             010000006800000000"
        );
    }

    #[test]
    fn what_was_written_is_read_and_a_part_of_it_is_not() {
        for entry in [full(), least()] {
            let bytes = payload(&entry);
            assert_eq!(Entry::decode(&bytes), Some(entry));
            // Headers go to the end, so what ends with one may end before it.
            for len in 0..26.min(bytes.len()) {
                assert_eq!(Entry::decode(&bytes[..len]), None, "{len}");
            }
        }
    }
}
