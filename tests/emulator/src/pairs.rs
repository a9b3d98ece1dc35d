//! Header maps as they cross the ABI (`PairsUtil` in proxy-wasm-cpp-host, `src/pairs_util.cc`).

/// Fields in their order, names and values.
pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// The most pairs and bytes that the host reads (`include/proxy-wasm/limits.h`).
const MAX_COUNT: usize = 1024;
const MAX_BYTES: usize = 1024 * 1024;

pub(crate) fn marshal(pairs: &Pairs) -> Vec<u8> {
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
    let mut map = u32::try_from(pairs.len()).unwrap().to_le_bytes().to_vec();
    for (name, value) in pairs {
        map.extend(len(name));
        map.extend(len(value));
    }
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        map.extend(text);
        map.push(0);
    }
    map
}

/// `None` where Envoy reads an empty map without a word.
pub(crate) fn unmarshal(map: &[u8]) -> Option<Pairs> {
    if map.len() > MAX_BYTES {
        return None;
    }
    let number = |at: usize| Some(u32::from_le_bytes(map.get(at..at + 4)?.try_into().ok()?) as usize);
    let count = number(0).filter(|count| *count <= MAX_COUNT)?;
    let mut at = 4 + 8 * count;
    let mut text = |len: usize| {
        let text = map.get(at..at + len)?.to_vec();
        let end = *map.get(at + len)?;
        at += len + 1;
        (end == 0).then_some(text)
    };
    let mut pairs = Pairs::new();
    for index in 0..count {
        let sizes = 4 + 8 * index;
        pairs.push((text(number(sizes)?)?, text(number(sizes + 4)?)?));
    }
    (at == map.len()).then_some(pairs)
}
