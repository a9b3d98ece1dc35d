//! How records lie in a segment. `docs/spool.md` specifies it; the golden bytes in the tests hold it still.

use std::collections::HashMap;

use super::checkpoint::Checkpoint;
use crate::idempotency::Identity;

/// Begins a segment, before the version of the format.
const SEGMENT_MAGIC: [u8; 7] = *b"WGSPOOL";
/// The version of the format of segments.
pub(super) const VERSION: u8 = 2;
/// Begins the checkpoint.
const CHECKPOINT_MAGIC: [u8; 8] = *b"WGDONE\0\x02";

/// Bytes of a segment's header: magic, version, first sequence number, marker, checksum.
pub(super) const SEGMENT_HEADER: usize = 7 + 1 + 8 + MARKER + 4;
/// Bytes of a checkpoint: magic, three numbers, checksum.
const CHECKPOINT: usize = 8 + 3 * 8 + 4;
/// Bytes of a [`Marker`].
const MARKER: usize = 16;
/// Bytes of a frame before its body: marker, length of the body, checksum.
pub(super) const FRAME_HEADER: usize = MARKER + 4 + 4;
/// Bytes that a body starts with and that are filled in when it is written: sequence number, durable length.
const LATE_FIELDS: usize = 8 + 8;
/// How often the bytes of a segment may be read in vain while the marker of one is sought that has lost its header.
const FUTILE: usize = 64;

/// Begins each frame of a segment, so that frames can be found behind a damaged one. Each segment has a random one of its
/// own: a caller, who never learns it, can put nothing into a record that looks like a frame, nor do old blocks of a disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker(pub(super) [u8; MARKER]);

impl Marker {
    /// One that nobody can guess.
    ///
    /// # Errors
    /// If the system has no random bytes.
    pub(super) fn random() -> std::io::Result<Self> {
        let mut bytes = [0; MARKER];
        getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
        Ok(Self(bytes))
    }
}

impl std::fmt::Debug for Marker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Marker(..)")
    }
}

/// What a segment begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The number of the first record.
    pub(super) first: u64,
    pub(super) marker: Marker,
}

/// What is wrong with bytes that should be the header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// It is not whole.
    Damaged,
    /// It is of this version of the format.
    OtherVersion(u8),
}

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
        out.extend_from_slice(&[0; FRAME_HEADER + LATE_FIELDS]);
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
        if let Some(length) = out.get_mut(MARKER..MARKER + 4) {
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

/// Fills in what is known only when a frame is written, and its checksum.
pub(super) fn seal(frame: &mut [u8], marker: Marker, sequence: u64, durable: u64) {
    if let Some((header, body)) = frame.split_at_mut_checked(FRAME_HEADER) {
        if let Some((late, _)) = body.split_at_mut_checked(LATE_FIELDS) {
            let fields = sequence.to_le_bytes().into_iter().chain(durable.to_le_bytes());
            late.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        }
        if let Some((start, rest)) = header.split_at_mut_checked(MARKER)
            && let Some((length, stored)) = rest.split_at_mut_checked(4)
        {
            start.copy_from_slice(&marker.0);
            stored.copy_from_slice(&checksum(length, body).to_le_bytes());
        }
    }
}

fn checksum(length: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(length), body)
}

/// The whole length of a frame that starts like this; `None` if no frame does.
pub(super) fn frame_len(header: &[u8]) -> Option<usize> {
    let mut rest = header.get(MARKER..)?;
    let body = usize::try_from(u32::from_le_bytes(take(&mut rest)?)).ok()?;
    (body > LATE_FIELDS).then(|| FRAME_HEADER + body)
}

/// The frame at the start of `bytes`, where one was written: whatever its marker is, its checksum has to hold.
pub(super) fn frame(bytes: &[u8]) -> Result<Frame<'_>, BadFrame> {
    let len = frame_len(bytes).ok_or(BadFrame)?;
    let whole = bytes.get(..len).ok_or(BadFrame)?;
    let (header, body) = whole.split_at_checked(FRAME_HEADER).ok_or(BadFrame)?;
    let mut rest = header.get(MARKER..).ok_or(BadFrame)?;
    let (length, stored): ([u8; 4], _) = (take(&mut rest).ok_or(BadFrame)?, take(&mut rest).ok_or(BadFrame)?);
    if checksum(&length, body) != u32::from_le_bytes(stored) {
        return Err(BadFrame);
    }
    let mut rest = body;
    let sequence = take(&mut rest).map(u64::from_le_bytes).ok_or(BadFrame)?;
    let durable = take(&mut rest).map(u64::from_le_bytes).ok_or(BadFrame)?;
    Ok(Frame { sequence, durable, payload: rest, len })
}

