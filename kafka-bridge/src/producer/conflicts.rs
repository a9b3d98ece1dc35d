//! What is wrong with options of librdkafka together: each may be good, and they cannot all be meant. librdkafka
//! passes over much of it in silence, and tells the rest one at a time when it connects.

use std::fs::File;
use std::time::Duration;

use axum::http::Uri;

use super::Property;
use super::settings::RECONNECT_BACKOFF_MS;

const PROTOCOL: &str = "security.protocol";
const MECHANISM: &str = "sasl.mechanism";
const UNSECURED: &str = "enable.sasl.oauthbearer.unsecure.jwt";
const VERIFICATION: &str = "enable.ssl.certificate.verification";
const ENDPOINT: &str = "sasl.oauthbearer.token.endpoint.url";
const MECHANISMS: [&str; 4] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"];

/// The most requests to a broker at a time that an idempotent producer takes.
const MAX_IN_FLIGHT: u32 = 5;

/// Other names, and the names that go for them here. Which of the two would hold is not defined.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("sasl.mechanisms", MECHANISM),
    ("sasl.oauthbearer.client.credentials.client.id", "sasl.oauthbearer.client.id"),
    ("sasl.oauthbearer.client.credentials.client.secret", "sasl.oauthbearer.client.secret"),
];

/// Options of which one does not go without the other.
const TOGETHER: &[(&str, &[&str])] = &[
    ("ssl.certificate.location", &["ssl.key.location", "ssl.key.pem"]),
    ("ssl.certificate.pem", &["ssl.key.location", "ssl.key.pem"]),
    ("ssl.key.location", &["ssl.certificate.location", "ssl.certificate.pem"]),
    ("ssl.key.pem", &["ssl.certificate.location", "ssl.certificate.pem"]),
    ("ssl.key.password", &["ssl.key.location", "ssl.key.pem"]),
    ("ssl.keystore.location", &["ssl.keystore.password"]),
    ("ssl.keystore.password", &["ssl.keystore.location"]),
];

/// Options of which there can be only one.
const APART: &[(&str, &str)] = &[
    ("ssl.ca.location", "ssl.ca.pem"),
    ("https.ca.location", "https.ca.pem"),
    ("ssl.key.location", "ssl.key.pem"),
    ("ssl.certificate.location", "ssl.certificate.pem"),
    ("ssl.keystore.location", "ssl.key.location"),
    ("ssl.keystore.location", "ssl.key.pem"),
    ("sasl.oauthbearer.assertion.private.key.file", "sasl.oauthbearer.assertion.private.key.pem"),
];

/// Options whose value is a file to be read, or a folder.
const FILES: &[&str] = &[
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.crl.location",
    "ssl.key.location",
    "ssl.keystore.location",
    "https.ca.location",
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.jwt.template.file",
    "sasl.oauthbearer.assertion.private.key.file",
];

/// The options of one cluster.
#[derive(Clone, Copy)]
struct Options<'a>(&'a [Property]);

impl<'a> Options<'a> {
    /// The value that holds: later ones replace earlier ones. `name` is not among the other names.
    fn get(self, name: &str) -> Option<&'a str> {
        let other = OTHER_NAMES.iter().find(|(_, own)| *own == name).map(|(other, _)| *other);
        self.said(name).or_else(|| self.said(other?))
    }

    /// The last value under exactly this name.
    fn said(self, name: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|property| property.name == name).map(|property| property.value.as_str())
    }

    /// The number that an option has, if it is there and is one.
    fn number(self, name: &str) -> Option<f64> {
        self.get(name)?.trim().parse().ok()
    }

    fn is(self, name: &str, value: &str) -> bool {
        self.get(name).is_some_and(|there| there.eq_ignore_ascii_case(value))
    }

    /// The names of those that start so, each once. Names that librdkafka does not know are refused for that alone.
    fn starting_with(self, starts: &[&str]) -> Vec<&'a str> {
        let started = |property: &&Property| starts.iter().any(|start| property.name.starts_with(start));
        let there = self.0.iter().filter(started).filter(|property| property.is_known());
        let mut names: Vec<_> = there.map(|property| property.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn protocol(self) -> &'a str {
        self.get(PROTOCOL).unwrap_or("plaintext")
    }

    fn uses_tls(self) -> bool {
        ["ssl", "sasl_ssl"].iter().any(|protocol| self.protocol().eq_ignore_ascii_case(protocol))
    }

    fn uses_sasl(self) -> bool {
        ["sasl_plaintext", "sasl_ssl"].iter().any(|protocol| self.protocol().eq_ignore_ascii_case(protocol))
    }

    fn uses_oidc(self) -> bool {
        self.uses_sasl()
            && self.get(MECHANISM) == Some("OAUTHBEARER")
            && self.is("sasl.oauthbearer.method", "oidc")
    }
}

