//! TLS and each SASL mechanism against a real Apache Kafka, with the program itself, whose log is read too:
//!
//! `scripts/fetch-kafka.sh && cargo test -p kafka-bridge --features oidc --test bridge secured::`
//!
//! Needs `java`, `openssl` and `setpriv` (of util-linux).

mod certificates;
mod identity_provider;
mod kafka;
mod program;

use std::time::Duration;

use crate::common::{RECORDS, event};
use identity_provider::{CLIENT, IdentityProvider, SECRET, State};
use kafka::{Kafka, PASSWORD, USER};
use program::Program;

/// How long a bridge has to be let in.
const SOON: Duration = Duration::from_secs(30);
/// librdkafka asks again for a token 10 seconds after it could not have one, or, if the provider itself said that it was
/// out of order, after 5, 10, 15 and 20.
const TOKEN_SOON: Duration = Duration::from_secs(60);

/// Options of librdkafka, as lines of the configuration file.
fn lines(options: &[(&str, &str)]) -> String {
    options.iter().map(|(name, value)| format!("{name} = {value:?}\n")).collect()
}

/// Starts what the tests share, and runs them side by side, as most of their time is spent on waiting.
#[tokio::test(flavor = "multi_thread")]
async fn kafka_lets_in_who_can_prove_it_and_nobody_else() {
    let provider = IdentityProvider::start(State::Up).await;
    let kafka = Kafka::start(&provider);
    tokio::join!(
        who_is_let_in(&kafka, &provider),
        who_is_not(&kafka, &provider),
        what_librdkafka_cannot_read(&kafka),
        tokens_are_renewed_while_records_flow(&kafka),
        a_provider_that_is_down_at_the_start_is_asked_again(&kafka, State::Down),
        a_provider_that_is_down_at_the_start_is_asked_again(&kafka, State::OutOfOrder),
        a_provider_that_does_not_answer_keeps_nobody_from_stopping(&kafka),
        each_producer_has_its_own_way_in(&kafka, &provider),
    );
}

async fn who_is_let_in(kafka: &Kafka, provider: &IdentityProvider) {
    let encrypted = kafka.encrypted_provider();
    let authority = lines(&[("https.ca.location", &kafka.file("ca.crt"))]);
    for (what, port, options) in [
        ("mutual TLS", kafka.ssl, kafka.tls("ssl", "ca") + &kafka.certificate("bridge")),
        ("PLAIN", kafka.sasl_plaintext, sasl_plaintext() + &password("PLAIN", PASSWORD)),
        ("PLAIN, TLS", kafka.sasl_ssl, kafka.tls("sasl_ssl", "ca") + &password("PLAIN", PASSWORD)),
        ("SCRAM-SHA-256", kafka.sasl_plaintext, sasl_plaintext() + &password("SCRAM-SHA-256", PASSWORD)),
        ("SCRAM-SHA-512", kafka.sasl_plaintext, sasl_plaintext() + &password("SCRAM-SHA-512", PASSWORD)),
        (
            "SCRAM-SHA-256, TLS",
            kafka.sasl_ssl,
            kafka.tls("sasl_ssl", "ca") + &password("SCRAM-SHA-256", PASSWORD),
        ),
        (
            "SCRAM-SHA-512, TLS",
            kafka.sasl_ssl,
            kafka.tls("sasl_ssl", "ca") + &password("SCRAM-SHA-512", PASSWORD),
        ),
        ("OAUTHBEARER", kafka.sasl_plaintext, sasl_plaintext() + &token(provider, SECRET)),
        (
            "OAUTHBEARER, TLS to both",
            kafka.sasl_ssl,
            kafka.tls("sasl_ssl", "ca") + &token(&encrypted, SECRET) + &authority,
        ),
    ] {
        let written = kafka.count("let-in");
        let bridge = Program::start(what, port, &options);
        bridge.until_ready(SOON).await;
        let answer = bridge.client.event("let-in", event("1", 10)).await;
        assert_eq!(answer.status, 202, "{what}: {answer:?}");
        assert_eq!(answer.json()["offset"], written, "{what}");
        assert_eq!(kafka.count("let-in"), written + 1, "{what}");
        bridge.assert_tells_no(&secrets(&[provider, &encrypted]));
    }
}