/// The frame of a segment with this marker at the start of `bytes`.
pub(super) fn marked_frame(bytes: &[u8], marker: Marker) -> Result<Frame<'_>, BadFrame> {
    if bytes.starts_with(&marker.0) { frame(bytes) } else { Err(BadFrame) }
}

/// The first frame of a segment with this marker that is whole, at or after `from`, and where it is.
pub(super) fn next_frame(bytes: &[u8], marker: Marker, from: usize) -> Option<(usize, Frame<'_>)> {
    let tail = bytes.get(from..)?;
    let starts = tail.windows(MARKER).enumerate().filter(|(_, window)| *window == marker.0);
    starts.map(|(index, _)| from + index).find_map(|at| Some((at, frame(bytes.get(at..)?).ok()?)))
}

/// The header of a segment.
pub(super) fn segment_header(header: &Header) -> [u8; SEGMENT_HEADER] {
    checked(&[&SEGMENT_MAGIC, &[VERSION], &header.first.to_le_bytes(), &header.marker.0])
}

/// The header at the start of a segment.
pub(super) fn read_segment_header(bytes: &[u8]) -> Result<Header, BadHeader> {
    let mut rest = bytes.strip_prefix(&SEGMENT_MAGIC).ok_or(BadHeader::Damaged)?;
    let [version] = take(&mut rest).ok_or(BadHeader::Damaged)?;
    let mut fields = rest;
    let header = take(&mut fields).zip(take(&mut fields));
    let header =
        header.map(|(first, marker)| Header { first: u64::from_le_bytes(first), marker: Marker(marker) });
    // With the right number for the version it may be whole, and is damaged where the version is.
    let whole =
        header.filter(|header| segment_header(header).get(8..).is_some_and(|after| rest.starts_with(after)));
    match whole {
        Some(header) if version == VERSION => Ok(header),
        None if version != VERSION => Err(BadHeader::OtherVersion(version)),
        _ => Err(BadHeader::Damaged),
    }
}

/// Where a header has its marker, whatever is wrong with the rest of it.
pub(super) fn marker_in_header(bytes: &[u8]) -> Option<Marker> {
    marker_at(bytes, SEGMENT_HEADER - 4 - MARKER)
}

fn marker_at(bytes: &[u8], at: usize) -> Option<Marker> {
    let mut rest = bytes.get(at..)?;
    take(&mut rest).map(Marker)
}

/// The marker of a segment whose header is gone: what the most of it begins its frames with. A frame counts if another with
/// the same marker follows it or nothing does, if it begins where the header ends, or if its marker is that of one that
/// counts. What is inside of one that counts is not looked at, so frames in what a caller has sent count only where that which
/// holds them is damaged, and then less than the rest of the segment.
pub(super) fn marker_in_frames(bytes: &[u8]) -> Option<Marker> {
    let mut found = HashMap::new();
    count_frames(bytes, &mut found);
    // Once more, for those that came before their marker was known.
    found.values_mut().for_each(|len| *len = 0);
    count_frames(bytes, &mut found);
    found.into_iter().max_by_key(|(_, len)| *len).map(|(marker, _)| Marker(marker))
}

/// Counts, for [`marker_in_frames`], the bytes of the frames of each marker. The time that goes into what turns out to be no
/// frame is bounded.
fn count_frames(bytes: &[u8], found: &mut HashMap<[u8; MARKER], usize>) {
    let mut futile = bytes.len().saturating_mul(FUTILE);
    let mut at = SEGMENT_HEADER;
    while let (Some(rest), Some(Marker(marker))) = (bytes.get(at..), marker_at(bytes, at)) {
        let len = rest.get(..FRAME_HEADER).and_then(frame_len).filter(|len| *len <= rest.len());
        let len = len.filter(|len| {
            at == SEGMENT_HEADER
                || *len == rest.len()
                || rest.get(*len..).is_some_and(|next| next.starts_with(&marker))
                || found.contains_key(&marker)
        });
        at += 1;
        let Some(len) = len else { continue };
        if frame(rest).is_ok_and(|frame| (SEGMENT_HEADER as u64..at as u64).contains(&frame.durable)) {
            *found.entry(marker).or_default() += len;
            at += len - 1;
        } else if let Some(left) = futile.checked_sub(len) {
            futile = left;
        } else {
            return;
        }
    }
}

