//! How records lie in a segment. `docs/spool.md` specifies it; the golden bytes in the tests hold it still.

use crate::idempotency::Identity;

/// Begins a segment; the last byte is the version of the format.
const SEGMENT_MAGIC: [u8; 8] = *b"WGSPOOL\x01";
/// Begins a frame, so that frames can be found behind a damaged one.
const FRAME_MAGIC: [u8; 4] = *b"WGR\x01";
/// Begins the checkpoint.
const CHECKPOINT_MAGIC: [u8; 8] = *b"WGDONE\0\x01";

/// Bytes of a segment's header: magic, first sequence number, checksum.
pub(super) const SEGMENT_HEADER: usize = 8 + 8 + 4;
/// Bytes of a frame before its body: magic, length of the body, checksum.
pub(super) const FRAME_HEADER: usize = 4 + 4 + 4;
/// Bytes that a body starts with and that are filled in when it is written: sequence number, durable length.
const LATE_FIELDS: usize = 8 + 8;

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

/// A frame that is whole: its checksum holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// The number of the record. Numbers rise by one.
    pub(super) sequence: u64,
    /// How many bytes of the segment were durable when this frame was written.
    pub(super) durable: u64,
    /// What [`Entry::decode`] reads.
    payload: &'a [u8],
    /// Bytes that the frame takes, header included.
    pub(super) len: usize,
}

/// What is wrong with bytes that should be a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadFrame;

impl<'a> Entry<'a> {
    /// A frame of this record, of which [`seal`] makes a whole one.
    pub(super) fn encode(&self) -> Vec<u8> {
        let sizes = [self.key, self.value].into_iter().flatten().map(<[u8]>::len);
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len() + 8);
        let mut out = Vec::with_capacity(128 + self.topic.len() + sizes.chain(headers).sum::<usize>());
        out.extend_from_slice(&FRAME_MAGIC);
        out.extend_from_slice(&[0; FRAME_HEADER - FRAME_MAGIC.len() + LATE_FIELDS]);
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
        put(&mut out, self.topic.as_bytes());
        let optional =
            [self.key, self.value, self.request_id.map(str::as_bytes), self.reason.map(str::as_bytes)];
        optional.into_iter().flatten().for_each(|bytes| put(&mut out, bytes));
        for (name, value) in &self.headers {
            put(&mut out, name.as_bytes());
            put(&mut out, value);
        }
        let body = u32::try_from(out.len() - FRAME_HEADER).unwrap_or(u32::MAX);
        if let Some(length) = out.get_mut(4..8) {
            length.copy_from_slice(&body.to_le_bytes());
        }
        out
    }

    /// Reads what [`Entry::encode`] wrote. `None` if it is something else, which a checksum that holds rules out.
    pub(super) fn decode(frame: &Frame<'a>) -> Option<Self> {
        let mut rest = frame.payload;
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

/// Fills in what is known only when a frame is written, and its checksum.
pub(super) fn seal(frame: &mut [u8], sequence: u64, durable: u64) {
    if let Some((header, body)) = frame.split_at_mut_checked(FRAME_HEADER) {
        if let Some((late, _)) = body.split_at_mut_checked(LATE_FIELDS) {
            let fields = sequence.to_le_bytes().into_iter().chain(durable.to_le_bytes());
            late.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        }
        if let Some((before, checksum)) = header.split_at_mut_checked(8) {
            let length = before.get(4..).unwrap_or_default();
            let crc = crc32c::crc32c_append(crc32c::crc32c(length), body);
            checksum.copy_from_slice(&crc.to_le_bytes());
        }
    }
}

/// The whole length of a frame that starts like this; `None` if no frame does.
pub(super) fn frame_len(header: &[u8]) -> Option<usize> {
    let mut rest = header;
    (take(&mut rest)? == FRAME_MAGIC).then_some(())?;
    let body = usize::try_from(u32::from_le_bytes(take(&mut rest)?)).ok()?;
    (body > LATE_FIELDS).then(|| FRAME_HEADER + body)
}

/// The frame at the start of `bytes`.
pub(super) fn frame(bytes: &[u8]) -> Result<Frame<'_>, BadFrame> {
    let len = frame_len(bytes).ok_or(BadFrame)?;
    let whole = bytes.get(..len).ok_or(BadFrame)?;
    let (header, body) = whole.split_at_checked(FRAME_HEADER).ok_or(BadFrame)?;
    let length = header.get(4..8).ok_or(BadFrame)?;
    let stored = header.get(8..).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).ok_or(BadFrame)?;
    if crc32c::crc32c_append(crc32c::crc32c(length), body) != u32::from_le_bytes(stored) {
        return Err(BadFrame);
    }
    let mut rest = body;
    let sequence = take(&mut rest).map(u64::from_le_bytes).ok_or(BadFrame)?;
    let durable = take(&mut rest).map(u64::from_le_bytes).ok_or(BadFrame)?;
    Ok(Frame { sequence, durable, payload: rest, len })
}