/// All that is wrong with the options of one cluster together, each with the name that it is about and the next step,
/// and without values. What is wrong with one of them alone is not looked for here.
pub(crate) fn check(options: &[Property], production: bool, breaker_stall: Duration) -> Vec<String> {
    let options = Options(options);
    let mut errors = Vec::new();
    // Nothing can be said of what would hold under a protocol that there is not.
    let known = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];
    if known.iter().any(|protocol| options.protocol().eq_ignore_ascii_case(protocol)) {
        without_effect(options, &mut errors);
        if options.uses_sasl() {
            sasl(options, &mut errors);
        }
    }
    for (name, others) in TOGETHER {
        if options.get(name).is_some() && others.iter().all(|other| options.get(other).is_none()) {
            errors.push(format!("{name}: it takes {}, which is not there", others.join(" or ")));
        }
    }
    for (one, other) in APART.iter().chain(OTHER_NAMES) {
        if options.said(one).is_some() && options.said(other).is_some() {
            errors.push(format!("{one}: {other} is there too; leave out one of them"));
        }
    }
    for name in FILES {
        let path = options.get(name).filter(|path| *path != "probe");
        if let Some(Err(error)) = path.map(File::open) {
            errors.push(format!("{name}: its file cannot be read: {error}"));
        }
    }
    numbers(options, breaker_stall, &mut errors);
    if production {
        if options.is(VERIFICATION, "false") {
            errors.push(format!(
                "{VERIFICATION}: --mode production does not talk to brokers that it has not recognised; leave it out, \
                 and name their authority in ssl.ca.location"
            ));
        }
        if options.is(UNSECURED, "true") {
            errors.push(format!(
                "{UNSECURED}: --mode production does not use tokens that prove nothing; leave it out, and set \
                 sasl.oauthbearer.method to oidc"
            ));
        }
    }
    errors
}

/// What the options of one cluster leave open, for the log; without values.
pub(crate) fn warnings(options: &[Property]) -> Vec<String> {
    let options = Options(options);
    let mut warnings = Vec::new();
    if options.uses_tls() {
        if options.is(VERIFICATION, "false") {
            warnings.push(format!(
                "{VERIFICATION} is off: whoever gets between the bridge and Kafka can read and change all records"
            ));
        } else if options.is("ssl.endpoint.identification.algorithm", "none") {
            warnings.push(
                "ssl.endpoint.identification.algorithm is none: whoever has any certificate of the authority can pass \
                 for a broker"
                    .to_owned(),
            );
        }
    }
    if options.is(PROTOCOL, "sasl_plaintext")
        && matches!(options.get(MECHANISM), Some("PLAIN" | "OAUTHBEARER"))
    {
        warnings.push(format!(
            "{PROTOCOL} is sasl_plaintext: the password or token crosses the network unencrypted; sasl_ssl encrypts it"
        ));
    }
    let endpoint = options.get(ENDPOINT).filter(|_| options.uses_oidc());
    if let Some(Ok(endpoint)) = endpoint.map(str::parse::<Uri>) {
        let host = endpoint.host().unwrap_or_default();
        let here = host == "localhost" || host.starts_with("127.") || host == "[::1]";
        if endpoint.scheme_str() == Some("http") && !here {
            warnings.push(format!(
                "{ENDPOINT} is not https: the client's secret crosses the network unencrypted"
            ));
        }
    }
    warnings
}

