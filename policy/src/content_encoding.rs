//! Compressed bodies, decoded with a bound on what comes out.
//!
//! The body is in memory already; what it decodes to can be a thousand times and more as large. Decoding stops as soon
//! as the output is larger than allowed, so a bomb costs at most twice that (while the output grows) and a constant:
//! the window of the format (32 KiB for gzip and deflate, 8 MiB for zstd, 16 MiB for br) and its tables.
//!
//! A body has to be whole: cut off, with a wrong checksum, or with anything after its end, it is corrupt.

use std::fmt;
use std::io::Read;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use wicketgate_envelope::media_type::is_token;

/// The codings that are understood, as the value of `Accept-Encoding` in an answer 415 (RFC 9110, section 15.5.16).
pub const ACCEPTED: &str = "gzip, deflate, br, zstd";
/// The most codings that may have been applied one after the other.
pub const MAX_CODINGS: usize = 2;
/// The most codings of a body that stays encoded, and the longest name of one, in bytes.
pub const MAX_CARRIED: usize = 8;
const MAX_NAME: usize = 64;
/// The largest window of a zstd frame (RFC 9659, section 3).
const MAX_ZSTD_WINDOW: u64 = 8 * 1024 * 1024;
/// How much is decoded at a time, in bytes.
const STEP: usize = 16 * 1024;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 1950, as RFC 9110, section 8.4.1.2, has it. Deflate data without the zlib format around it, which some
    /// clients send, is refused: it has no checksum, and it can look as if it had the format.
    Deflate,
    /// RFC 7932; windows above 16 MiB, which it doesn't know, are refused.
    Br,
    /// RFC 8878, any number of frames, with windows of at most 8 MiB (RFC 9659) and without dictionaries.
    Zstd,
}

impl Coding {
    fn of(name: &[u8]) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => Self::Gzip,
            b"deflate" => Self::Deflate,
            b"br" => Self::Br,
            b"zstd" => Self::Zstd,
            _ => return None,
        })
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Br => "br",
            Self::Zstd => "zstd",
        })
    }
}

/// Why a `Content-Encoding` can't be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// This coding is not known.
    Unknown(String),
    /// This is no name of a coding.
    NoName(String),
    /// More than this many.
    TooMany(usize),
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(coding) => write!(f, "wanted one of {ACCEPTED}, got {coding}"),
            Self::NoName(got) => write!(f, "wanted names of codings, of at most {MAX_NAME} bytes, got {got}"),
            Self::TooMany(max) => write!(f, "wanted at most {max} codings, got more"),
        }
    }
}

impl std::error::Error for Unsupported {}

/// Reads the values of `Content-Encoding`: the codings in the order in which they were applied, without `identity`.
///
/// # Errors
/// [`Unsupported`], which asks for a 415.
pub fn codings<'v>(values: impl Iterator<Item = &'v [u8]>) -> Result<Vec<Coding>, Unsupported> {
    let mut codings = Vec::new();
    for name in names(values) {
        let coding = Coding::of(name).ok_or_else(|| Unsupported::Unknown(shown(name)))?;
        if codings.len() == MAX_CODINGS {
            return Err(Unsupported::TooMany(MAX_CODINGS));
        }
        codings.push(coding);
    }
    Ok(codings)
}

/// Reads the values of `Content-Encoding` of a body that stays encoded: the names of the codings, known or not, in the
/// order in which they were applied, without `identity`. `None` is a body that is not encoded.
///
/// # Errors
/// [`Unsupported`], which asks for a 415.
pub fn carried<'v>(values: impl Iterator<Item = &'v [u8]>) -> Result<Option<String>, Unsupported> {
    let mut carried = String::new();
    for (index, name) in names(values).enumerate() {
        if index == MAX_CARRIED {
            return Err(Unsupported::TooMany(MAX_CARRIED));
        }
        let text = std::str::from_utf8(name).ok().filter(|name| name.len() <= MAX_NAME && is_token(name));
        let Some(text) = text else { return Err(Unsupported::NoName(shown(name))) };
        if index > 0 {
            carried.push_str(", ");
        }
        // One name for each that is known, whichever of them the sender used.
        let known = Coding::of(name).map(|coding| coding.to_string());
        carried.push_str(&known.unwrap_or_else(|| text.to_ascii_lowercase()));
    }
    Ok(Some(carried).filter(|carried| !carried.is_empty()))
}

/// The elements of the list that say something. Empty ones are to be ignored (RFC 9110, section 5.6.1.2).
fn names<'v>(values: impl Iterator<Item = &'v [u8]>) -> impl Iterator<Item = &'v [u8]> {
    let names = values.flat_map(|value| value.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
    names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"))
}

/// A name as an error shows it: if it is fit to be one.
fn shown(name: &[u8]) -> String {
    let fit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+' | b'*');
    match std::str::from_utf8(name) {
        Ok(text) if text.len() <= 32 && name.iter().all(fit) => text.to_owned(),
        _ => "something that is no coding".to_owned(),
    }
}

