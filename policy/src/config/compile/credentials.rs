//! Passwords and client certificates of consumers.

use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

use super::super::document::{self, Password, Secret};
use super::super::error::{Mistakes, quoted};
use super::is_plain_text;
use crate::auth::{self, Certificates, MAX_PASSWORDS, Users};
use crate::certificate::{Fingerprint, UriPattern};
use crate::password::Stored;

/// The user's name is the consumer's.
pub(super) fn compile_passwords(
    consumer: &document::Consumer,
    compiled: &Rc<auth::Consumer>,
    path: &impl Fn() -> String,
    users: &mut Users,
    mistakes: &mut Mistakes,
) {
    let passwords = &consumer.passwords;
    if passwords.is_empty() {
        return;
    }
    if passwords.len() > MAX_PASSWORDS {
        let wanted = format!("at most {MAX_PASSWORDS} passwords, one and its successor");
        mistakes.add(format!("{}.passwords", path()), wanted, passwords.len().to_string());
    }
    if consumer.name.contains(':') {
        let wanted = "a name without a colon, which ends the name of a user (RFC 7617, section 2)";
        mistakes.add(format!("{}.name", path()), wanted, quoted(&consumer.name));
    }
    let mut stored = Vec::with_capacity(passwords.len());
    for (index, Password { hash: Secret(hash) }) in passwords.iter().enumerate() {
        match Stored::parse(hash) {
            Ok(password) => stored.push(password),
            Err(wanted) => {
                let got = format!("{} bytes (not shown)", hash.len());
                mistakes.add(format!("{}.passwords[{index}].hash", path()), wanted, got);
            }
        }
    }
    // A name that is taken is reported with the consumers' names.
    users.insert(&consumer.name, stored, Rc::clone(compiled));
}

pub(super) fn compile_certificates(
    consumer: &document::Consumer,
    compiled: &Rc<auth::Consumer>,
    path: &impl Fn() -> String,
    certificates: &mut Certificates,
    mistakes: &mut Mistakes,
) {
    for (index, certificate) in consumer.certificates.iter().enumerate() {
        let path = format!("{}.certificates[{index}]", path());
        let document::Certificate { uri, dns, subject, sha256 } = certificate;
        match (uri, dns, subject, sha256) {
            (Some(uri), None, None, None) => compile_uri(uri, compiled, &path, certificates, mistakes),
            (None, Some(name), None, None) => {
                let path = format!("{path}.dns");
                let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
                if name.is_empty() || !name.bytes().all(legal) {
                    mistakes.add(
                        path.as_str(),
                        "a DNS name, exactly as the certificate has it",
                        quoted(name),
                    );
                }
                own(&mut certificates.dns, name.to_ascii_lowercase(), compiled, path, mistakes);
            }
            (None, None, Some(subject), None) => {
                let path = format!("{path}.subject");
                if subject.is_empty() || !is_plain_text(subject) {
                    mistakes.add(path.as_str(), "a subject such as CN=client,O=Example", quoted(subject));
                }
                own(&mut certificates.subjects, subject.clone(), compiled, path, mistakes);
            }
            (None, None, None, Some(hex)) => {
                let path = format!("{path}.sha256");
                match Fingerprint::from_hex(hex) {
                    Some(sha256) => own(&mut certificates.fingerprints, sha256, compiled, path, mistakes),
                    None => mistakes.add(path, "64 hexadecimal digits, with or without colons", quoted(hex)),
                }
            }
            (None, None, None, None) => {
                mistakes.add(path, "one of uri, dns, subject and sha256", "none of them");
            }
            _ => mistakes.add(path, "one of uri, dns, subject and sha256", "several of them"),
        }
    }
}

fn compile_uri(
    uri: &str,
    compiled: &Rc<auth::Consumer>,
    path: &str,
    certificates: &mut Certificates,
    mistakes: &mut Mistakes,
) {
    let path = format!("{path}.uri");
    if !uri.contains('*') {
        if uri.is_empty() || !uri.bytes().all(|byte| byte.is_ascii_graphic()) {
            mistakes.add(path.as_str(), "a URI, exactly as the certificate has it", quoted(uri));
        }
        return own(&mut certificates.uris, uri.to_owned(), compiled, path, mistakes);
    }
    match UriPattern::parse(uri) {
        Ok(pattern) => {
            let overlaps = |other: &UriPattern| other.overlaps(&pattern);
            match certificates.patterns.iter().find(|(other, _)| overlaps(other)) {
                Some((_, owner)) if owner.name != compiled.name => {
                    let got =
                        format!("{}, which overlaps one of consumer {}", quoted(uri), quoted(&owner.name));
                    mistakes.add(path, "a pattern of its own", got);
                }
                _ => certificates.patterns.push((pattern, Rc::clone(compiled))),
            }
        }
        Err(wanted) => mistakes.add(path, wanted, quoted(uri)),
    }
}

fn own<K: Eq + Hash>(
    owners: &mut HashMap<K, Rc<auth::Consumer>>,
    key: K,
    consumer: &Rc<auth::Consumer>,
    path: String,
    mistakes: &mut Mistakes,
) {
    if let Some(owner) = owners.insert(key, Rc::clone(consumer)) {
        let got = format!("one that consumer {} has", quoted(&owner.name));
        mistakes.add(path, "a certificate of its own", got);
    }
}