/// The first frame that is whole at or after `from`, and where it is.
pub(super) fn next_frame(bytes: &[u8], from: usize) -> Option<(usize, Frame<'_>)> {
    let tail = bytes.get(from..)?;
    let starts = tail.windows(FRAME_MAGIC.len()).enumerate().filter(|(_, window)| *window == FRAME_MAGIC);
    starts.map(|(index, _)| from + index).find_map(|at| Some((at, frame(bytes.get(at..)?).ok()?)))
}

/// The header of a segment whose first record has this number.
pub(super) fn segment_header(first: u64) -> [u8; SEGMENT_HEADER] {
    numbered(SEGMENT_MAGIC, first)
}

/// The number in a segment's header; `None` if it is not one.
pub(super) fn read_segment_header(bytes: &[u8]) -> Option<u64> {
    read_numbered(SEGMENT_MAGIC, bytes.get(..SEGMENT_HEADER)?)
}

/// A checkpoint: all records up to this number are done with.
pub(super) fn checkpoint(done: u64) -> [u8; SEGMENT_HEADER] {
    numbered(CHECKPOINT_MAGIC, done)
}

/// The number in a checkpoint; `None` if it is not one.
pub(super) fn read_checkpoint(bytes: &[u8]) -> Option<u64> {
    read_numbered(CHECKPOINT_MAGIC, bytes)
}

fn numbered(magic: [u8; 8], number: u64) -> [u8; SEGMENT_HEADER] {
    let mut out = [0; SEGMENT_HEADER];
    let start: Vec<u8> = magic.into_iter().chain(number.to_le_bytes()).collect();
    let crc = crc32c::crc32c(&start).to_le_bytes();
    out.iter_mut().zip(start.into_iter().chain(crc)).for_each(|(to, from)| *to = from);
    out
}

fn read_numbered(magic: [u8; 8], bytes: &[u8]) -> Option<u64> {
    let mut rest = bytes;
    let found: [u8; 8] = take(&mut rest)?;
    let number = u64::from_le_bytes(take(&mut rest)?);
    (found == magic && numbered(magic, number) == bytes).then_some(number)
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

    fn sealed(entry: &Entry<'_>) -> Vec<u8> {
        let mut frame = entry.encode();
        seal(&mut frame, 5, 20);
        frame
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_bytes_on_disk_are_these() {
        assert_eq!(hex(&segment_header(5)), "574753504f4f4c0105000000000000006269621c");
        assert_eq!(hex(&checkpoint(5)), "5747444f4e4500010500000000000000214e1e1b");
        assert_eq!(
            hex(&sealed(&least())),
            "57475201\
             2a000000\
             e4d6a969\
             0500000000000000\
             1400000000000000\
             00\
             0100000000000000\
             ffffffffffffffff\
             05000000746f706963"
        );
        assert_eq!(
            hex(&sealed(&full())),
            "57475201\
             73000000\
             af016450\
             0500000000000000\
             1400000000000000\
             3f\
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
    fn what_was_written_is_read() {
        for entry in [full(), least()] {
            let bytes = sealed(&entry);
            let frame = frame(&bytes).unwrap();
            assert_eq!((frame.sequence, frame.durable, frame.len), (5, 20, bytes.len()));
            assert_eq!(Entry::decode(&frame), Some(entry));
        }
        assert_eq!(read_segment_header(&segment_header(u64::MAX)), Some(u64::MAX));
        assert_eq!(read_checkpoint(&checkpoint(7)), Some(7));
        assert_eq!(read_checkpoint(&segment_header(7)), None);
    }

    #[test]
    fn every_flipped_bit_and_every_missing_byte_shows() {
        let bytes = sealed(&full());
        for index in 0..bytes.len() {
            assert_eq!(frame(&bytes[..index]), Err(BadFrame), "{index}");
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[index] ^= 1 << bit;
                assert_eq!(frame(&damaged), Err(BadFrame), "{index}.{bit}");
            }
        }
        let header = segment_header(5);
        for index in 0..header.len() {
            assert_eq!(read_segment_header(&header[..index]), None);
            let mut damaged = header;
            damaged[index] ^= 0x10;
            assert_eq!(read_segment_header(&damaged), None);
        }
    }

    #[test]
    fn frames_are_found_behind_what_is_none() {
        let mut bytes = b"WGR\x01WGR".to_vec();
        bytes.extend(sealed(&least()));
        let (at, found) = next_frame(&bytes, 0).unwrap();
        assert_eq!((at, found.sequence), (7, 5));
        assert_eq!(next_frame(&bytes, 8), None);
        assert_eq!(next_frame(b"", 0), None);
    }
}
