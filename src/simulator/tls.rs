//! An authority of our own, made new at each start, and a certificate for loopback.
//!
//! Its key never leaves the process; only the authority's certificate is written, as `ca.pem`, for clients that are to
//! trust it (`platforms.X.ca_file`).

use super::SimulatorError;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Makes both, writes `ca.pem` into `directory` and says where it is.
pub(super) fn make(directory: &Path) -> Result<(ServerConfig, PathBuf), SimulatorError> {
    let failed =
        |what: &str, why: &dyn std::fmt::Display| SimulatorError::Certificates(format!("{what}: {why}"));
    let (pem, config) = certificates().map_err(|bad| failed("rcgen", &bad))?;
    let config = config.map_err(|bad| failed("rustls", &bad))?;
    let file = directory.join("ca.pem");
    std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::write(&file, pem))
        .map_err(|bad| failed(&file.display().to_string(), &bad))?;
    Ok((config, file))
}

type Made = (String, Result<ServerConfig, rustls::Error>);

fn certificates() -> Result<Made, rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority
        .distinguished_name
        .push(DnType::CommonName, "zaikoban simulator");
    let authority_key = KeyPair::generate()?;
    let pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let mut door = CertificateParams::new(names)?;
    door.distinguished_name.push(DnType::CommonName, "localhost");
    door.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = door.signed_by(&key, &issuer)?;

    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|config| {
            config
                .with_no_client_auth()
                .with_single_cert(vec![certificate.der().clone()], key)
        });
    Ok((pem, config))
}