/// Options that librdkafka would not look at.
fn without_effect(options: Options<'_>, errors: &mut Vec<String>) {
    let mut refuse = |starts: &[&str], why: &str| {
        errors.extend(
            options
                .starting_with(starts)
                .into_iter()
                .map(|name| format!("{name}: it has no effect, as {why}")),
        );
    };
    let protocol = options.get(PROTOCOL).map_or("not set".to_owned(), str::to_ascii_lowercase);
    if !options.uses_tls() {
        refuse(
            &["ssl.", VERIFICATION],
            &format!("{PROTOCOL} is {protocol}; set that to ssl or sasl_ssl, or leave this out"),
        );
    }
    if !options.uses_sasl() {
        refuse(
            &["sasl.", UNSECURED],
            &format!("{PROTOCOL} is {protocol}; set that to sasl_ssl or sasl_plaintext, or leave this out"),
        );
        refuse(&["https."], "no tokens are fetched without SASL; leave it out");
        return;
    }
    match options.get(MECHANISM).filter(|mechanism| MECHANISMS.contains(mechanism)) {
        Some("OAUTHBEARER") => {
            refuse(&["sasl.username", "sasl.password"], "sasl.mechanism is OAUTHBEARER; leave it out");
            if !options.uses_oidc() {
                refuse(
                    &["https."],
                    "no tokens are fetched without sasl.oauthbearer.method=oidc; leave it out",
                );
            }
        }
        Some(mechanism) => refuse(
            &["sasl.oauthbearer.", UNSECURED, "https."],
            &format!("sasl.mechanism is {mechanism}; set that to OAUTHBEARER, or leave this out"),
        ),
        // The mechanism is told to be missing.
        None => {}
    }
}

/// What a mechanism takes.
fn sasl(options: Options<'_>, errors: &mut Vec<String>) {
    let missing = |name: &str| options.get(name).is_none_or(str::is_empty);
    let mut take = |name: &str, why: &str| {
        if missing(name) {
            errors.push(format!("{name}: {why} takes it, and it is not there or empty"));
        }
    };
    let mechanism = match options.get(MECHANISM) {
        Some(mechanism) if MECHANISMS.contains(&mechanism) => mechanism,
        Some("GSSAPI") => {
            errors.push(format!(
                "{MECHANISM}: the bridge is built without Kerberos; wanted {}",
                MECHANISMS.join(", ")
            ));
            return;
        }
        _ => {
            errors.push(format!("{MECHANISM}: wanted one of {}", MECHANISMS.join(", ")));
            return;
        }
    };
    if mechanism != "OAUTHBEARER" {
        take("sasl.username", mechanism);
        take("sasl.password", mechanism);
    } else if options.uses_oidc() {
        let azure = options.is("sasl.oauthbearer.metadata.authentication.type", "azure_imds");
        if !azure {
            take(ENDPOINT, "sasl.oauthbearer.method=oidc");
        }
        if !azure
            && options.get("sasl.oauthbearer.grant.type").is_none_or(|grant| grant == "client_credentials")
        {
            take("sasl.oauthbearer.client.id", "sasl.oauthbearer.method=oidc");
            take("sasl.oauthbearer.client.secret", "sasl.oauthbearer.method=oidc");
        }
        if options.is(UNSECURED, "true") {
            errors.push(format!("{UNSECURED}: sasl.oauthbearer.method is oidc; leave out one of them"));
        }
        if let Some(endpoint) = options.get(ENDPOINT).filter(|endpoint| !endpoint.is_empty()) {
            errors.extend(token_endpoint(endpoint).err().map(|error| format!("{ENDPOINT}: {error}")));
        }
    } else if !options.is(UNSECURED, "true") {
        errors.push(
            "sasl.oauthbearer.method: wanted oidc, as the bridge has no other way to get tokens for OAUTHBEARER"
                .to_owned(),
        );
    }
    if mechanism != "PLAIN" && !cfg!(feature = "tls") {
        errors.push(format!("{MECHANISM}: {mechanism} takes a bridge that is built with --features tls"));
    }
}

