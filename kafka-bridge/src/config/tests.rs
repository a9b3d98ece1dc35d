use super::*;
use crate::server::Listen;
use std::ffi::OsString;

fn with(arguments: &[&str], environment: &[(&str, &str)], file: Option<&str>) -> Result<Config, Vec<String>> {
    // A file for each test: they run side by side.
    let path = std::env::temp_dir().join(format!("bridge-{:?}.toml", std::thread::current().id()));
    let mut all: Vec<OsString> = vec!["kafka-bridge".into()];
    if let Some(text) = file {
        std::fs::write(&path, text).unwrap();
        all.extend(["--config".into(), path.clone().into()]);
    }
    all.extend(arguments.iter().map(OsString::from));
    let look_up =
        |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
    let loaded = load(all, look_up);
    if file.is_some() {
        std::fs::remove_file(&path).unwrap();
    }
    match loaded {
        Ok(loaded) => Ok(loaded.config),
        Err(Failure::Usage(error)) => Err(vec![error.to_string()]),
        Err(Failure::Invalid(errors)) => Err(errors),
    }
}

fn parse(arguments: &[&str]) -> Result<Config, String> {
    with(arguments, &[], None).map_err(|errors| errors.join("\n"))
}

#[test]
fn one_cluster_is_required_and_only_one() {
    assert!(parse(&["--embedded-broker"]).is_ok());
    assert!(parse(&["--bootstrap-servers", "a:9092, b:9092"]).is_ok());
    let none = parse(&[]).unwrap_err();
    assert!(none.contains("--bootstrap-servers") && none.contains("--embedded-broker"), "{none}");
    let optional = parse(&["--embedded-broker", "--required", "false"]).unwrap_err();
    assert!(optional.starts_with("--required false: no cluster is required"), "{optional}");
    let other = "[clusters.eu]\nbootstrap_servers = \"b:1\"\n";
    let file = format!("embedded_broker = true\nrequired = false\n{other}");
    let config = with(&[], &[], Some(&file)).unwrap();
    assert!(!config.default_cluster("").required && config.clusters[0].required);
    with(&[], &[], Some(&format!("{file}required = false\n"))).unwrap_err();
    let both = parse(&["--embedded-broker", "--bootstrap-servers", "a:9092"]).unwrap_err();
    assert!(both.contains("KAFKA_BOOTSTRAP_SERVERS") && both.contains("a:9092"), "{both}");
}

#[test]
fn values_that_cannot_work_are_refused_with_what_was_wanted_wherever_they_are() {
    for (flag, variable, value, wanted) in [
        ("--bootstrap-servers", "KAFKA_BOOTSTRAP_SERVERS", "kafka", "HOST:PORT"),
        ("--bootstrap-servers", "KAFKA_BOOTSTRAP_SERVERS", "kafka:0", "HOST:PORT"),
        ("--bootstrap-servers", "KAFKA_BOOTSTRAP_SERVERS", ":9092", "HOST:PORT"),
        ("--bootstrap-servers", "KAFKA_BOOTSTRAP_SERVERS", "a:9092,", "HOST:PORT"),
        ("--delivery-timeout", "BRIDGE_DELIVERY_TIMEOUT", "5", "5s or 750ms"),
        ("--delivery-timeout", "BRIDGE_DELIVERY_TIMEOUT", "1ms", "100ms to 5m"),
        ("--shutdown-timeout", "BRIDGE_SHUTDOWN_TIMEOUT", "0s", "more than zero"),
        ("--max-body-bytes", "BRIDGE_MAX_BODY_BYTES", "0", "a whole number from 1 to 1073741824, got \"0\""),
        ("--max-record-bytes", "BRIDGE_MAX_RECORD_BYTES", "999", "from 1000 to 1000000000, got \"999\""),
        ("--listen", "BRIDGE_LISTEN", "8080", "wanted ADDRESS:PORT, tls:ADDRESS:PORT or unix:PATH"),
        ("--listen", "BRIDGE_LISTEN", "", "wanted ADDRESS:PORT, tls:ADDRESS:PORT or unix:PATH"),
        ("--listen", "BRIDGE_LISTEN", "127.0.0.1:1,unix:", "wanted unix:PATH"),
        ("--unix-socket-mode", "BRIDGE_UNIX_SOCKET_MODE", "rw", "octal permission bits"),
        ("--unix-socket-mode", "BRIDGE_UNIX_SOCKET_MODE", "1777", "octal permission bits"),
        ("--allowed-topics", "BRIDGE_ALLOWED_TOPICS", "a,b*c", "b*c"),
        ("--tls-client-names", "BRIDGE_TLS_CLIENT_NAMES", "a,*.b", "name of a host or a URI"),
        ("--topics", "BRIDGE_TOPICS", "a,b*", "b*"),
        ("--mode", "BRIDGE_MODE", "prod", "development, production"),
        ("--otlp-endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318", "wanted http://HOST"),
        ("--otlp-endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://", "wanted http://HOST"),
        ("--otlp-endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://h/?a=b", "wanted http://HOST"),
        ("--otlp-endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://h", "wanted http://HOST"),
        ("--otlp-endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:p@h", "without a user"),
        ("--log", "RUST_LOG", "a=b=c", "expected one of"),
    ] {
        let mut arguments = vec![flag, value];
        if flag != "--bootstrap-servers" {
            arguments.push("--embedded-broker");
        }
        let error = parse(&arguments).unwrap_err();
        assert!(error.contains(wanted) && error.contains(flag), "{flag} {value}: {error}");

        let errors = with(&[], &[(variable, value)], None).unwrap_err();
        assert!(errors.len() == 1 && errors[0].starts_with(variable), "{variable} {value}: {errors:?}");
        assert!(errors[0].contains(wanted), "{variable} {value}: {errors:?}");

        let key = flag.trim_start_matches("--").replace('-', "_");
        let errors = with(&[], &[], Some(&format!("{key} = {value:?}"))).unwrap_err();
        let path = format!(".toml: {key}: ");
        assert!(errors.len() == 1 && errors[0].contains(&path), "{key} {value}: {errors:?}");
        assert!(errors[0].contains(wanted), "{key} {value}: {errors:?}");
    }
    let error = parse(&["--embedded-broker", "--queue-kbytes", "8191"]).unwrap_err();
    assert!(error.contains("--max-record-bytes 8388608"), "{error}");
}

