//! Compressed bodies.

use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use wicketgate_tests::artefacts;

/// gzip (RFC 1952).
pub(crate) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// What `deflate` means in HTTP: the zlib format (RFC 1950).
pub(crate) fn deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// A file that another implementation compressed, or what it was before.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    fs::read(artefacts::root().join("policy/src/content_encoding/fixtures").join(name)).unwrap()
}