async fn who_is_not(kafka: &Kafka, provider: &IdentityProvider) {
    let forger = IdentityProvider::start(State::Up).await;
    let encrypted = kafka.encrypted_provider();
    let authority = lines(&[("https.ca.location", &kafka.file("stranger.crt"))]);
    let cases = [
        ("no certificate", kafka.ssl, kafka.tls("ssl", "ca"), "certificate"),
        (
            "a stranger's certificate",
            kafka.ssl,
            kafka.tls("ssl", "ca") + &kafka.certificate("stranger"),
            "certificate",
        ),
        (
            "an expired certificate",
            kafka.ssl,
            kafka.tls("ssl", "ca") + &kafka.certificate("expired"),
            "certificate",
        ),
        (
            "a broker of another authority",
            kafka.ssl,
            kafka.tls("ssl", "stranger") + &kafka.certificate("bridge"),
            "certificate verify failed",
        ),
        ("no TLS", kafka.ssl, String::new(), "closed by peer"),
        (
            "a wrong password, PLAIN",
            kafka.sasl_plaintext,
            sasl_plaintext() + &password("PLAIN", "wrong-password"),
            "Authentication failed",
        ),
        (
            "a wrong password, SCRAM-SHA-256",
            kafka.sasl_ssl,
            kafka.tls("sasl_ssl", "ca") + &password("SCRAM-SHA-256", "wrong-password"),
            "Authentication failed",
        ),
        (
            "a wrong password, SCRAM-SHA-512",
            kafka.sasl_plaintext,
            sasl_plaintext() + &password("SCRAM-SHA-512", "wrong-password"),
            "Authentication failed",
        ),
        (
            "a wrong client secret",
            kafka.sasl_plaintext,
            sasl_plaintext() + &token(provider, "wrong-password"),
            "invalid_client",
        ),
        (
            "another provider's token",
            kafka.sasl_plaintext,
            sasl_plaintext() + &token(&forger, SECRET),
            "invalid_token",
        ),
        (
            "a provider of another authority",
            kafka.sasl_plaintext,
            sasl_plaintext() + &token(&encrypted, SECRET) + &authority,
            "Failed to retrieve OIDC token",
        ),
        (
            "no authority that has signed the broker's certificate",
            kafka.sasl_ssl,
            "security.protocol = \"sasl_ssl\"\n".to_owned() + &password("PLAIN", PASSWORD),
            "certificate verify failed",
        ),
    ];
    let refused = cases.map(|(what, port, options, reason)| {
        let secrets = secrets(&[provider, &forger]);
        async move {
            let bridge = Program::start(what, port, &options);
            bridge.until_log_has(reason, SOON).await;
            let answer = bridge.client.event("not-let-in", event("1", 10)).await;
            assert!(matches!(answer.status.as_u16(), 503 | 504), "{what}: {answer:?}");
            assert_eq!(bridge.client.get("/readyz").await.status, 503, "{what}");
            let log = bridge.log();
            assert!(!log.contains("\"ready\""), "{what}:\n{log}");
            bridge.assert_tells_no(&secrets);
        }
    });
    for case in refused {
        case.await;
    }
    assert_eq!(kafka.count("not-let-in"), 0);
    assert_eq!(encrypted.requests(), 0);
}

/// It is told before anything is connected to, and before anybody is asked for a token.
async fn what_librdkafka_cannot_read(kafka: &Kafka) {
    let provider = IdentityProvider::start(State::Up).await;
    let good = kafka.tls("sasl_ssl", "ca") + &token(&provider, SECRET);
    let (code, text) = Program::check("good", &good);
    assert_eq!(code, Some(0), "{text}");
    let no_certificate = kafka.file("server.properties");
    let (code, text) =
        Program::check("no certificate", &good.replace(&kafka.file("ca.crt"), &no_certificate));
    assert!(code == Some(2) && text.contains("ssl.ca.location"), "{code:?}: {text}");
    let (code, text) = Program::check(
        "several",
        &lines(&[
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "OAUTHBEARER"),
            ("sasl.oauthbearer.method", "oidc"),
            ("sasl.oauthbearer.client.secret", "hunter2"),
            ("sasl.password", "hunter2"),
            ("ssl.ca.location", "/nonexistent/hunter2"),
        ]),
    );
    assert!(code == Some(2) && !text.contains("hunter2"), "{code:?}: {text}");
    for wanted in [
        "librdkafka.sasl.oauthbearer.client.id: sasl.oauthbearer.method=oidc takes it",
        "librdkafka.sasl.oauthbearer.token.endpoint.url: sasl.oauthbearer.method=oidc takes it",
        "librdkafka.sasl.password: it has no effect",
        "librdkafka.ssl.ca.location: it has no effect",
        "librdkafka.ssl.ca.location: its file cannot be read",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert_eq!(text.lines().count(), 5, "{text}");
    assert_eq!(provider.requests(), 0);
}