/// Every setting of the file, and of a cluster's table, with a value of every wrong type: the error says where, what was
/// wanted and what came, and no word of it is the program's own.
#[test]
fn a_value_of_a_wrong_type_is_told_with_what_was_wanted_and_what_came() {
    use clap::CommandFactory as _;

    let values = ["true", "1.5", "[]", "[1]", "[\"\"]", "[\"a\", \"\"]", "{ a = 1 }", "1979-05-27", "-1"];
    let tables = [
        (Config::command(), ""),
        (ClusterOptions::command(), "[clusters.eu]\nbootstrap_servers = \"b:1\"\n"),
    ];
    for (command, table) in tables {
        let mut lists = Vec::new();
        for argument in command.get_arguments() {
            let key = argument.get_id().as_str();
            if ["config", "librdkafka"].contains(&key) {
                continue;
            }
            let is_list = argument.get_value_delimiter().is_some();
            lists.extend(is_list.then_some(key));
            let is_switch = ["embedded_broker", "required"].contains(&key);
            for value in values.into_iter().filter(|value| !(is_switch && *value == "true")) {
                let setting = format!("{key} = {value}\n");
                let file = match (table, key) {
                    ("", "bootstrap_servers") => setting.clone(),
                    ("", _) => format!("bootstrap_servers = \"a:1\"\n{setting}"),
                    (_, "bootstrap_servers") => {
                        format!("bootstrap_servers = \"a:1\"\n[clusters.eu]\n{setting}")
                    }
                    _ => format!("bootstrap_servers = \"a:1\"\n{table}{setting}"),
                };
                let errors = match with(&[], &[], Some(&file)) {
                    Err(errors) => errors,
                    // The name of a topic or a file can be a number.
                    Ok(_) if value == "-1" => continue,
                    Ok(config) => panic!("{setting}: {config:?}"),
                };
                let place = format!(".toml: {}{key}: ", if table.is_empty() { "" } else { "clusters.eu." });
                let of_key: Vec<&String> = errors.iter().filter(|error| error.contains(&place)).collect();
                // What is at no such path, and what goes with no other setting, is told by its flag.
                if of_key.is_empty() && value == "-1" {
                    continue;
                }
                assert_eq!(of_key.len(), 1, "{setting}: {errors:?}");
                let error = of_key[0];
                // The address of a collector may have a password in it.
                let got = error.contains("got ") || key == "otlp_endpoint" && value == "-1";
                assert!(error.contains("wanted ") && got, "{setting}: {error}");
                for word in [
                    "u32",
                    "u64",
                    "usize",
                    "String",
                    "Vec",
                    "OsStr",
                    "PathBuf",
                    "Err(",
                    "invalid digit",
                    "..=",
                ] {
                    assert!(!error.contains(word), "{setting}: {error}");
                }
                if value == "[]" && (is_list || key == "bootstrap_servers") {
                    assert!(error.contains("wanted at least one string in the array, got none"), "{error}");
                }
            }
        }
        let wanted: &[&str] = if table.is_empty() {
            &["listen", "tls_client_names", "topics", "allowed_topics", "limits_redis_sentinels"]
        } else {
            &["allowed_topics", "topics"]
        };
        assert_eq!(lists, wanted);
    }
    // Variables and flags have no lists of nothing either.
    for (flag, variable) in [
        ("--listen", "BRIDGE_LISTEN"),
        ("--tls-client-names", "BRIDGE_TLS_CLIENT_NAMES"),
        ("--allowed-topics", "BRIDGE_ALLOWED_TOPICS"),
        ("--topics", "BRIDGE_TOPICS"),
    ] {
        let errors = with(&["--embedded-broker"], &[(variable, "")], None).unwrap_err();
        assert!(
            matches!(&errors[..], [error] if error.starts_with(variable) && error.contains("wanted ")),
            "{errors:?}"
        );
        let error = parse(&["--embedded-broker", &format!("{flag}=")]).unwrap_err();
        assert!(error.contains(flag) && error.contains("wanted "), "{error}");
    }
}

