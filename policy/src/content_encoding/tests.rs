use std::io::Write as _;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

// Compressed by other implementations than the ones that decode here: zlib and brotli by Node, zstd by its own tool.
const DOCUMENT: &[u8] = include_bytes!("fixtures/doc.json");
const GZIP: &[u8] = include_bytes!("fixtures/doc.gz");
const DEFLATE: &[u8] = include_bytes!("fixtures/doc.zz");
const DEFLATE_WITHOUT_FORMAT: &[u8] = include_bytes!("fixtures/doc.raw");
const BR: &[u8] = include_bytes!("fixtures/doc.br");
const BR_LARGE_WINDOW: &[u8] = include_bytes!("fixtures/large.br");
const ZSTD: &[u8] = include_bytes!("fixtures/doc.zst");
/// 64 MiB of zeros.
const BR_BOMB: &[u8] = include_bytes!("fixtures/bomb.br");
/// 64 MiB of zeros.
const ZSTD_BOMB: &[u8] = include_bytes!("fixtures/bomb.zst");

const ALL: [(Coding, &[u8]); 4] =
    [(Coding::Gzip, GZIP), (Coding::Deflate, DEFLATE), (Coding::Br, BR), (Coding::Zstd, ZSTD)];

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zstd(body: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(body, ruzstd::encoding::CompressionLevel::Fastest)
}

