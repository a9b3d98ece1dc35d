//! Header maps as they cross the ABI: a count, the lengths of each name and value, then the bytes, each with a NUL
//! behind it (specification, "Serialization").

/// Reads the pairs of a serialized map. `None` if it is cut short.
pub fn decode(map: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let (count, mut lengths) = take_u32(map)?;
    let mut bytes = lengths.get(count.checked_mul(8)?..)?;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        let (name_len, value_len, name, value);
        (name_len, lengths) = take_u32(lengths)?;
        (value_len, lengths) = take_u32(lengths)?;
        (name, bytes) = take(bytes, name_len)?;
        (value, bytes) = take(bytes, value_len)?;
        pairs.push((name, value));
    }
    Some(pairs)
}

/// Writes pairs as a serialized map.
pub fn encode<'a>(pairs: impl ExactSizeIterator<Item = (&'a str, &'a str)> + Clone) -> Vec<u8> {
    let mut map = Vec::with_capacity(256);
    put_u32(&mut map, pairs.len());
    for (name, value) in pairs.clone() {
        put_u32(&mut map, name.len());
        put_u32(&mut map, value.len());
    }
    for (name, value) in pairs {
        for text in [name, value] {
            map.extend_from_slice(text.as_bytes());
            map.push(0);
        }
    }
    map
}

fn take_u32(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*number) as usize, rest))
}

/// `len` bytes and the NUL behind them.
fn take(bytes: &[u8], len: usize) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.split_at_checked(len)?;
    Some((text, rest.get(1..)?))
}

fn put_u32(map: &mut Vec<u8>, number: usize) {
    // Memory of a VM is addressed by 32 bits, so no length in it is larger.
    map.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification, "Serialization": a count, the sizes, then names and values with a NUL each.
    const MAP: &[u8] = b"\x02\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\0\0\0\0a\0bc\0def\0\0";

    #[test]
    fn pairs_cross_the_abi_and_back() {
        assert_eq!(encode([("a", "bc"), ("def", "")].into_iter()), MAP);
        assert_eq!(decode(MAP).unwrap(), [(&b"a"[..], &b"bc"[..]), (b"def", b"")]);
        assert_eq!(decode(&encode([].into_iter())).unwrap(), []);
    }

    #[test]
    fn a_map_that_is_cut_short_or_lies_about_its_sizes_is_none() {
        for len in 0..MAP.len() {
            assert_eq!(decode(&MAP[..len]), None, "{len}");
        }
        for lie in [b"\xff\xff\xff\xff".as_slice(), b"\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"] {
            assert_eq!(decode(lie), None);
        }
    }
}
