//! Whatever becomes of a segment file, what is found in it is what was written, and damage to what had been synced is not
//! taken for a torn end.
//!
//! An input is lines. `record 12` is a record of so many bytes and `text abc` one with this text; `sync` ends a group of
//! records that were synced together. After that `flip 70` changes a bit of a byte of the file, `zero 36 100` takes a part of
//! it away, `add abc` puts something behind it and `cut 90` leaves so much of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use segment_log::{End, SEGMENT_HEADER, in_memory, scan, survey, whole_frames};

const MARKER: [u8; 16] = *b"0123456789abcdef";
/// More bytes take time and show nothing more.
const MOST: usize = 1 << 16;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let groups = groups(text);
    let (written, ends) = in_memory(1, MARKER, &groups);
    let file = changed(&written, text);
    let payloads: Vec<&[u8]> = groups.iter().flatten().map(|payload| &payload[..]).collect();
    let start = |index: usize| index.checked_sub(1).map_or(SEGMENT_HEADER, |before| ends[before]);

    for last in [false, true] {
        let mut count = 0;
        let end = scan(&file, last, |found| {
            assert_eq!(found.frame.sequence, count as u64 + 1);
            assert_eq!((found.offset, found.frame.payload), (start(count), payloads[count]));
            count += 1;
            Ok::<_, ()>(())
        })
        .expect("nothing stops it");
        match end {
            End::Clean => assert_eq!(file.len(), start(count)),
            End::Torn { good } => {
                assert!(last, "only the newest file may be torn");
                assert!(good == start(count) || good == 0);
            }
            End::Damaged { good } => assert!(good == start(count) || good == 0),
            End::OtherVersion(_) => assert_ne!(file[7], written[7]),
        }
        // A group that is there, whole, was written after those before it had been synced.
        if let (End::Torn { .. }, Some(whole)) = (end, last_whole(&file, &written, &groups, &ends)) {
            assert!(count >= whole, "{count} of {whole} that had been synced");
        }
        assert_eq!(survey(&file, last).records, count as u64);
    }
    for found in whole_frames(&file, SEGMENT_HEADER) {
        let index = usize::try_from(found.frame.sequence).expect("a small number") - 1;
        assert_eq!((found.offset, found.frame.payload), (start(index), payloads[index]));
    }
});

fn groups(text: &str) -> Vec<Vec<Vec<u8>>> {
    let (mut groups, mut len) = (vec![Vec::new()], 0);
    for line in text.lines() {
        let payload = match line.split_once(' ') {
            Some(("record", number)) => vec![b'x'; number.parse::<usize>().unwrap_or(0).clamp(1, 1_000)],
            Some(("text", text)) if !text.is_empty() => text.as_bytes().to_vec(),
            _ if line == "sync" => {
                groups.push(Vec::new());
                continue;
            }
            _ => continue,
        };
        len += payload.len() + 40;
        if len > MOST {
            break;
        }
        groups.last_mut().expect("there is one").push(payload);
    }
    groups
}

fn changed(written: &[u8], text: &str) -> Vec<u8> {
    let mut file = written.to_vec();
    let number = |text: &str| text.parse::<usize>().unwrap_or(0);
    for line in text.lines() {
        let Some((what, rest)) = line.split_once(' ') else { continue };
        match what {
            "flip" => {
                if let Some(byte) = file.get_mut(number(rest)) {
                    *byte ^= 1;
                }
            }
            "zero" => {
                let (from, len) = rest.split_once(' ').unwrap_or((rest, "1"));
                file.iter_mut().skip(number(from)).take(number(len)).for_each(|byte| *byte = 0);
            }
            "add" if file.len() < 2 * MOST => file.extend_from_slice(rest.as_bytes()),
            "cut" => file.truncate(number(rest)),
            _ => {}
        }
    }
    file
}

/// How many records come before the last group that has a whole record where one was written.
fn last_whole(file: &[u8], written: &[u8], groups: &[Vec<Vec<u8>>], ends: &[usize]) -> Option<usize> {
    let mut before = 0;
    let mut last = None;
    // Without its marker no frame is looked for.
    if file.get(..SEGMENT_HEADER) != written.get(..SEGMENT_HEADER) {
        return None;
    }
    for group in groups {
        for index in before..before + group.len() {
            let start = index.checked_sub(1).map_or(SEGMENT_HEADER, |before| ends[before]);
            if file.get(start..ends[index]) == written.get(start..ends[index]) {
                last = Some(before);
            }
        }
        before += group.len();
    }
    last
}