/// Why a body can't be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// It decodes to more than this many bytes; so does perhaps what only the outer of two codings decodes to.
    TooLarge(usize),
    /// It is cut off, damaged, goes on after its end, or needs what the [`Coding`] doesn't allow.
    Corrupt(Coding),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(max) => write!(f, "wanted at most {max} bytes once decoded, got more"),
            Self::Corrupt(Coding::Deflate) => {
                f.write_str("wanted whole deflate data in the zlib format (RFC 1950), got something else")
            }
            Self::Corrupt(Coding::Zstd) => f.write_str(
                "wanted whole zstd data with a window of at most 8 MiB (RFC 9659), got something else",
            ),
            Self::Corrupt(coding) => write!(f, "wanted whole {coding} data, got something else"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Undoes the codings, the last one first. The result, and what is in between, is at most `max` bytes. An empty body
/// is no compressed body: whoever takes it for one has to say so before.
///
/// # Errors
/// [`DecodeError`], 413 or 400.
pub fn decode(codings: &[Coding], body: &[u8], max: usize) -> Result<Vec<u8>, DecodeError> {
    let mut decoded = None;
    for &coding in codings.iter().rev() {
        let encoded = decoded.as_deref().unwrap_or(body);
        let mut output = Output { bytes: Vec::new(), max };
        let result = match coding {
            Coding::Gzip => read_all(&mut MultiGzDecoder::new(encoded), &mut output),
            Coding::Deflate => deflate(encoded, &mut output),
            Coding::Br => brotli(encoded, &mut output),
            Coding::Zstd => zstd(encoded, &mut output),
        };
        match result {
            Ok(()) => decoded = Some(output.bytes),
            Err(Failure::Corrupt) => return Err(DecodeError::Corrupt(coding)),
            Err(Failure::TooLarge) => return Err(DecodeError::TooLarge(max)),
        }
    }
    match decoded {
        Some(decoded) => Ok(decoded),
        None if body.len() > max => Err(DecodeError::TooLarge(max)),
        None => Ok(body.to_vec()),
    }
}

enum Failure {
    TooLarge,
    Corrupt,
}

/// What has been decoded so far; it never takes more room than it may.
struct Output {
    bytes: Vec<u8>,
    max: usize,
}

impl Output {
    fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let len = self.bytes.len().saturating_add(bytes.len());
        if len > self.max {
            return Err(Failure::TooLarge);
        }
        if len > self.bytes.capacity() {
            let capacity = len.max(self.bytes.capacity().saturating_mul(2)).min(self.max);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// How many bytes it may still take.
    fn room(&self) -> usize {
        self.max - self.bytes.len()
    }
}

/// Takes all that a decoder has now.
fn read_all(decoder: &mut impl Read, output: &mut Output) -> Result<(), Failure> {
    let mut buffer = [0; STEP];
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => output.push(buffer.get(..len).unwrap_or_default())?,
            Err(_) => return Err(Failure::Corrupt),
        }
    }
}

fn deflate(encoded: &[u8], output: &mut Output) -> Result<(), Failure> {
    let mut decoder = ZlibDecoder::new(encoded);
    read_all(&mut decoder, output)?;
    if decoder.into_inner().is_empty() { Ok(()) } else { Err(Failure::Corrupt) }
}

fn brotli(encoded: &[u8], output: &mut Output) -> Result<(), Failure> {
    let allocator = StandardAlloc::default;
    // Strict is without large windows.
    let mut state = BrotliState::new_strict(allocator(), allocator(), allocator());
    let mut buffer = [0; STEP];
    let (mut left, mut position, mut total) = (encoded.len(), 0, 0);
    loop {
        let (mut room, mut written) = (buffer.len(), 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut position,
            encoded,
            &mut room,
            &mut written,
            &mut buffer,
            &mut total,
            &mut state,
        );
        output.push(buffer.get(..written).unwrap_or_default())?;
        match result {
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultSuccess if left == 0 => return Ok(()),
            BrotliResult::ResultSuccess | BrotliResult::NeedsMoreInput | BrotliResult::ResultFailure => {
                return Err(Failure::Corrupt);
            }
        }
    }
}

fn zstd(mut encoded: &[u8], output: &mut Output) -> Result<(), Failure> {
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(MAX_ZSTD_WINDOW);
    // At least one frame, even if it is a skippable one.
    loop {
        match decoder.init(&mut encoded) {
            Ok(()) => zstd_frame(&mut decoder, &mut encoded, output)?,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                let length = usize::try_from(length).map_err(|_| Failure::Corrupt)?;
                encoded = encoded.get(length..).ok_or(Failure::Corrupt)?;
            }
            Err(_) => return Err(Failure::Corrupt),
        }
        if encoded.is_empty() {
            return Ok(());
        }
    }
}

fn zstd_frame(decoder: &mut FrameDecoder, encoded: &mut &[u8], output: &mut Output) -> Result<(), Failure> {
    // 0 when the frame doesn't say.
    let said = usize::try_from(decoder.content_size()).map_err(|_| Failure::TooLarge)?;
    if said > output.room() {
        return Err(Failure::TooLarge);
    }
    let before = output.bytes.len();
    while !decoder.is_finished() {
        decoder
            .decode_blocks(&mut *encoded, BlockDecodingStrategy::UptoBlocks(1))
            .map_err(|_| Failure::Corrupt)?;
        // Until the frame ends, the decoder keeps back as much as its window.
        read_all(decoder, output)?;
    }
    // The library leaves both to its callers.
    let whole = said == 0 || said == output.bytes.len() - before;
    let checksum = decoder.get_checksum_from_data();
    if whole && (checksum.is_none() || checksum == decoder.get_calculated_checksum()) {
        Ok(())
    } else {
        Err(Failure::Corrupt)
    }
}

#[cfg(test)]
mod tests;
