//! Keys and certificates, made with `openssl`.

use std::path::Path;
use std::process::{Command, Stdio};

pub fn succeed(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn openssl(directory: &Path) -> Command {
    let mut command = Command::new("openssl");
    command.current_dir(directory);
    command
}

/// A key and a certificate that it signs itself: `NAME.key` and `NAME.crt`.
pub fn authority(directory: &Path, name: &str) {
    let (key, certificate, subject) = (format!("{name}.key"), format!("{name}.crt"), format!("/CN={name}"));
    succeed(openssl(directory).args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]).args([
        "-keyout",
        &key,
        "-out",
        &certificate,
        "-subj",
        &subject,
    ]));
}

/// A key and a certificate that the authority `ca` has signed, for `localhost`. With fewer than no days it is over.
pub fn signed(directory: &Path, name: &str, days: i32) {
    let (key, request, certificate) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.crt"));
    let subject = format!("/CN={name}");
    succeed(
        openssl(directory)
            .args(["req", "-newkey", "rsa:2048", "-nodes", "-keyout", &key, "-out", &request])
            .args(["-subj", &subject]),
    );
    std::fs::write(directory.join("extensions"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
        .unwrap();
    succeed(
        openssl(directory)
            .args(["x509", "-req", "-in", &request, "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"])
            .args(["-extfile", "extensions", "-days", &days.to_string(), "-out", &certificate]),
    );
}

/// An RSA key to sign tokens with: `NAME.key`. Returns its modulus, big-endian.
pub fn signing_key(directory: &Path, name: &str) -> Vec<u8> {
    let key = format!("{name}.key");
    succeed(openssl(directory).args(["genrsa", "-out", &key, "2048"]));
    let text = succeed(openssl(directory).args(["rsa", "-in", &key, "-noout", "-modulus"]));
    let text = String::from_utf8(text).unwrap();
    let digits = text.trim().strip_prefix("Modulus=").unwrap();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// The signature of RS256 (RFC 7518, section 3.3).
pub fn sign(directory: &Path, name: &str, text: &str) -> Vec<u8> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let file = directory.join(format!("to-be-signed-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    std::fs::write(&file, text).unwrap();
    let key = format!("{name}.key");
    let signature = succeed(openssl(directory).args(["dgst", "-sha256", "-sign", &key]).arg(&file));
    std::fs::remove_file(&file).unwrap();
    signature
}