#[test]
fn flags_come_before_the_environment_and_that_before_the_file() {
    let file = "max_records = 1\nembedded_broker = true\nallowed_topics = [\"a\", \"b.*\"]\n\
                [librdkafka]\nlinger.ms = 1\n\"client.id\" = \"file\"";
    let variable = [("BRIDGE_MAX_RECORDS", "2")];
    let records = |arguments: &[&str], environment: &[(&str, &str)]| {
        with(arguments, environment, Some(file)).unwrap().http.max_records
    };
    assert_eq!(records(&[], &[]), 1);
    assert_eq!(records(&[], &variable), 2);
    assert_eq!(records(&["--max-records", "3"], &variable), 3);
    // Not even a wrong one is looked at where it does not count.
    assert_eq!(records(&["--max-records", "3"], &[("BRIDGE_MAX_RECORDS", "x")]), 3);

    let config = with(&["--librdkafka", "linger.ms=2"], &[], Some(file)).unwrap();
    assert!(config.kafka.embedded_broker && config.server.reloadable.body_timeout == Duration::from_secs(10));
    assert_eq!(config.kafka.reloadable.allowed_topics, ["a".parse().unwrap(), "b.*".parse().unwrap()]);
    let properties: Vec<_> = config
        .kafka
        .librdkafka
        .iter()
        .map(|property| (property.name.as_str(), property.value.as_str()))
        .collect();
    assert_eq!(properties, [("client.id", "file"), ("linger.ms", "1"), ("linger.ms", "2")]);
    assert!(!format!("{config:?}").contains("\"file\""), "{config:?}");
}

#[test]
fn there_may_be_several_places_to_listen_at() {
    let wanted: Vec<Listen> =
        ["127.0.0.1:8080", "unix:/run/bridge.sock"].iter().map(|text| text.parse().unwrap()).collect();
    let text = "127.0.0.1:8080,unix:/run/bridge.sock";
    let broker = "embedded_broker = true";
    let array = format!("{broker}\nlisten = [\"127.0.0.1:8080\", \"unix:/run/bridge.sock\"]");
    for (arguments, environment, file) in [
        (&["--listen", text][..], &[][..], broker),
        (&["--listen", "127.0.0.1:8080", "--listen", "unix:/run/bridge.sock"], &[], broker),
        (&[], &[("BRIDGE_LISTEN", text)], broker),
        (&[], &[], &array),
    ] {
        assert_eq!(with(arguments, environment, Some(file)).unwrap().server.listen, wanted);
    }
    for twice in ["127.0.0.1:80,127.0.0.1:80", "127.0.0.1:80,tls:127.0.0.1:80", "unix:/a,[::]:0,unix:/a"] {
        let error = parse(&["--embedded-broker", "--listen", twice]).unwrap_err();
        assert!(error.contains("it is there twice"), "{error}");
    }
    assert!(parse(&["--embedded-broker", "--listen", "[::]:0,[::]:0"]).is_ok());
    let long = format!("unix:/{}", "x".repeat(107));
    let error = parse(&["--embedded-broker", "--listen", &long]).unwrap_err();
    assert!(error.contains("at most 107 bytes, got 108"), "{error}");
}

