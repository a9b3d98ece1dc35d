//! Where the parts under test are, and what to do when one is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The root of the project.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_owned()
    })
}

/// The filter as it ships.
pub fn wasm() -> PathBuf {
    existing("target/wicketgate.wasm", "make build")
}

/// The bridge as it ships.
pub fn bridge() -> PathBuf {
    existing("target/release/kafka-bridge", "make build")
}

/// The Envoy that the tests pin.
pub fn envoy() -> PathBuf {
    existing("target/tools/envoy-1.40.0/envoy", "scripts/fetch-envoy.sh")
}

/// The folder of Kafka's jars, in the version that `scripts/kafka/pom.xml` names.
pub fn kafka_libs() -> PathBuf {
    let version = version("scripts/kafka/pom.xml", "<kafka.version>", "</kafka.version>");
    existing(&format!("target/tools/kafka-{version}/libs"), "scripts/fetch-kafka.sh")
}

/// The folder of CloudEvents' SDK for Python, in the version that `scripts/cloudevents-requirements.txt` names.
pub fn cloudevents_sdk() -> PathBuf {
    let version = version("scripts/cloudevents-requirements.txt", "\ncloudevents==", " ");
    existing(&format!("target/tools/cloudevents-{version}"), "scripts/fetch-cloudevents.sh")
}

/// The JSON Schema that the CloudEvents project publishes, in the version that `scripts/fetch-cloudevents-schema.sh`
/// names.
pub fn cloudevents_schema() -> PathBuf {
    let script = "scripts/fetch-cloudevents-schema.sh";
    let version = version(script, "\nversion=", "\n");
    existing(&format!("target/tools/cloudevents-schema-{version}.json"), script)
}

/// What stands between two texts in a file of the project.
fn version(file: &str, before: &str, after: &str) -> String {
    let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let version =
        text.split_once(before).and_then(|(_, rest)| rest.split_once(after)).map(|(version, _)| version);
    version.unwrap_or_else(|| panic!("{file} has no version after {before:?}")).to_owned()
}

/// A folder for what this test process writes. Folders of processes that are gone are removed first; the last
/// run's logs thus stay until the next run.
pub fn run_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let runs = root().join("target/e2e");
        for entry in fs::read_dir(&runs).into_iter().flatten().flatten() {
            let pid = entry.file_name().to_string_lossy().into_owned();
            if !Path::new("/proc").join(pid).exists() {
                // Another test process may be removing it too.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let dir = runs.join(std::process::id().to_string());
        fs::create_dir_all(&dir).expect("target/e2e is writable");
        dir
    })
}

fn existing(path: &str, mend: &str) -> PathBuf {
    let absolute = root().join(path);
    assert!(
        absolute.exists(),
        "{path} is missing, and this test needs it. Run `{mend}` first, or `make test`."
    );
    absolute
}
