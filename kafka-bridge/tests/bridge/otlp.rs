//! Spans, as they arrive at a collector.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode as Code};
use prost::Message as _;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::certificates::{Authority, Identity};
use crate::common::process::{Process, command};
use crate::common::{Bridge, Client, RECORDS, cluster, count, event, read};
use crate::hop::{self, SECRET, Secrets, TOKEN, now, sign};
use wicketgate_envelope::signature::SIGNATURE_HEADER;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// Where the bridge sends its spans.
#[derive(Clone)]
struct Collector {
    url: String,
    received: Arc<Mutex<Received>>,
}

#[derive(Default)]
struct Received {
    tenant: Option<String>,
    bytes: Vec<u8>,
    resource: Vec<(String, String)>,
    spans: Vec<Span>,
}

impl Collector {
    /// One that takes what it is sent.
    async fn start() -> Self {
        Self::start_with(None).await
    }

    /// The same, with TLS if there is something to do it with.
    async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = if tls.is_some() {
            format!("https://localhost:{port}")
        } else {
            format!("http://127.0.0.1:{port}")
        };
        let received = Arc::new(Mutex::new(Received::default()));
        let take = {
            let received = Arc::clone(&received);
            move |headers: HeaderMap, bytes: Bytes| async move {
                assert_eq!(headers["content-type"], "application/x-protobuf");
                let request = ExportTraceServiceRequest::decode(bytes.clone()).unwrap();
                let mut received = received.lock().unwrap();
                received.tenant = headers.get("x-tenant").map(|tenant| tenant.to_str().unwrap().to_owned());
                received.bytes.extend_from_slice(&bytes);
                for resource_spans in request.resource_spans {
                    received.resource = attributes(&resource_spans.resource.unwrap().attributes);
                    for scope_spans in resource_spans.scope_spans {
                        assert_eq!(scope_spans.scope.unwrap().name, "kafka-bridge");
                        received.spans.extend(scope_spans.spans);
                    }
                }
                StatusCode::OK
            }
        };
        let router = Router::new().route("/v1/traces", post(take));
        tokio::spawn(async move { axum_serve(listener, tls, router).await });
        Self { url, received }
    }

    /// Waits until there are so many spans.
    async fn spans(&self, wanted: usize) -> Vec<Span> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let spans = self.received.lock().unwrap().spans.clone();
            if spans.len() >= wanted {
                return spans;
            }
            assert!(Instant::now() < deadline, "{} of {wanted} spans: {spans:#?}", spans.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// As much of a server as a collector takes.
async fn axum_serve(listener: TcpListener, tls: Option<TlsAcceptor>, router: Router) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, router) = (tls.clone(), router.clone());
        tokio::spawn(async move {
            match tls {
                // Whoever does not like the certificate goes away.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, router).await;
                    }
                }
                None => serve(stream, router).await,
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let service = hyper_util::service::TowerToHyperService::new(router);
    let _ = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new())
        .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
        .await;
}

fn attributes(all: &[opentelemetry_proto::tonic::common::v1::KeyValue]) -> Vec<(String, String)> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(boolean) => boolean.to_string(),
        other => panic!("{other:?}"),
    };
    let mut all: Vec<_> = all
        .iter()
        .map(|attribute| {
            (attribute.key.clone(), text(attribute.value.as_ref().unwrap().value.as_ref().unwrap()))
        })
        .collect();
    all.sort();
    all
}

fn attribute(span: &Span, name: &str) -> Option<String> {
    attributes(&span.attributes).into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn find<'a>(spans: &'a [Span], event_id: &str) -> &'a Span {
    let found =
        spans.iter().find(|span| attribute(span, "cloudevents.event_id").as_deref() == Some(event_id));
    found.unwrap_or_else(|| panic!("{event_id}: {spans:#?}"))
}

fn failed(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == Code::Error as i32)
}

/// For a bridge whose spans leave at once.
const SOON: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "50");