#[test]
fn settings_of_tls_come_together() {
    let certificate = ["--tls-certificate-file", "/c", "--tls-key-file", "/k"];
    let listen = ["--listen", "tls:[::]:8443"];
    for (flags, wanted) in [
        (&[&listen[..]][..], "--listen tls:[::]:8443: takes --tls-certificate-file and --tls-key-file"),
        (&[&listen, &certificate[..2]], "--listen tls:[::]:8443: takes"),
        (&[&certificate], "--tls-certificate-file: no --listen tls:ADDRESS:PORT uses it"),
        (&[&certificate[2..]], "--tls-key-file: no --listen tls:ADDRESS:PORT uses it"),
        (&[&["--tls-client-ca-file", "/a"]], "--tls-client-ca-file: no --listen tls:ADDRESS:PORT uses it"),
        (
            &[&listen, &certificate, &["--tls-client-names", "x"]],
            "--tls-client-names: takes --tls-client-ca-file",
        ),
        // TLS is no proof of who calls.
        (
            &[&listen, &certificate, &["--mode", "production"]],
            "--hop-secret-file, --hop-token-file or --tls-client-ca-file",
        ),
    ] {
        let flags: Vec<&str> = std::iter::once("kafka-bridge").chain(flags.concat()).collect();
        let config = Config::try_parse_from(flags.into_iter().chain(["--bootstrap-servers", "a:1"])).unwrap();
        let errors = config.check().unwrap_err();
        assert!(errors.iter().any(|error| error.contains(wanted)), "{wanted}: {errors:?}");
    }
    let good = [
        &["kafka-bridge"],
        &listen[..],
        &certificate,
        &["--tls-client-ca-file", "/a", "--mode", "production"],
    ];
    let config =
        Config::try_parse_from(good.concat().into_iter().chain(["--bootstrap-servers", "a:1"])).unwrap();
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_its_place_and_without_secrets() {
    let file = "listen = \"x\"\nmax_recrods = 1\nembedded_broker = \"yes\"\nmax_body_bytes = true\nconfig = \"y\"\n\
                hop_secret_file = \"/nonexistent\"\n[librdkafka]\nacks = \"1\"\nlinger.ms = \"hunter2\"\n\
                sasl.pasword = \"hunter2\"";
    let environment = [("BRIDGE_BODY_TIMEOUT", "0s"), ("BRIDGE_MAX_RECORDS", "none")];
    let errors =
        with(&["--librdkafka", "hunter2", "--mode", "production"], &environment, Some(file)).unwrap_err();
    let all = errors.join("\n");
    for wanted in [
        ".toml: listen: wanted ADDRESS:PORT",
        ".toml: max_recrods: there is no such setting",
        ".toml: config: there is no such setting",
        ".toml: embedded_broker: wanted true or false, got \"yes\"",
        ".toml: max_body_bytes: wanted a string or an integer, got a boolean",
        ".toml: librdkafka.acks: the bridge sets it to all",
        ".toml: librdkafka.linger.ms: librdkafka does not take this value",
        ".toml: librdkafka.sasl.pasword: librdkafka has no such option",
        "BRIDGE_BODY_TIMEOUT: wanted more than zero",
        "BRIDGE_MAX_RECORDS: wanted a whole number from 1 to 100000, got \"none\"",
        "--librdkafka wanted NAME=VALUE",
        "--hop-secret-file /nonexistent: No such file",
    ] {
        assert!(all.contains(wanted), "{wanted}:\n{all}");
    }
    assert_eq!(errors.len(), 12, "{all}");
    assert!(!all.contains("hunter2"), "{all}");
    let errors = with(&["--mode", "production", "--queue-kbytes", "1"], &[], None).unwrap_err();
    assert_eq!(errors.len(), 3, "{errors:?}");
}

#[test]
fn clusters_are_tables_of_the_file() {
    let file = "bootstrap_servers = \"a:1\"\n[librdkafka]\nlinger.ms = 1\n[clusters.eu-1]\nbootstrap_servers = \"b:1, c:2\"\n\
                allowed_topics = [\"x\", \"y.*\"]\nrequired = false\nqueue_kbytes = 65536\nspool_max_bytes = 2147483648\nspool_max_age = \"3h\"\n\
                [clusters.eu-1.librdkafka]\n\
                linger.ms = 7\n[clusters.us]\nbootstrap_servers = \"d:1\"";
    let config = with(&[], &[], Some(file)).unwrap();
    let [eu, us] = &config.clusters[..] else { panic!("{config:?}") };
    assert_eq!((eu.name.as_str(), eu.bootstrap_servers.as_str(), eu.required), ("eu-1", "b:1, c:2", false));
    assert_eq!(eu.allowed_topics, ["x".parse().unwrap(), "y.*".parse().unwrap()]);
    assert_eq!((eu.queue_kbytes, eu.queue_records, eu.embedded), (Some(65_536), None, false));
    assert_eq!((eu.librdkafka[0].name.as_str(), eu.librdkafka[0].value.as_str()), ("linger.ms", "7"));
    assert_eq!((eu.spool_max_bytes, eu.spool_max_age), (Some(2 << 30), Some(Duration::from_secs(10_800))));
    // What is said of the default cluster holds for that alone.
    assert!(us.required && us.librdkafka.is_empty() && us.allowed_topics.is_empty(), "{us:?}");
    let default = config.default_cluster("a:1");
    assert!(default.name == "default" && default.required && default.librdkafka.len() == 1, "{default:?}");
}

#[test]
fn a_cluster_cannot_be_called_what_no_directory_can() {
    for (name, wanted) in [
        (".", ": wanted another name"),
        ("..", ": wanted another name"),
        ("lock", ": wanted another name"),
        ("+idempotency", ": wanted a name of 1 to 64"),
        ("a/b", ": wanted a name of 1 to 64"),
    ] {
        let file = format!("bootstrap_servers = \"a:1\"\n[clusters.\"{name}\"]\nbootstrap_servers = \"b:1\"");
        let errors = with(&[], &[], Some(&file)).unwrap_err();
        assert!(matches!(&errors[..], [error] if error.contains(wanted)), "{errors:?}");
    }
    for name in ["...", "locks", ".lock", "-"] {
        let file = format!("bootstrap_servers = \"a:1\"\n[clusters.\"{name}\"]\nbootstrap_servers = \"b:1\"");
        assert_eq!(with(&[], &[], Some(&file)).unwrap().clusters[0].name, name);
    }
}

#[test]
fn each_spool_has_room_for_a_few_files_and_records() {
    let file = "bootstrap_servers = \"a:1\"\nspool_dir = \"/s\"\n[clusters.eu]\nbootstrap_servers = \"b:1\"\n\
                spool_max_bytes = 33554431";
    let errors = with(&[], &[], Some(file)).unwrap_err();
    let [segment, record] = &errors[..] else { panic!("{errors:?}") };
    assert!(
        segment.contains("wanted at most a quarter of clusters.eu.spool_max_bytes 33554431"),
        "{segment}"
    );
    assert!(
        record.contains("clusters.eu.spool_max_bytes 33554431: wanted room for four records"),
        "{record}"
    );
}

#[test]
fn what_is_done_with_a_spool_takes_one_from_wherever_it_is_said() {
    for flags in [
        &["spool", "list"][..],
        &["spool", "check"],
        &["spool", "salvage"],
        &["spool", "drop"],
        &["--ready-when", "spooling"],
    ] {
        let errors = with(flags, &[], Some("bootstrap_servers = \"a:1\"")).unwrap_err();
        let said = flags.join(" ");
        let wanted = format!("{said}: takes --spool-dir, or spool_dir in the file");
        assert_eq!(errors, [wanted]);
        let file = "bootstrap_servers = \"a:1\"\nspool_dir = \"/s\"";
        assert_eq!(with(flags, &[], Some(file)).unwrap().spool.spool_dir, Some("/s".into()));
    }
}

#[test]
fn all_that_is_wrong_with_clusters_is_told_at_once_and_without_secrets() {
    let file = "bootstrap_servers = \"a:1\"\n[clusters]\nx = 1\n[clusters.default]\nbootstrap_servers = \"b:1\"\n\
                [clusters.\"E U\"]\nbootstrap_servers = \"b\"\nrequired = \"yes\"\nqueue_records = 0\n\
                allowed_topics = [\"a*b\"]\nlisten = \"hunter2\"\nlibrdkafka = { acks = \"hunter2\", x = [\"hunter2\"] }\n\
                [clusters.us]\nrequired = false\n[clusters.us.librdkafka]\nsasl.pasword = \"hunter2\"";
    let errors = with(&[], &[], Some(file)).unwrap_err();
    let all = errors.join("\n");
    for wanted in [
        ".toml: clusters.x: wanted a table, got an integer",
        ".toml: clusters.default: wanted another name",
        ".toml: clusters.E U: wanted a name of 1 to 64 of the characters a-z A-Z 0-9 . _ -",
        ".toml: clusters.E U.bootstrap_servers: wanted HOST:PORT",
        ".toml: clusters.E U.required: wanted true or false",
        ".toml: clusters.E U.queue_records: wanted a whole number from 1 to 10000000, got \"0\"",
        ".toml: clusters.E U.allowed_topics: wanted the name of a topic",
        ".toml: clusters.E U.listen: a cluster has no such setting",
        ".toml: clusters.E U.librdkafka.acks: the bridge sets it to all",
        ".toml: clusters.E U.librdkafka.x: wanted a string or an integer, got an array",
        ".toml: clusters.us.bootstrap_servers: wanted HOST:PORT",
        ".toml: clusters.us.librdkafka.sasl.pasword: librdkafka has no such option",
    ] {
        assert!(all.contains(wanted), "{wanted}:\n{all}");
    }
    assert_eq!(errors.len(), 12, "{all}");
    assert!(!all.contains("hunter2"), "{all}");
    let errors = with(&[], &[], Some("bootstrap_servers = \"a:1\"\nclusters = 1")).unwrap_err();
    assert!(
        errors.len() == 1 && errors[0].ends_with("clusters: wanted a table, got an integer"),
        "{errors:?}"
    );

    let file = "bootstrap_servers = \"a:1\"\nallowed_topics = [\"a\"]\n[clusters.us]\nbootstrap_servers = \"b:1\"\n\
                queue_kbytes = 1";
    let errors = with(&["--topics", "a,b"], &[], Some(file)).unwrap_err();
    let all = errors.join("\n");
    assert!(all.contains("topics: b is not among allowed_topics"), "{all}");
    assert!(errors.len() == 3 && all.contains("clusters.us.allowed_topics: wanted, since"), "{all}");
    assert!(all.contains("clusters.us.queue_kbytes 1: wanted room"), "{all}");
}

#[test]
fn the_example_in_the_documentation_works() {
    let documentation = include_str!("../../../docs/bridge.md");
    let (_, settings) = documentation.split_once("\n## Settings\n").unwrap();
    let (_, rest) = settings.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let directory = std::env::temp_dir().join(format!("bridge-secrets-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    for name in ["hop", "sasl-password"] {
        std::fs::write(directory.join(name), "0123456789abcdef0123456789abcdef\n").unwrap();
    }
    let loaded = with(&[], &[], Some(&example.replace("/run/secrets", directory.to_str().unwrap())));
    std::fs::remove_dir_all(&directory).unwrap();
    let config = loaded.unwrap();
    assert_eq!((config.mode, config.kafka.librdkafka.len()), (Mode::Production, 6));
    for cluster in std::iter::once(&config.default_cluster("")).chain(&config.clusters) {
        crate::producer::try_settings(&config.kafka, cluster).unwrap();
    }
}

#[test]
fn records_are_not_kept_waiting_for_longer_than_the_delivery_timeout() {
    let stall = |flags: &[&str]| with(flags, &[], None).unwrap().kafka.breaker_stall();
    let embedded = "--embedded-broker";
    assert_eq!(stall(&[embedded]), Duration::from_secs(2));
    assert_eq!(stall(&[embedded, "--delivery-timeout", "1s"]), Duration::from_millis(400));
    assert_eq!(stall(&[embedded, "--breaker-stall", "4s"]), Duration::from_secs(4));
    let errors = with(&[embedded, "--breaker-stall", "5s"], &[], None).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].starts_with("--breaker-stall 5s: wanted less than --delivery-timeout 5s"),
        "{errors:?}"
    );
}

#[test]
fn a_journal_is_not_put_where_spools_are() {
    let with_dirs = |journal: &str| {
        with(&["--embedded-broker", "--spool-dir", "/data", "--idempotency-dir", journal], &[], None)
    };
    for journal in ["/data", "/data/", "/data/default", "/data/idempotency", "/data/default/x"] {
        let errors = with_dirs(journal).unwrap_err();
        assert!(
            errors.iter().any(|error| error.starts_with("--idempotency-dir: wanted ")),
            "{journal}: {errors:?}"
        );
    }
    for journal in ["/data/+idempotency", "/database", "/journal"] {
        assert!(with_dirs(journal).is_ok(), "{journal}");
    }
}
