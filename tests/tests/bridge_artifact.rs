//! What the `kafka-bridge` that ships can do on its way to Kafka. What a build lacks, it refuses to be configured with.
#![allow(clippy::expect_used, reason = "this is a test, and a panic is how a test fails")]

use std::process::Command;

use wicketgate_tests::artefacts;

#[test]
fn it_has_tls_every_mechanism_of_sasl_and_openid_connect() {
    const SCRAM: [&str; 2] = ["sasl.username=bridge", "sasl.password=a-password"];
    const OIDC: [&str; 5] = [
        "security.protocol=SASL_SSL",
        "sasl.mechanism=OAUTHBEARER",
        "sasl.oauthbearer.method=oidc",
        "sasl.oauthbearer.token.endpoint.url=https://idp.example.com/token",
        "sasl.oauthbearer.client.id=bridge",
    ];
    let scram = |mechanism: &'static str| [&["security.protocol=SASL_SSL", mechanism], &SCRAM[..]].concat();
    for options in [
        vec!["security.protocol=SSL"],
        scram("sasl.mechanism=PLAIN"),
        scram("sasl.mechanism=SCRAM-SHA-256"),
        scram("sasl.mechanism=SCRAM-SHA-512"),
        [&OIDC[..], &["sasl.oauthbearer.client.secret=a-secret"]].concat(),
    ] {
        let mut check = Command::new(artefacts::bridge());
        check.args(["check", "--bootstrap-servers", "kafka.example.com:9093"]);
        for option in &options {
            check.args(["--librdkafka", option]);
        }
        let checked = check.output().expect("the bridge can be run");
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{options:?}: {said}\nBuild it with `make build`.");
    }
}