fn token_endpoint(text: &str) -> Result<(), &'static str> {
    let uri: Uri = text.parse().map_err(|_| "wanted a URL")?;
    if !matches!(uri.scheme_str(), Some("https" | "http")) {
        return Err("wanted a URL that starts with https:// or http://");
    }
    // Logs show the URL.
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("wanted a URL without a user and a password; sasl.oauthbearer.client.id and \
                    sasl.oauthbearer.client.secret are for these");
    }
    Ok(())
}

/// Numbers that librdkafka compares with others.
fn numbers(options: Options<'_>, breaker_stall: Duration, errors: &mut Vec<String>) {
    const IN_FLIGHT: &str = "max.in.flight.requests.per.connection";
    if options.number(IN_FLIGHT).is_some_and(|number| number > f64::from(MAX_IN_FLIGHT)) {
        errors.push(format!("{IN_FLIGHT}: an idempotent producer takes at most {MAX_IN_FLIGHT}"));
    }
    // A record that only lingers must not be taken for one that Kafka does not acknowledge.
    if options.number("linger.ms").is_some_and(|linger| linger >= breaker_stall.as_secs_f64() * 500.0) {
        errors.push(format!(
            "linger.ms: wanted less than half of breaker_stall, which is {}",
            humantime::format_duration(breaker_stall)
        ));
    }
    let (first, longest) = ("reconnect.backoff.ms", "reconnect.backoff.max.ms");
    // Where one is not set, the bridge's holds.
    let defaults = RECONNECT_BACKOFF_MS;
    let first_value = options.number(first).unwrap_or_else(|| f64::from(defaults.0));
    if first_value > options.number(longest).unwrap_or_else(|| f64::from(defaults.1)) {
        errors.push(format!("{first}: wanted at most {longest}, which is {} if not set", defaults.1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TLS: bool = cfg!(feature = "tls");

    fn options(text: &str) -> Vec<Property> {
        text.split_whitespace().map(|property| property.parse().unwrap()).collect()
    }

    fn errors(text: &str, production: bool) -> Vec<String> {
        check(&options(text), production, Duration::from_secs(2))
    }

    #[test]
    fn what_goes_together_is_taken() {
        for good in [
            "",
            "linger.ms=999 reconnect.backoff.ms=1000 max.in.flight.requests.per.connection=5",
            "security.protocol=plaintext",
            "security.protocol=SSL ssl.ca.location=/ ssl.key.pem=x ssl.certificate.pem=y",
            "security.protocol=ssl ssl.ca.location=probe ssl.keystore.location=/ ssl.keystore.password=x",
            "security.protocol=ssl enable.ssl.certificate.verification=true ssl.key.pem=a ssl.key.password=b \
             ssl.certificate.location=/",
            "security.protocol=SASL_PLAINTEXT sasl.mechanisms=PLAIN sasl.username=x sasl.password=y",
            "security.protocol=sasl_ssl ssl.ca.pem=z sasl.mechanism=PLAIN sasl.username=x sasl.password=y",
        ] {
            assert_eq!(errors(good, true), Vec::<String>::new(), "{good}");
        }
        for good in [
            "sasl.mechanism=SCRAM-SHA-256 sasl.username=x sasl.password=y",
            "sasl.mechanism=OAUTHBEARER sasl.oauthbearer.method=OIDC \
             sasl.oauthbearer.client.credentials.client.id=x sasl.oauthbearer.client.credentials.client.secret=y sasl.oauthbearer.token.endpoint.url=https://x.example/token?a=b@c \
             https.ca.location=/",
            "sasl.mechanism=OAUTHBEARER sasl.oauthbearer.method=oidc sasl.oauthbearer.assertion.file=/ \
             sasl.oauthbearer.grant.type=urn:ietf:params:oauth:grant-type:jwt-bearer \
             sasl.oauthbearer.token.endpoint.url=https://x.example/token",
            "sasl.mechanism=OAUTHBEARER sasl.oauthbearer.method=oidc \
             sasl.oauthbearer.metadata.authentication.type=azure_imds sasl.oauthbearer.config=query=x",
        ] {
            let found = errors(&format!("security.protocol=sasl_ssl {good}"), true);
            if TLS {
                assert_eq!(found, Vec::<String>::new(), "{good}");
            } else {
                assert!(found.len() == 1 && found[0].contains("--features tls"), "{found:?}");
            }
        }
        assert_eq!(errors("security.protocol=ssl enable.ssl.certificate.verification=false", false).len(), 0);
    }

    #[test]
    fn what_contradicts_itself_is_refused_all_at_once_and_without_values() {
        let plain = "security.protocol=sasl_plaintext sasl.mechanism=PLAIN sasl.username=hunter2 sasl.password=hunter2";
        let oidc = "security.protocol=sasl_ssl sasl.mechanism=OAUTHBEARER sasl.oauthbearer.method=oidc";
        for (text, wanted) in [
            (
                "ssl.ca.location=/ enable.ssl.certificate.verification=false sasl.password=hunter2",
                &[
                    "enable.ssl.certificate.verification: it has no effect, as security.protocol is not set",
                    "ssl.ca.location: it has no effect, as security.protocol is not set; set that to ssl",
                    "sasl.password: it has no effect, as security.protocol is not set; set that to sasl_ssl",
                    "enable.ssl.certificate.verification: --mode production",
                ][..],
            ),
            (&format!("{plain} sasl.mechanisms=PLAIN"), &["sasl.mechanisms: sasl.mechanism is there too"]),
            (
                "security.protocol=ssl sasl.mechanism=PLAIN https.ca.pem=hunter2",
                &[
                    "sasl.mechanism: it has no effect, as security.protocol is ssl",
                    "https.ca.pem: it has no effect",
                ],
            ),
            ("security.protocol=sasl_ssl", &["sasl.mechanism: wanted one of PLAIN, SCRAM-SHA-256"]),
            ("security.protocol=sasl_ssl sasl.mechanism=hunter2", &["sasl.mechanism: wanted one of PLAIN"]),
            (
                "security.protocol=sasl_ssl sasl.mechanism=GSSAPI",
                &["sasl.mechanism: the bridge is built without"],
            ),
            (
                "security.protocol=sasl_ssl sasl.mechanism=PLAIN sasl.password=",
                &["sasl.username: PLAIN takes it", "sasl.password: PLAIN takes it"],
            ),
            (
                &format!("{plain} sasl.oauthbearer.scope=hunter2 https.ca.location=/"),
                &[
                    "https.ca.location: it has no effect, as sasl.mechanism is PLAIN",
                    "sasl.oauthbearer.scope: it has no effect, as sasl.mechanism is PLAIN",
                ],
            ),
            (
                &format!("{oidc} sasl.username=hunter2"),
                &[
                    "sasl.username: it has no effect, as sasl.mechanism is OAUTHBEARER",
                    "sasl.oauthbearer.token.endpoint.url: sasl.oauthbearer.method=oidc takes it",
                    "sasl.oauthbearer.client.id: sasl.oauthbearer.method=oidc takes it",
                    "sasl.oauthbearer.client.secret: sasl.oauthbearer.method=oidc takes it",
                ],
            ),
            (
                "security.protocol=sasl_ssl sasl.mechanism=OAUTHBEARER https.ca.pem=hunter2",
                &["https.ca.pem: it has no effect", "sasl.oauthbearer.method: wanted oidc"],
            ),
            (
                &format!(
                    "{oidc} sasl.oauthbearer.client.id=x sasl.oauthbearer.client.secret=hunter2 \
                     {UNSECURED}=true {ENDPOINT}=ftp://hunter2"
                ),
                &[
                    "enable.sasl.oauthbearer.unsecure.jwt: sasl.oauthbearer.method is oidc",
                    "sasl.oauthbearer.token.endpoint.url: wanted a URL that starts with https://",
                    "enable.sasl.oauthbearer.unsecure.jwt: --mode production",
                ],
            ),
            (
                &format!(
                    "{oidc} sasl.oauthbearer.client.id=x sasl.oauthbearer.client.secret=y \
                     {ENDPOINT}=https://user:hunter2@idp.example/token"
                ),
                &["sasl.oauthbearer.token.endpoint.url: wanted a URL without a user and a password"],
            ),
            (
                "security.protocol=ssl ssl.key.location=/nonexistent/hunter2 ssl.key.password=hunter2",
                &[
                    "ssl.key.location: it takes ssl.certificate.location or ssl.certificate.pem",
                    "ssl.key.location: its file cannot be read: No such file",
                ],
            ),
            (
                "security.protocol=ssl ssl.keystore.location=/ ssl.ca.location=/ ssl.ca.pem=hunter2",
                &[
                    "ssl.keystore.location: it takes ssl.keystore.password",
                    "ssl.ca.location: ssl.ca.pem is there too",
                ],
            ),
            (
                "security.protocol=ssl ssl.certificate.pem=x",
                &["ssl.certificate.pem: it takes ssl.key.location or ssl.key.pem"],
            ),
            (
                "security.protocol=ssl enable.ssl.certificate.verification=False",
                &["enable.ssl.certificate.verification: --mode production"],
            ),
            (
                "max.in.flight.requests.per.connection=6 linger.ms=1000 reconnect.backoff.ms=1001",
                &[
                    "max.in.flight.requests.per.connection: an idempotent producer takes at most 5",
                    "linger.ms: wanted less than half of breaker_stall, which is 2s",
                    "reconnect.backoff.ms: wanted at most reconnect.backoff.max.ms",
                ],
            ),
            // The protocol is refused on its own.
            ("security.protocol=hunter2 ssl.ca.location=/ sasl.username=x", &[]),
        ] {
            let mut found = errors(text, true);
            found.retain(|error| TLS || !error.contains("--features tls"));
            assert_eq!(found.len(), wanted.len(), "{text}: {found:?}");
            for wanted in wanted {
                assert!(found.iter().any(|error| error.starts_with(wanted)), "{wanted}: {found:?}");
            }
            assert!(!found.iter().any(|error| error.contains("hunter2")), "{found:?}");
        }
    }

    #[test]
    fn later_options_replace_earlier_ones() {
        let text = "security.protocol=ssl security.protocol=sasl_plaintext sasl.mechanism=PLAIN sasl.username=a \
                    sasl.password= sasl.password=b";
        assert_eq!(errors(text, true), Vec::<String>::new());
    }

    #[test]
    fn what_is_left_open_is_worth_a_warning() {
        let oidc = format!(
            "security.protocol=sasl_ssl sasl.mechanism=OAUTHBEARER sasl.oauthbearer.method=oidc \
             {ENDPOINT}=http://idp.example/hunter2"
        );
        for (text, wanted) in [
            ("security.protocol=ssl enable.ssl.certificate.verification=false", "can read and change"),
            ("security.protocol=ssl ssl.endpoint.identification.algorithm=none", "pass for a broker"),
            ("security.protocol=sasl_plaintext sasl.mechanism=PLAIN sasl.password=hunter2", "unencrypted"),
            (&oidc, "secret crosses the network unencrypted"),
        ] {
            let found = warnings(&options(text));
            assert!(found.len() == 1 && found[0].contains(wanted), "{text}: {found:?}");
            assert!(!found[0].contains("hunter2"), "{found:?}");
        }
        for text in [
            "",
            "security.protocol=sasl_ssl sasl.mechanism=PLAIN",
            "security.protocol=sasl_plaintext sasl.mechanism=SCRAM-SHA-256",
            &oidc.replace("http:", "https:"),
            &oidc.replace("idp.example", "127.0.0.1:80"),
        ] {
            assert_eq!(warnings(&options(text)), Vec::<String>::new(), "{text}");
        }
    }
}