/// A zstd frame of repeated zeros, with this window descriptor (RFC 8878, section 3.1.1.1.2).
fn zstd_zeros(window: u8, blocks: usize) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, window];
    for block in 1..=blocks {
        let header: u32 = (1024 << 3) | (1 << 1) | u32::from(block == blocks);
        frame.extend(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

#[test]
fn what_stays_encoded_has_codings_of_any_name() {
    let read = |values: &[&str]| carried(values.iter().map(|value| value.as_bytes()));
    for (values, wanted) in [
        (&[][..], None),
        (&["identity", " , "], None),
        (&["snappy"], Some("snappy")),
        (&["X-GZip, LZ4"], Some("gzip, lz4")),
        (&["aws-chunked", "identity", "zstd"], Some("aws-chunked, zstd")),
        (&["a,b,c,d,e,f,g,h"], Some("a, b, c, d, e, f, g, h")),
    ] {
        assert_eq!(read(values).as_ref().map(Option::as_deref), Ok(wanted), "{values:?}");
    }
    let long = "x".repeat(65);
    for (wrong, start) in [
        ("sna ppy", "wanted names of codings, of at most 64 bytes, got something that is no coding"),
        ("grün", "wanted names of codings"),
        (&long, "wanted names of codings"),
        ("br;q=1", "wanted names of codings"),
        ("a,b,c,d,e,f,g,h,i", "wanted at most 8 codings, got more"),
    ] {
        let error = read(&[wrong]).unwrap_err().to_string();
        assert!(error.starts_with(start), "{wrong}: {error}");
    }
}

#[test]
fn content_encoding_is_read_as_a_list() {
    let read = |values: &[&str]| codings(values.iter().map(|value| value.as_bytes()));
    assert_eq!(read(&[]), Ok(vec![]));
    assert_eq!(read(&["", "identity, ,IDENTITY"]), Ok(vec![]));
    assert_eq!(read(&["gzip"]), Ok(vec![Coding::Gzip]));
    assert_eq!(read(&["X-GZip\t, Br"]), Ok(vec![Coding::Gzip, Coding::Br]));
    assert_eq!(read(&["deflate", "identity", "zstd"]), Ok(vec![Coding::Deflate, Coding::Zstd]));
    assert_eq!(read(&["gzip, gzip", "gzip"]), Err(Unsupported::TooMany(MAX_CODINGS)));
    assert_eq!(read(&["gzip", "compress"]), Err(Unsupported::Unknown("compress".to_owned())));
    let error = read(&["snappy"]).unwrap_err();
    assert_eq!(error.to_string(), "wanted one of gzip, deflate, br, zstd, got snappy");
    for odd in ["gzip;q=1", "gr\u{fc}n", "a b", &"x".repeat(33)] {
        assert_eq!(
            read(&[odd]).unwrap_err(),
            Unsupported::Unknown("something that is no coding".to_owned()),
            "{odd}"
        );
    }
    assert_eq!(codings([&b"\xff"[..]].into_iter()).unwrap_err().to_string().find('\u{fffd}'), None);
}

#[test]
fn what_others_compressed_is_decoded() {
    for (coding, body) in ALL {
        assert_eq!(decode(&[coding], body, DOCUMENT.len()).as_deref(), Ok(DOCUMENT), "{coding}");
        assert_eq!(decode(&[coding], body, usize::MAX).as_deref(), Ok(DOCUMENT), "{coding}");
    }
    assert_eq!(decode(&[], DOCUMENT, DOCUMENT.len()).as_deref(), Ok(DOCUMENT));
    assert_eq!(decode(&[Coding::Br, Coding::Gzip], &gzip(BR), 4096).as_deref(), Ok(DOCUMENT));
    assert_eq!(decode(&[Coding::Gzip, Coding::Br], &gzip(BR), 4096), Err(DecodeError::Corrupt(Coding::Br)));
}

#[test]
fn a_body_that_is_too_large_is_refused_by_one_byte() {
    let max = DOCUMENT.len() - 1;
    for (coding, body) in ALL {
        assert_eq!(decode(&[coding], body, max), Err(DecodeError::TooLarge(max)), "{coding}");
        assert_eq!(decode(&[coding], body, 0), Err(DecodeError::TooLarge(0)), "{coding}");
    }
    assert_eq!(decode(&[], DOCUMENT, max), Err(DecodeError::TooLarge(max)));
    let (codings, small) = ([Coding::Br, Coding::Gzip], gzip(BR_BOMB));
    assert_eq!(decode(&codings, &small, 1 << 20), Err(DecodeError::TooLarge(1 << 20)));
}

#[test]
fn a_bomb_is_refused_and_its_output_takes_no_more_room_than_it_may() {
    let max = 1 << 20;
    let zeros = vec![0; 16 << 20];
    for (coding, bomb) in [
        (Coding::Gzip, gzip(&zeros)),
        (Coding::Gzip, gzip(&zeros[..1 << 16]).repeat(32)),
        (Coding::Deflate, zlib(&zeros)),
        (Coding::Br, BR_BOMB.to_vec()),
        (Coding::Zstd, ZSTD_BOMB.to_vec()),
        (Coding::Zstd, zstd_zeros(0x68, 1 << 20)),
        (Coding::Zstd, zstd_zeros(0, 1).repeat(1025)),
    ] {
        assert_eq!(decode(&[coding], &bomb, max), Err(DecodeError::TooLarge(max)), "{coding}");
    }
    let decoded = decode(&[Coding::Br], BR_BOMB, 64 << 20).unwrap();
    assert_eq!((decoded.len(), decoded.capacity()), (64 << 20, 64 << 20));
    let decoded = decode(&[Coding::Zstd], ZSTD_BOMB, 65 << 20).unwrap();
    assert_eq!(decoded.len(), 64 << 20);
    assert!(decoded.capacity() <= 65 << 20);
}

#[test]
fn a_body_that_is_cut_off_anywhere_is_corrupt() {
    for (coding, body) in ALL {
        for len in 0..body.len() {
            assert_eq!(
                decode(&[coding], &body[..len], 4096),
                Err(DecodeError::Corrupt(coding)),
                "{coding}, {len}"
            );
        }
    }
}

#[test]
fn what_follows_the_end_is_corrupt() {
    for (coding, body) in ALL {
        for tail in [&b"\0"[..], b"x", b"\0\0\0\0\0\0\0\0", b"{\"order\": 41}", b"\x1f\x8b"] {
            let body = [body, tail].concat();
            assert_eq!(
                decode(&[coding], &body, 4096),
                Err(DecodeError::Corrupt(coding)),
                "{coding}, {tail:?}"
            );
        }
    }
}

#[test]
fn checksums_and_lengths_are_checked() {
    for (coding, body) in [(Coding::Gzip, GZIP), (Coding::Deflate, DEFLATE), (Coding::Zstd, ZSTD)] {
        for from_end in 1..=4 {
            let mut body = body.to_vec();
            let position = body.len() - from_end;
            body[position] ^= 1;
            assert_eq!(decode(&[coding], &body, 4096), Err(DecodeError::Corrupt(coding)), "{coding}");
        }
    }
    let mut wrong_crc = GZIP.to_vec();
    let position = wrong_crc.len() - 8;
    wrong_crc[position] ^= 1;
    assert_eq!(decode(&[Coding::Gzip], &wrong_crc, 4096), Err(DecodeError::Corrupt(Coding::Gzip)));
    // One block of three bytes, in a frame that says two (RFC 8878, section 3.1.1.1.1: single segment, one byte).
    let wrong_size = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 2, 0x09, 0, 0, 0, 0];
    let mut right_size = wrong_size;
    right_size[6] = 0x11;
    assert_eq!(decode(&[Coding::Zstd], &right_size, 9).as_deref(), Ok(&[0, 0][..]));
    assert_eq!(decode(&[Coding::Zstd], &wrong_size, 9), Err(DecodeError::Corrupt(Coding::Zstd)));
}

#[test]
fn members_and_frames_follow_each_other() {
    let members = [gzip(b"a"), gzip(b""), gzip(b"bc")].concat();
    assert_eq!(decode(&[Coding::Gzip], &members, 3).as_deref(), Ok(&b"abc"[..]));
    let skippable = b"\x50\x2a\x4d\x18\x03\0\0\0xyz";
    let frames = [skippable, zstd(b"a").as_slice(), skippable, &zstd(b""), &zstd(b"bc")].concat();
    assert_eq!(decode(&[Coding::Zstd], &frames, 3).as_deref(), Ok(&b"abc"[..]));
    assert_eq!(decode(&[Coding::Zstd], skippable, 3).as_deref(), Ok(&b""[..]));
    assert_eq!(decode(&[Coding::Zstd], &skippable[..10], 3), Err(DecodeError::Corrupt(Coding::Zstd)));
}

#[test]
fn nothing_compressed_is_something_and_nothing_is_not() {
    for (coding, body) in [
        (Coding::Gzip, gzip(b"")),
        (Coding::Deflate, zlib(b"")),
        (Coding::Br, b"\x3b".to_vec()),
        (Coding::Zstd, zstd(b"")),
    ] {
        assert_eq!(decode(&[coding], &body, 0).as_deref(), Ok(&b""[..]), "{coding}");
        assert_eq!(decode(&[coding], b"", 0), Err(DecodeError::Corrupt(coding)), "{coding}");
    }
    assert_eq!(decode(&[], b"", 0).as_deref(), Ok(&b""[..]));
}

#[test]
fn what_the_codings_do_not_allow_is_refused() {
    let corrupt =
        |coding, body: &[u8]| assert_eq!(decode(&[coding], body, 1 << 20), Err(DecodeError::Corrupt(coding)));
    corrupt(Coding::Deflate, DEFLATE_WITHOUT_FORMAT);
    corrupt(Coding::Br, BR_LARGE_WINDOW);
    // Windows of 8 MiB, and of 9 MiB.
    assert_eq!(decode(&[Coding::Zstd], &zstd_zeros(0x68, 1), 1024).as_deref(), Ok(&[0; 1024][..]));
    corrupt(Coding::Zstd, &zstd_zeros(0x69, 1));
    // A frame that wants the dictionary 1.
    corrupt(Coding::Zstd, &[0x28, 0xb5, 0x2f, 0xfd, 0x01, 0, 1, 0x03, 0x20, 0, 0]);
    // A frame that says it is as large as can be.
    let endless = [&[0x28, 0xb5, 0x2f, 0xfd, 0xc0, 0][..], &[0xff; 8]].concat();
    assert!(decode(&[Coding::Zstd], &endless, 1 << 20).is_err());
    for (coding, body) in ALL {
        for (other, _) in ALL {
            if other != coding {
                assert_eq!(
                    decode(&[other], body, 4096),
                    Err(DecodeError::Corrupt(other)),
                    "{coding} as {other}"
                );
            }
        }
    }
}

#[cfg(not(target_family = "wasm"))]
mod any_body {
    use proptest::prelude::*;

    use super::*;

    fn any_content() -> impl Strategy<Value = Vec<u8>> {
        let runs = prop::collection::vec((any::<u8>(), 1..3000_usize), 0..40);
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40_000),
            runs.prop_map(|runs| runs
                .iter()
                .flat_map(|&(byte, len)| std::iter::repeat_n(byte, len))
                .collect()),
        ]
    }

    proptest! {
        #[test]
        fn what_is_compressed_comes_back(content in any_content()) {
            for (coding, body) in [
                (Coding::Gzip, gzip(&content)), (Coding::Deflate, zlib(&content)), (Coding::Zstd, zstd(&content)),
            ] {
                prop_assert_eq!(decode(&[coding], &body, content.len()), Ok(content.clone()));
                if let Some(max) = content.len().checked_sub(1) {
                    prop_assert_eq!(decode(&[coding], &body, max), Err(DecodeError::TooLarge(max)));
                }
            }
        }

        #[test]
        fn damage_is_an_error_and_nothing_worse(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            which in 0..ALL.len(),
            max in 0..5000_usize,
        ) {
            let (coding, body) = ALL[which];
            let mut damaged = body.to_vec();
            for (index, byte) in damage {
                let position = index.index(damaged.len());
                damaged[position] = byte;
            }
            match decode(&[coding], &damaged, max) {
                Ok(decoded) => {
                    prop_assert!(decoded.len() <= max);
                    // br has no checksum.
                    prop_assert!(coding == Coding::Br || decoded == DOCUMENT, "{}", coding);
                }
                Err(DecodeError::TooLarge(bound)) => prop_assert_eq!(bound, max),
                Err(DecodeError::Corrupt(which)) => prop_assert_eq!(which, coding),
            }
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(
            magic in prop::sample::select(vec![&b""[..], b"\x1f\x8b\x08", b"\x78\x9c", b"\x28\xb5\x2f\xfd"]),
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            max in 0..2000_usize,
        ) {
            let body = [magic, &bytes].concat();
            for (coding, _) in ALL {
                if let Ok(decoded) = decode(&[coding], &body, max) {
                    prop_assert!(decoded.len() <= max);
                }
            }
        }
    }
}