#[tokio::test(flavor = "multi_thread")]
async fn a_request_and_its_record_are_spans_of_the_trace_that_the_caller_is_in() {
    let cluster = cluster();
    cluster.create_topic("t", 1, 1).unwrap();
    let collector = Collector::start().await;
    let tokens = std::env::temp_dir().join(format!("bridge-otlp-{}", std::process::id()));
    let token = "hunter2-hunter2-hunter2-hunter2-hunter2";
    std::fs::write(&tokens, token).unwrap();
    let servers = cluster.bootstrap_servers();
    let flags = ["--bootstrap-servers", &servers, "--otlp-endpoint", &collector.url];
    let guarded = ["--hop-token-file", tokens.to_str().unwrap()];
    let environment = [SOON, ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")];
    let mut process = Process::start_with(&[&flags[..], &guarded].concat(), &environment);
    let client = process.client.clone();
    client.until_ready(true, Duration::from_secs(10)).await;
    std::fs::remove_file(&tokens).unwrap();

    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let body = r#"{"specversion":"1.0","id":"a1","source":"/s","type":"t","partitionkey":"hunter3","data":"hunter4"}"#;
    let headers = [
        ("content-type", crate::common::EVENT),
        ("authorization", &format!("Bearer {token}")),
        ("traceparent", &traceparent),
        ("tracestate", "a=1"),
    ];
    let answer = client.send("POST", "/v1/topics/t/events?x=hunter5", &headers, body).await;
    assert_eq!(answer.status, 202, "{answer:?}");

    let spans = collector.spans(2).await;
    assert_eq!(spans.len(), 2, "{spans:#?}");
    let producer = find(&spans, "a1");
    let server = spans.iter().find(|span| span.kind == SpanKind::Server as i32).unwrap();
    assert_eq!((hex(&server.trace_id), hex(&server.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
    assert_eq!(server.name, "POST /v1/topics/{topic}/events");
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(
        attributes(&server.attributes),
        pairs(&[
            ("http.request.method", "POST"),
            ("http.response.status_code", "202"),
            ("http.route", "/v1/topics/{topic}/events"),
            ("network.protocol.version", "1.1"),
            ("url.path", "/v1/topics/t/events"),
        ])
    );
    assert_eq!(producer.trace_id, server.trace_id);
    assert_eq!(producer.parent_span_id, server.span_id);
    assert_eq!((producer.kind, producer.name.as_str()), (SpanKind::Producer as i32, "send t"));
    assert_eq!(
        attributes(&producer.attributes),
        pairs(&[
            ("cloudevents.event_id", "a1"),
            ("messaging.destination.name", "t"),
            ("messaging.destination.partition.id", "0"),
            ("messaging.kafka.offset", "0"),
            ("messaging.message.body.size", &body.len().to_string()),
            ("messaging.operation.name", "send"),
            ("messaging.operation.type", "send"),
            ("messaging.system", "kafka"),
        ])
    );
    assert!(!failed(server) && !failed(producer) && producer.links.is_empty());
    assert!(server.start_time_unix_nano <= producer.start_time_unix_nano);
    assert!(producer.end_time_unix_nano <= server.end_time_unix_nano);

    // Consumers go on from the record's span.
    let stored = read(&cluster, "t", 1).pop().unwrap();
    let header = |name: &str| {
        let found = stored.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| String::from_utf8(value.clone()).unwrap())
    };
    assert_eq!(header("traceparent"), Some(format!("00-{TRACE}-{}-01", hex(&producer.span_id))));
    assert_eq!(header("tracestate").as_deref(), Some("a=1"));
    assert_eq!(stored.value.as_deref(), Some(body.as_bytes()));

    {
        let received = collector.received.lock().unwrap();
        let resource =
            |name: &str| received.resource.iter().find(|(known, _)| known == name).map(|(_, v)| v.as_str());
        assert_eq!(resource("service.name"), Some("kafka-bridge"));
        assert_eq!(resource("service.version"), Some(env!("CARGO_PKG_VERSION")));
        assert_eq!(resource("deployment.environment.name"), Some("test"));
        let text = String::from_utf8_lossy(&received.bytes);
        for secret in ["hunter2", "hunter3", "hunter4", "hunter5"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
    process.signal("-TERM");
    assert_eq!(process.ended(Duration::from_secs(10)).await.code(), Some(0));
    // Not for those who watch the bridge.
    assert_eq!(collector.spans(2).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_several_traces_in_one_call_stay_in_theirs() {
    let cluster = cluster();
    cluster.create_topic("t", 1, 1).unwrap();
    let collector = Collector::start().await;
    let bridge = Bridge::ready(&cluster, &["--otlp-endpoint", &collector.url]).await;
    let own = |id: &str, rest: &str, headers: &str| {
        format!(
            r#"{{"topic":"t"{headers},"event":{{"specversion":"1.0","id":"{id}","source":"/s","type":"t"{rest}}}}}"#
        )
    };
    let trace = |trace: &str, flags: &str| format!(r#","traceparent":"00-{trace}-{PARENT}-{flags}""#);
    let (one, two, unsampled) = ("1".repeat(32), "2".repeat(32), "3".repeat(32));
    let brought = format!("00-{}-{PARENT}-01", "4".repeat(32));
    let records = [
        own("one", &format!(r#"{},"tracestate":"b=2""#, trace(&one, "01")), ""),
        own("two", &trace(&two, "01"), ""),
        own("unsampled", &trace(&unsampled, "00"), ""),
        own("same", &trace(TRACE, "01"), ""),
        own("none", "", ""),
        own("brings", "", &format!(r#","headers":[["traceparent","{brought}"]]"#)),
    ];
    let headers = [("content-type", RECORDS), ("traceparent", &format!("00-{TRACE}-{PARENT}-01"))];
    let body = format!(r#"{{"records":[{}]}}"#, records.join(","));
    let answer = bridge.client.send("POST", "/v1/records", &headers, body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let stored = read(&cluster, "t", records.len());
    assert!(bridge.stop().await.is_none());

    let spans = collector.spans(6).await;
    assert_eq!(spans.len(), 6, "one for each record but the one whose trace is not sampled: {spans:#?}");
    let server = spans.iter().find(|span| span.kind == SpanKind::Server as i32).unwrap();
    for (id, trace) in [("one", &one), ("two", &two)] {
        let span = find(&spans, id);
        assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (trace.clone(), PARENT.to_owned()));
        let [link] = &span.links[..] else { panic!("{span:#?}") };
        assert_eq!((&link.trace_id, &link.span_id), (&server.trace_id, &server.span_id));
    }
    for id in ["same", "none", "brings"] {
        let span = find(&spans, id);
        assert_eq!((&span.trace_id, &span.parent_span_id), (&server.trace_id, &server.span_id), "{id}");
        assert!(span.links.is_empty());
    }
    let header = |index: usize, name: &str| {
        let found = stored[index].headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| String::from_utf8(value.clone()).unwrap())
    };
    let of = |id: &str, trace: &str| Some(format!("00-{trace}-{}-01", hex(&find(&spans, id).span_id)));
    assert_eq!(header(0, "traceparent"), of("one", &one));
    assert_eq!(header(0, "tracestate").as_deref(), Some("b=2"));
    assert_eq!(header(1, "traceparent"), of("two", &two));
    assert_eq!(header(1, "tracestate"), None);
    let dark = header(2, "traceparent").unwrap();
    assert!(dark.starts_with(&format!("00-{unsampled}-")) && dark.ends_with("-00"), "{dark}");
    assert_eq!(header(3, "traceparent"), of("same", TRACE));
    assert_eq!(header(4, "traceparent"), of("none", TRACE));
    assert_eq!(header(5, "traceparent"), Some(brought));
    // What the event says of itself stays.
    let value = String::from_utf8(stored[0].value.clone().unwrap()).unwrap();
    assert!(value.contains(&format!("00-{one}-{PARENT}-01")), "{value}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_a_failure_in_its_span() {
    let cluster = cluster();
    cluster.create_topic("t", 1, 1).unwrap();
    let collector = Collector::start().await;
    let flags = ["--otlp-endpoint", &collector.url, "--max-record-bytes", "2000"];
    let bridge = Bridge::ready(&cluster, &flags).await;
    assert_eq!(bridge.client.event("t", event("large", 4000)).await.status, 413);
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_POLICY_VIOLATION;
    cluster.request_errors(RDKafkaApiKey::Produce, &[error, error]);
    assert_eq!(bridge.client.event("t", event("refused", 10)).await.status, 502);
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    // Nothing was to be written, so there is no span for it.
    assert_eq!(bridge.client.event("t", "{}").await.status, 400);
    assert!(bridge.stop().await.is_none());

    let spans = collector.spans(5).await;
    assert_eq!(spans.len(), 5, "{spans:#?}");
    for (id, kind, server_failed) in [("large", "too_large", false), ("refused", "refused", true)] {
        let span = find(&spans, id);
        assert!(failed(span), "{span:#?}");
        assert_eq!(attribute(span, "error.type").as_deref(), Some(kind));
        let server = spans.iter().find(|server| server.span_id == span.parent_span_id).unwrap();
        assert_eq!(failed(server), server_failed, "{server:#?}");
        assert_eq!(attribute(server, "error.type").as_deref(), server_failed.then_some("502"));
    }
    let status = |span: &Span| attribute(span, "http.response.status_code");
    assert!(spans.iter().any(|span| status(span).as_deref() == Some("400") && !failed(span)), "{spans:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_makes_no_spans_and_nobody_makes_large_ones() {
    let cluster = cluster();
    cluster.create_topic("t", 1, 1).unwrap();
    let collector = Collector::start().await;
    let tokens = Secrets::new("spans", TOKEN);
    let flags = ["--otlp-endpoint", &collector.url, "--hop-token-file", tokens.path()];
    let bridge = Bridge::ready(&cluster, &flags).await;
    let long = format!("/v1/topics/{}/events", "a".repeat(40_000));
    let large = ("x-large", "x".repeat(70_000));
    for _ in 0..20 {
        let answer = hop::post(&bridge, &long, &[("authorization", "Bearer wrong")], "{}").await;
        answer.assert_problem(401, "unauthenticated");
        let answer = hop::post(&bridge, "/v1/records", &[(large.0, large.1.as_str())], "{}").await;
        answer.assert_problem(431, "headers-too-large");
    }
    let state = (0..32).map(|n| format!("k{n}={}", "x".repeat(200))).collect::<Vec<_>>().join(",");
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let bearer = format!("Bearer {TOKEN}");
    let proof =
        [("authorization", bearer.as_str()), ("traceparent", &traceparent), ("tracestate", state.as_str())];
    hop::post(&bridge, &long, &proof, &event("long", 10)).await.assert_problem(400, "bad-request");
    assert_eq!(hop::post(&bridge, "/v1/topics/t/events", &proof, &event("a", 10)).await.status, 202);
    assert!(bridge.stop().await.is_none());

    let spans = collector.spans(3).await;
    assert_eq!(spans.len(), 3, "{spans:#?}");
    for span in &spans {
        assert_eq!(hex(&span.trace_id), TRACE);
        assert_eq!(span.trace_state, "", "{span:#?}");
        assert!(prost::Message::encoded_len(span) < 2048, "{span:#?}");
    }
    assert!(
        spans.iter().any(|span| attribute(span, "url.path").as_deref() == Some(&long[..256])),
        "{spans:#?}"
    );
    let headers = read(&cluster, "t", 1).pop().unwrap().headers;
    assert!(headers.iter().all(|(name, _)| name != "tracestate"), "{headers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_head_of_a_signed_call_says_of_traces_gets_into_no_record() {
    let cluster = cluster();
    cluster.create_topic("t", 1, 1).unwrap();
    let collector = Collector::start().await;
    let secrets = Secrets::new("traces", SECRET);
    let flags = ["--otlp-endpoint", &collector.url, "--hop-secret-file", secrets.path()];
    let bridge = Bridge::ready(&cluster, &flags).await;
    let path = "/v1/topics/t/events";
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let own = |id: &str, state: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t","traceparent":"00-{TRACE}-{}-01"{state}}}"#,
            "5".repeat(16)
        )
    };
    let events = [event("none", 10), own("same", ""), own("state", r#","tracestate":"b=2""#)];
    for (index, sent) in events.iter().enumerate() {
        let signature = sign(SECRET, now(), &format!("nonce-0123456789-{index}"), path, sent);
        let headers = [
            (SIGNATURE_HEADER, signature.as_str()),
            ("traceparent", traceparent.as_str()),
            ("tracestate", "forged=1"),
        ];
        assert_eq!(hop::post(&bridge, path, &headers, sent).await.status, 202);
    }
    // Without a word of traces in the head, the record is below the request.
    let sent = event("plain", 10);
    let signature = sign(SECRET, now(), "nonce-0123456789-plain", path, &sent);
    assert_eq!(hop::post(&bridge, path, &[(SIGNATURE_HEADER, &signature)], &sent).await.status, 202);
    let stored = read(&cluster, "t", 4);
    assert!(bridge.stop().await.is_none());

    let spans = collector.spans(8).await;
    let header = |index: usize, name: &str| {
        let found = stored[index].headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| String::from_utf8(value.clone()).unwrap())
    };
    let servers: Vec<_> = spans.iter().filter(|span| span.kind == SpanKind::Server as i32).collect();
    let none = find(&spans, "none");
    assert!(none.parent_span_id.is_empty() && hex(&none.trace_id) != TRACE, "{none:#?}");
    let [link] = &none.links[..] else { panic!("{none:#?}") };
    let linked = servers.iter().find(|server| server.span_id == link.span_id).unwrap();
    assert_eq!((hex(&linked.trace_id), hex(&linked.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
    let traceparent = |span: &Span| Some(format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id)));
    assert_eq!((header(0, "traceparent"), header(0, "tracestate")), (traceparent(none), None));
    for (index, id, state) in [(1, "same", None), (2, "state", Some("b=2"))] {
        let span = find(&spans, id);
        assert!(servers.iter().any(|server| server.span_id == span.parent_span_id), "{span:#?}");
        assert_eq!(hex(&span.trace_id), TRACE);
        assert_eq!(header(index, "traceparent"), traceparent(span));
        assert_eq!(header(index, "tracestate").as_deref(), state);
    }
    let plain = find(&spans, "plain");
    assert!(servers.iter().any(|server| server.span_id == plain.parent_span_id), "{plain:#?}");
}

/// One call with so many records; returns how long it took.
async fn call(client: &Client, records: usize) -> Duration {
    let records: Vec<_> =
        (0..records).map(|id| format!(r#"{{"topic":"t","event":{}}}"#, event(&id.to_string(), 10))).collect();
    let started = Instant::now();
    let answer = client.records(format!(r#"{{"records":[{}]}}"#, records.join(","))).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_costs_spans_and_nothing_else() {
    let cluster = cluster();
    // Nothing listens there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let servers = cluster.bootstrap_servers();
    let endpoint = format!("http://{closed}");
    let flags = ["--bootstrap-servers", &servers, "--otlp-endpoint", &endpoint, "--idempotency-entries", "0"];
    let mut process = Process::start_with(&flags, &[SOON]);
    process.client.until_ready(true, Duration::from_secs(10)).await;
    for _ in 0..3 {
        call(&process.client, 100).await;
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while process.client.metric(r#"kafka_bridge_spans_total{outcome="failed"}"#).await == 0 {
        assert!(Instant::now() < deadline, "no span has failed yet");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    call(&process.client, 100).await;
    assert_eq!(count(&cluster, "t"), 400);
    process.signal("-TERM");
    assert_eq!(process.ended(Duration::from_secs(10)).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_is_waited_for_no_longer_than_the_stop_may_take() {
    let cluster = cluster();
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", mute.local_addr().unwrap());
    let held = tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            held.push(mute.accept().await.unwrap().0);
        }
    });
    let servers = cluster.bootstrap_servers();
    let flags = [
        "--bootstrap-servers",
        &servers,
        "--otlp-endpoint",
        &endpoint,
        "--idempotency-entries",
        "0",
        "--shutdown-timeout",
        "2s",
    ];
    let mut process = Process::start_with(&flags, &[SOON]);
    process.client.until_ready(true, Duration::from_secs(10)).await;
    // More than may wait for the collector.
    let mut calls = 0;
    while process.client.metric(r#"kafka_bridge_spans_total{outcome="dropped"}"#).await == 0 {
        assert!(calls < 40, "no span was dropped");
        call(&process.client, 1000).await;
        calls += 1;
    }
    assert!(calls >= 8, "dropped after {calls} calls of 1000 records");
    assert_eq!(count(&cluster, "t"), calls * 1000);
    process.signal("-TERM");
    let started = Instant::now();
    assert_eq!(process.ended(Duration::from_secs(20)).await.code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    held.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_been_sent_yet_is_sent_before_the_end() {
    let cluster = cluster();
    let collector = Collector::start().await;
    let servers = cluster.bootstrap_servers();
    let flags = ["--bootstrap-servers", &servers, "--idempotency-entries", "0"];
    // By the variable that all who make spans know, and with hours to the next batch.
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=hunter6"),
        ("OTEL_BSP_SCHEDULE_DELAY", "10000000"),
    ];
    let mut process = Process::start_with(&flags, &environment);
    process.client.until_ready(true, Duration::from_secs(10)).await;
    call(&process.client, 300).await;
    assert_eq!(collector.received.lock().unwrap().spans.len(), 0);
    process.signal("-TERM");
    assert_eq!(process.ended(Duration::from_secs(10)).await.code(), Some(0));
    let received = collector.received.lock().unwrap();
    assert_eq!((received.spans.len(), received.tenant.as_deref()), (301, Some("hunter6")));
}

fn acceptor(identity: &Identity) -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_file(&identity.certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_go_over_tls_to_a_collector_that_is_recognised() {
    let cluster = cluster();
    let folder = std::env::temp_dir().join(format!("bridge-otlp-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (authority, other) = (Authority::new(&folder, "authority"), Authority::new(&folder, "other"));
    let collector =
        Collector::start_with(Some(acceptor(&authority.issue("collector", &["localhost"])))).await;
    let elsewhere = Collector::start_with(Some(acceptor(&authority.issue("elsewhere", &["x.test"])))).await;
    let servers = cluster.bootstrap_servers();
    let ca = |authority: &Authority| authority.certificate.to_str().unwrap().to_owned();
    let start = |collector: &Collector, ca: &str| {
        let flags =
            ["--bootstrap-servers", &servers, "--otlp-endpoint", &collector.url, "--otlp-ca-file", ca];
        Process::start_with(&flags, &[SOON])
    };
    let bridge = start(&collector, &ca(&authority));
    bridge.client.until_ready(true, Duration::from_secs(10)).await;
    assert_eq!(bridge.client.event("t", event("over-tls", 5)).await.status, 202);
    find(&collector.spans(2).await, "over-tls");

    // The operating system's authorities are as good, and here it has this one.
    let authorities = ca(&authority);
    let flags = ["--bootstrap-servers", &servers, "--otlp-endpoint", &collector.url];
    let bridge = Process::start_with(&flags, &[SOON, ("SSL_CERT_FILE", &authorities)]);
    bridge.client.until_ready(true, Duration::from_secs(10)).await;
    assert_eq!(bridge.client.event("t", event("by-the-system", 5)).await.status, 202);
    find(&collector.spans(4).await, "by-the-system");

    // Another authority's certificate, and one for another host.
    let strangers = [start(&collector, &ca(&other)), start(&elsewhere, &ca(&authority))];
    for stranger in &strangers {
        stranger.client.until_ready(true, Duration::from_secs(10)).await;
        assert_eq!(stranger.client.event("t", event("to-a-stranger", 5)).await.status, 202);
        let failed = r#"kafka_bridge_spans_total{outcome="failed"}"#;
        crate::common::until(async || stranger.client.metric(failed).await >= 2).await;
    }
    assert_eq!(collector.spans(4).await.len(), 4);
    assert!(elsewhere.received.lock().unwrap().spans.is_empty());

    let junk = folder.join("junk");
    std::fs::write(&junk, "hunter2").unwrap();
    let flags = ["--embedded-broker", "check", "--otlp-endpoint", "https://localhost:1"];
    let output =
        command(&[&flags[..], &["--otlp-ca-file", junk.to_str().unwrap()]].concat()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("--otlp-ca-file") && text.contains("wanted certificates in PEM"), "{text}");
    assert!(!text.contains("hunter"), "{text}");
    std::fs::remove_dir_all(&folder).unwrap();
}
