//! How large librdkafka takes a record to be.

/// What librdkafka compares with `message.max.bytes` before it takes a record, in bytes: key, value, headers, and the most
/// that each record has besides in the format of Kafka's log (`rd_kafka_msg_max_wire_size` of librdkafka 2.12). A record
/// of more is refused.
pub fn wire_size(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, &[u8])]) -> u64 {
    // Length, attributes, distance in time, distance in offset, lengths of key and value, number of headers.
    const MOST_BESIDES: usize = 5 + 1 + 10 + 5 + 5 + 5 + 5;
    let parts = [key, value].into_iter().flatten().map(<[u8]>::len);
    let fields = headers.iter().flat_map(|(name, value)| [name.len(), value.len()]);
    (MOST_BESIDES + parts.chain(fields.map(|len| len + varint(len))).sum::<usize>()) as u64
}

/// Bytes of a length in ZigZag and base 128.
fn varint(len: usize) -> usize {
    let bits = usize::BITS - (len << 1).leading_zeros();
    bits.div_ceil(7).max(1) as usize
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::error::RDKafkaErrorCode;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, PurgeConfig};

    use super::*;

    #[test]
    fn librdkafka_refuses_what_is_larger() {
        const MOST: u64 = 20_000;
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", "127.0.0.1:1")
            .set("message.max.bytes", MOST.to_string())
            .create()
            .unwrap();
        let long = "n".repeat(64);
        let bytes = vec![b'v'; 9_000];
        let headers: [&[(&str, &[u8])]; 5] = [
            &[],
            &[("h", b"")],
            &[(&long[..63], &bytes[..63]), (&long, &bytes[..64])],
            &[("a", &bytes[..8_191]), ("b", &bytes[..8_192])],
            &[("a", &bytes[..1]); 100],
        ];
        for headers in headers {
            for key in [None, Some(&b""[..]), Some(&b"key"[..])] {
                let besides = wire_size(key, None, headers);
                let fits = vec![0; usize::try_from(MOST - besides).unwrap()];
                let larger = vec![0; fits.len() + 1];
                assert_eq!(wire_size(key, Some(&fits), headers), MOST);
                let send = |value: &[u8]| {
                    let mut record = BaseRecord::<[u8], [u8]>::to("t").payload(value);
                    record.key = key;
                    record.headers = Some(crate::producer::headers(headers));
                    producer.send(record).map_err(|(error, _)| error.rdkafka_error_code())
                };
                assert_eq!(send(&fits), Ok(()), "{} headers, {key:?}", headers.len());
                assert_eq!(
                    send(&larger),
                    Err(Some(RDKafkaErrorCode::MessageSizeTooLarge)),
                    "{} headers, {key:?}",
                    headers.len()
                );
            }
        }
        producer.purge(PurgeConfig::default().queue().inflight());
    }
}
