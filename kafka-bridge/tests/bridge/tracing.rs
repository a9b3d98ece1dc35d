//! Trace context on its way into records (W3C Trace Context).

use crate::common::{Bridge, Cluster, cluster, count, read};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const OTHER: &str = "00-11111111111111111111111111111111-2222222222222222-00";

/// The headers about traces that the last record of the topic has.
fn written(cluster: &Cluster) -> Vec<(String, String)> {
    let stored = read(cluster, "t", count(cluster, "t")).pop().unwrap();
    stored
        .headers
        .into_iter()
        .map(|(name, value)| (name, String::from_utf8(value).unwrap()))
        .filter(|(name, _)| name.starts_with("trace"))
        .collect()
}

fn pairs(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn the_filters_records_carry_on_the_trace_of_their_event() {
    let cluster = cluster();
    cluster.create_topic("t", 1, 1).unwrap();
    let bridge = Bridge::ready(&cluster, &[]).await;
    let (parent, state) = (("traceparent", TRACE), ("tracestate", "a=1,b=2"));
    let both = format!(r#","traceparent":"{TRACE}","tracestate":"a=1,b=2""#);
    let own = format!(r#","headers":[["traceparent","{OTHER}"]]"#);
    let mut number = 0;
    for (attributes, headers, wanted) in [
        (both.as_str(), "", &[parent, state][..]),
        (&format!(r#","traceparent":"{TRACE}""#), "", &[parent]),
        (&format!(r#","traceparent":"{TRACE}","tracestate":"""#), "", &[parent]),
        // A record may say it itself, and then the event's state is that of another trace.
        (&both, &own, &[("traceparent", OTHER)]),
        (&both, r#","headers":[["tracestate","c=3"]]"#, &[("tracestate", "c=3"), parent]),
        (r#","traceparent":"00-0-0-0","tracestate":"a=1""#, "", &[]),
        (r#","tracestate":"a=1""#, "", &[]),
        (r#","traceparent":1"#, "", &[]),
        ("", "", &[]),
    ] {
        for mode in ["structured", "binary", "raw"] {
            number += 1;
            let record = format!(
                r#"{{"topic":"t"{headers},"mode":"{mode}","event":{{"specversion":"1.0","id":"{number}","source":"/s","type":"t"{attributes}}}}}"#
            );
            let answer = bridge.client.records(format!(r#"{{"records":[{record}]}}"#)).await;
            assert_eq!(answer.status, 202, "{record}: {answer:?}");
            assert_eq!(written(&cluster), pairs(wanted), "{record}");
        }
    }
}

#[tokio::test]
async fn events_from_anybody_do_too_in_each_mode() {
    let cluster = cluster();
    cluster.create_topic("t", 1, 1).unwrap();
    let bridge = Bridge::ready(&cluster, &[]).await;
    let wanted = pairs(&[("traceparent", TRACE), ("tracestate", "a=1")]);
    let event = |id| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t","traceparent":"{TRACE}","tracestate":"a=1"}}"#
        )
    };
    assert_eq!(bridge.client.event("t", event(1)).await.status, 202);
    assert_eq!(written(&cluster), wanted);

    let path = "/v1/topics/t/events";
    let batch = [("content-type", "application/cloudevents-batch+json")];
    let answer = bridge.client.send("POST", path, &batch, format!("[{}]", event(2))).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(written(&cluster), wanted);

    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "3"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
        ("ce-traceparent", TRACE),
        ("ce-tracestate", "a=1"),
    ];
    let answer = bridge.client.send("POST", path, &binary, "").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(written(&cluster), wanted);
    assert_eq!(count(&cluster, "t"), 3);
}