/// A token that is over is refused by the broker, at a new connection and, as it is set up, on an old one.
async fn tokens_are_renewed_while_records_flow(kafka: &Kafka) {
    let provider = kafka.provider(State::Up).living(Duration::from_secs(6));
    let bridge =
        Program::start("renewed", kafka.sasl_plaintext, &(sasl_plaintext() + &token(&provider, SECRET)));
    bridge.until_ready(SOON).await;
    let (first, mut sent) = (provider.granted(), 0);
    let started = std::time::Instant::now();
    // Twice, at least, for the one producer that always has a connection.
    while provider.granted() < first + 6 || started.elapsed() < Duration::from_secs(14) {
        let answer = bridge.client.event("renewed", event(&sent.to_string(), 10)).await;
        assert_eq!(answer.status, 202, "after {sent} events: {answer:?}\n{}", bridge.log());
        sent += 1;
        assert!(started.elapsed() < TOKEN_SOON, "{} tokens in {TOKEN_SOON:?}", provider.granted());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(kafka.count("renewed"), sent);
    // It goes on with the token that it has while there is no other, and gets one when there is.
    provider.set(State::Refusing);
    bridge.until_log_has("not today", SOON).await;
    provider.set(State::Up);
    let granted = provider.granted();
    let started = std::time::Instant::now();
    while provider.granted() == granted {
        assert!(started.elapsed() < TOKEN_SOON, "no token\n{}", bridge.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bridge.until_ready(TOKEN_SOON).await;
    assert_eq!(bridge.client.event("renewed", event("last", 10)).await.status, 202, "{}", bridge.log());
    bridge.assert_tells_no(&secrets(&[&provider]));
}

async fn a_provider_that_is_down_at_the_start_is_asked_again(kafka: &Kafka, state: State) {
    let provider = kafka.provider(state);
    let options = sasl_plaintext() + &token(&provider, SECRET);
    let bridge = Program::start(&format!("{state:?}"), kafka.sasl_plaintext, &options);
    if state == State::Down {
        bridge.until_log_has("Failed to retrieve OIDC token", SOON).await;
    } else {
        while provider.requests() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(bridge.client.get("/readyz").await.status, 503);
    provider.set(State::Up);
    bridge.until_ready(TOKEN_SOON).await;
    assert_eq!(bridge.client.event("down", event("1", 10)).await.status, 202);
    bridge.assert_tells_no(&secrets(&[&provider]));
}

async fn a_provider_that_does_not_answer_keeps_nobody_from_stopping(kafka: &Kafka) {
    let provider = kafka.provider(State::Silent);
    let mut bridge =
        Program::start("silent", kafka.sasl_plaintext, &(sasl_plaintext() + &token(&provider, SECRET)));
    while provider.requests() == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(bridge.stop(Duration::from_secs(5)).await.code(), Some(0), "{}", bridge.log());
}

/// The producer of `ack=leader` and that of records which were refused with others, beside the main one.
async fn each_producer_has_its_own_way_in(kafka: &Kafka, provider: &IdentityProvider) {
    kafka.create_compacted("compacted").await;
    for (what, port, options) in [
        ("OAUTHBEARER", kafka.sasl_plaintext, sasl_plaintext() + &token(provider, SECRET)),
        ("SCRAM-SHA-512", kafka.sasl_ssl, kafka.tls("sasl_ssl", "ca") + &password("SCRAM-SHA-512", PASSWORD)),
        ("mutual TLS", kafka.ssl, kafka.tls("ssl", "ca") + &kafka.certificate("bridge")),
    ] {
        let bridge = Program::start(&format!("each, {what}"), port, &options);
        bridge.until_ready(SOON).await;
        let headers = [("content-type", crate::common::EVENT)];
        let path = "/v1/topics/each/events?ack=leader";
        let answer = bridge.client.send("POST", path, &headers, event("1", 10)).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["ack"]),
            (202, &"leader".into()),
            "{what}: {answer:?}"
        );
        // A compacted topic does not take a record without a key; that it is not taken alone either, is known of
        // the other producer alone.
        let records = format!(r#"{{"records":[{{"topic":"compacted","event":{}}}]}}"#, event("2", 10));
        let answer = bridge.client.send("POST", "/v1/records", &[("content-type", RECORDS)], records).await;
        assert_eq!(answer.json()["results"][0]["outcome"], "refused", "{what}: {answer:?}\n{}", bridge.log());
        assert_eq!(bridge.client.metric("kafka_bridge_isolated_attempts_total").await, 1, "{what}");
    }
}

/// What nobody may find in a log.
fn secrets(providers: &[&IdentityProvider]) -> Vec<String> {
    let mut secrets = vec![PASSWORD.to_owned(), "wrong-password".to_owned(), SECRET.to_owned()];
    secrets.extend(providers.iter().flat_map(|provider| provider.tokens()));
    secrets.push(identity_provider::credentials(CLIENT, SECRET));
    secrets
}

fn sasl_plaintext() -> String {
    lines(&[("security.protocol", "sasl_plaintext")])
}

fn password(mechanism: &str, password: &str) -> String {
    lines(&[("sasl.mechanism", mechanism), ("sasl.username", USER)])
        + &program::secret("sasl.password", password)
}

fn token(provider: &IdentityProvider, secret: &str) -> String {
    lines(&[
        ("sasl.mechanism", "OAUTHBEARER"),
        ("sasl.oauthbearer.method", "oidc"),
        ("sasl.oauthbearer.token.endpoint.url", &provider.endpoint()),
        ("sasl.oauthbearer.client.id", CLIENT),
        ("sasl.oauthbearer.scope", identity_provider::SCOPE),
        ("sasl.oauthbearer.extensions", "tenant=eu"),
    ]) + &program::secret("sasl.oauthbearer.client.secret", secret)
}
