//! Certificates for TLS between the parts, made by an authority that lasts as long as a test.

use std::path::{Path, PathBuf};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

/// An authority, and where its certificate is.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: PathBuf,
    /// Its certificate (PEM).
    pub certificate: PathBuf,
}

/// A certificate and its key (PEM).
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

impl Authority {
    /// Makes an authority of this name, whose files are in `folder`.
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.self_signed(&key).expect("an authority can be made");
        let path = folder.join(format!("{name}.pem"));
        std::fs::write(&path, certificate.pem()).expect("the folder is writable");
        Self { issuer: Issuer::new(params, key), folder: folder.to_owned(), certificate: path }
    }

    /// Issues a certificate for servers and clients with these subject alternative names: addresses, URIs, or names
    /// of hosts.
    pub fn issue(&self, file: &str, names: &[&str]) -> Identity {
        self.issue_until(file, names, 2999)
    }

    /// The same, good up to the start of a year.
    pub fn issue_until(&self, file: &str, names: &[&str], year: i32) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, file);
        params.subject_alt_names = names.iter().map(|name| alternative_name(name)).collect();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate can be issued");
        let identity = Identity {
            certificate: self.folder.join(format!("{file}.pem")),
            key: self.folder.join(format!("{file}.key")),
        };
        std::fs::write(&identity.certificate, certificate.pem()).expect("the folder is writable");
        std::fs::write(&identity.key, key.serialize_pem()).expect("the folder is writable");
        identity
    }
}

fn alternative_name(name: &str) -> SanType {
    let text = Ia5String::try_from(name).expect("names are ASCII");
    match name.parse() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) if name.contains("://") => SanType::URI(text),
        Err(_) => SanType::DnsName(text),
    }
}
