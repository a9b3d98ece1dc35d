//! The bytes of a segment: its header and its frames. The golden bytes in the tests hold them still.

use std::collections::HashMap;

/// Begins a segment, before the version of the format.
const SEGMENT_MAGIC: [u8; 7] = *b"WGSPOOL";
/// The version of the format of segments.
pub(crate) const VERSION: u8 = 2;

/// Bytes of a segment's header: magic, version, first sequence number, marker, checksum.
pub const SEGMENT_HEADER: usize = 7 + 1 + 8 + MARKER + 4;
/// Bytes of a [`Marker`].
const MARKER: usize = 16;
/// Bytes of a frame before its body: marker, length of the body, checksum.
pub const FRAME_HEADER: usize = MARKER + 4 + 4;
/// Bytes that a body starts with and that are filled in when it is written: sequence number, durable length.
const LATE_FIELDS: usize = 8 + 8;
/// Bytes of a frame before its record.
pub(crate) const PAYLOAD_AT: usize = FRAME_HEADER + LATE_FIELDS;
/// How often the bytes of a segment may be read in vain while the marker of one is sought that has lost its header.
const FUTILE: usize = 64;

/// Begins each frame of a segment, so that frames can be found behind a damaged one. Each segment has a random one of its
/// own: a caller, who never learns it, can put nothing into a record that looks like a frame, nor do old blocks of a disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marker(pub(crate) [u8; MARKER]);

impl Marker {
    /// One that nobody can guess.
    ///
    /// # Errors
    /// If the system has no random bytes.
    pub(crate) fn random() -> std::io::Result<Self> {
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
pub(crate) struct Header {
    /// The number of the first record.
    pub(crate) first: u64,
    pub(crate) marker: Marker,
}

/// What is wrong with bytes that should be the header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// It is not whole.
    Damaged,
    /// It is of this version of the format.
    OtherVersion(u8),
}

/// A frame that is whole: its checksum holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The number of the record. Numbers rise by one.
    pub sequence: u64,
    /// How many bytes of the segment were durable when this frame was written.
    pub durable: u64,
    /// The record.
    pub payload: &'a [u8],
    /// Bytes that the frame takes, header included.
    pub len: usize,
}

/// Bytes that are no whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadFrame;

/// A frame that lacks what is known only when it is written: marker, number, durable length and checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsealedFrame(Vec<u8>);

impl UnsealedFrame {
    /// Creates the frame of a record. `write` appends the record's bytes, of which there are about `len`.
    pub fn new(len: usize, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut bytes = Vec::with_capacity(FRAME_HEADER + LATE_FIELDS + len);
        bytes.extend_from_slice(&[0; FRAME_HEADER + LATE_FIELDS]);
        write(&mut bytes);
        let body = u32::try_from(bytes.len() - FRAME_HEADER).unwrap_or(u32::MAX);
        if let Some(length) = bytes.get_mut(MARKER..MARKER + 4) {
            length.copy_from_slice(&body.to_le_bytes());
        }
        Self(bytes)
    }

    /// Creates the frame of a record with these bytes.
    pub fn of(payload: &[u8]) -> Self {
        Self::new(payload.len(), |out| out.extend_from_slice(payload))
    }

    /// Bytes that the frame takes on disk.
    #[allow(clippy::len_without_is_empty, reason = "a frame has a header")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Appends the whole frame to `out`.
    pub(crate) fn seal_into(&self, out: &mut Vec<u8>, marker: Marker, sequence: u64, durable: u64) {
        let start = out.len();
        out.extend_from_slice(&self.0);
        if let Some(frame) = out.get_mut(start..) {
            seal(frame, marker, sequence, durable);
        }
    }
}

/// Fills in what is known only when a frame is written, and its checksum.
pub(crate) fn seal(frame: &mut [u8], marker: Marker, sequence: u64, durable: u64) {
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
pub(crate) fn frame_len(header: &[u8]) -> Option<usize> {
    let mut rest = header.get(MARKER..)?;
    let body = usize::try_from(u32::from_le_bytes(take(&mut rest)?)).ok()?;
    (body > LATE_FIELDS).then(|| FRAME_HEADER + body)
}

/// The frame at the start of `bytes`, where one was written: whatever its marker is, its checksum has to hold.
pub(crate) fn frame(bytes: &[u8]) -> Result<Frame<'_>, BadFrame> {
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
pub(crate) fn marked_frame(bytes: &[u8], marker: Marker) -> Result<Frame<'_>, BadFrame> {
    if bytes.starts_with(&marker.0) { frame(bytes) } else { Err(BadFrame) }
}

/// The first frame of a segment with this marker that is whole, at or after `from`, and where it is.
pub(crate) fn next_frame(bytes: &[u8], marker: Marker, from: usize) -> Option<(usize, Frame<'_>)> {
    let tail = bytes.get(from..)?;
    let starts = tail.windows(MARKER).enumerate().filter(|(_, window)| *window == marker.0);
    starts.map(|(index, _)| from + index).find_map(|at| Some((at, frame(bytes.get(at..)?).ok()?)))
}

/// The header of a segment.
pub(crate) fn segment_header(header: &Header) -> [u8; SEGMENT_HEADER] {
    checked(&[&SEGMENT_MAGIC, &[VERSION], &header.first.to_le_bytes(), &header.marker.0])
}

/// The header at the start of a segment.
pub(crate) fn read_segment_header(bytes: &[u8]) -> Result<Header, BadHeader> {
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
pub(crate) fn marker_in_header(bytes: &[u8]) -> Option<Marker> {
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
pub(crate) fn marker_in_frames(bytes: &[u8]) -> Option<Marker> {
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

/// These parts, and their checksum.
pub(crate) fn checked<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut out = [0; N];
    let start = parts.concat();
    let crc = crc32c::crc32c(&start).to_le_bytes();
    out.iter_mut().zip(start.into_iter().chain(crc)).for_each(|(to, from)| *to = from);
    out
}

pub(crate) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKER_BYTES: Marker = Marker(*b"0123456789abcdef");
    const HEADER: Header = Header { first: 5, marker: MARKER_BYTES };

    fn sealed(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        UnsealedFrame::of(payload).seal_into(&mut bytes, MARKER_BYTES, 5, 20);
        bytes
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
            hex(&sealed(b"\0\x01\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x05\0\0\0topic")),
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
    }

    #[test]
    fn what_was_written_is_read() {
        for payload in [&b"x"[..], &[0xff; 300]] {
            let bytes = sealed(payload);
            let frame = frame(&bytes).unwrap();
            assert_eq!((frame.sequence, frame.durable, frame.len), (5, 20, bytes.len()));
            assert_eq!(frame.payload, payload);
        }
        let header = Header { first: u64::MAX, ..HEADER };
        assert_eq!(read_segment_header(&segment_header(&header)), Ok(header));
    }

    #[test]
    fn every_flipped_bit_and_every_missing_byte_shows() {
        let bytes = sealed(b"a record");
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
        bytes.extend(sealed(b"a"));
        let (at, found) = next_frame(&bytes, MARKER_BYTES, 0).unwrap();
        assert_eq!((at, found.sequence), (23, 5));
        assert_eq!(next_frame(&bytes, MARKER_BYTES, at + 1), None);
        assert_eq!(next_frame(b"", MARKER_BYTES, 0), None);
        // Another segment's.
        assert_eq!(next_frame(&bytes, Marker(*b"fedcba9876543210"), 0), None);
    }
}