/// A checkpoint.
pub(super) fn checkpoint(checkpoint: &Checkpoint) -> [u8; CHECKPOINT] {
    let Checkpoint { done, next, newest } = *checkpoint;
    let [done, next, newest] = [done, next, newest.unwrap_or(0)].map(u64::to_le_bytes);
    checked(&[&CHECKPOINT_MAGIC, &done, &next, &newest])
}

/// What a checkpoint says; `None` if it is not one.
pub(super) fn read_checkpoint(bytes: &[u8]) -> Option<Checkpoint> {
    let mut rest = bytes.strip_prefix(&CHECKPOINT_MAGIC)?;
    let mut number = || take(&mut rest).map(u64::from_le_bytes);
    let (done, next, newest) = (number()?, number()?, number()?);
    let read = Checkpoint { done, next, newest: (newest > 0).then_some(newest) };
    (checkpoint(&read) == bytes).then_some(read)
}

/// These parts, and their checksum.
fn checked<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut out = [0; N];
    let start = parts.concat();
    let crc = crc32c::crc32c(&start).to_le_bytes();
    out.iter_mut().zip(start.into_iter().chain(crc)).for_each(|(to, from)| *to = from);
    out
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

    const MARKER_BYTES: Marker = Marker(*b"0123456789abcdef");
    const HEADER: Header = Header { first: 5, marker: MARKER_BYTES };

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
        seal(&mut frame, MARKER_BYTES, 5, 20);
        frame
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_bytes_on_disk_are_these() {
        assert_eq!(
            hex(&segment_header(&HEADER)),
            "574753504f4f4c0205000000000000003031323334353637383961626364656664fdabac"
        );
        assert_eq!(
            hex(&checkpoint(&Checkpoint { done: 5, next: 9, newest: Some(7) })),
            "5747444f4e450002\
             0500000000000000\
             0900000000000000\
             0700000000000000\
             028f8a4b"
        );
        assert_eq!(
            hex(&sealed(&least())),
            "30313233343536373839616263646566\
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
            "30313233343536373839616263646566\
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
        let header = Header { first: u64::MAX, ..HEADER };
        assert_eq!(read_segment_header(&segment_header(&header)), Ok(header));
        for newest in [None, Some(3)] {
            let written = Checkpoint { done: 7, next: 9, newest };
            assert_eq!(read_checkpoint(&checkpoint(&written)), Some(written));
        }
        assert_eq!(read_checkpoint(&segment_header(&header)), None);
    }

    #[test]
    fn every_flipped_bit_and_every_missing_byte_shows() {
        let bytes = sealed(&full());
        for index in 0..bytes.len() {
            assert_eq!(marked_frame(&bytes[..index], MARKER_BYTES), Err(BadFrame), "{index}");
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[index] ^= 1 << bit;
                assert_eq!(marked_frame(&damaged, MARKER_BYTES), Err(BadFrame), "{index}.{bit}");
            }
        }
        let header = segment_header(&HEADER);
        for index in 0..header.len() {
            assert_eq!(read_segment_header(&header[..index]), Err(BadHeader::Damaged), "{index}");
            let mut damaged = header;
            damaged[index] ^= 0x10;
            assert_eq!(read_segment_header(&damaged), Err(BadHeader::Damaged), "{index}");
        }
    }

    #[test]
    fn another_version_is_no_damage() {
        // As version 1 began a segment.
        let old = b"WGSPOOL\x01\x05\0\0\0\0\0\0\0bib\x1c and frames";
        assert_eq!(read_segment_header(old), Err(BadHeader::OtherVersion(1)));
        assert_eq!(read_segment_header(&old[..20]), Err(BadHeader::OtherVersion(1)));
    }

    #[test]
    fn markers_are_random_and_in_no_log() {
        let (one, other) = (Marker::random().unwrap(), Marker::random().unwrap());
        assert_ne!(one, other);
        assert_eq!(format!("{one:?}"), "Marker(..)");
    }

    #[test]
    fn frames_are_found_behind_what_is_none() {
        let mut bytes = MARKER_BYTES.0[..7].to_vec();
        bytes.extend(MARKER_BYTES.0);
        bytes.extend(sealed(&least()));
        let (at, found) = next_frame(&bytes, MARKER_BYTES, 0).unwrap();
        assert_eq!((at, found.sequence), (23, 5));
        assert_eq!(next_frame(&bytes, MARKER_BYTES, at + 1), None);
        assert_eq!(next_frame(b"", MARKER_BYTES, 0), None);
        // Another segment's.
        assert_eq!(next_frame(&bytes, Marker(*b"fedcba9876543210"), 0), None);
    }
}
