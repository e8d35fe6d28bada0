//! How a sealed value looks: `zk1.KEY.CHECK.PLATFORM/FIELD.BASE64`, the last being nonce, ciphertext and tag.

use super::ring::NamedKey;
use super::{Row, VaultError};
use aes_gcm::aead::{Aead as _, Generate as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use secrecy::zeroize::Zeroize as _;
use secrecy::{ExposeSecret as _, SecretString};

/// The version of this form.
const FORM: &str = "zk1";
/// Bytes of a nonce: 96 bits.
const NONCE_BYTES: usize = 12;

/// Why a value does not open.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unopened {
    KeyMissing { key_id: String },
    WrongKey { key_id: String },
    Moved { sealed_for: String },
    Damaged,
}

/// What is authenticated beside the value. No part can hold a line end, so that no two rows give the same bytes.
fn bound_to(row: Row<'_>, key_id: &str) -> Vec<u8> {
    format!("zaikoban sealed v1\n{}\n{}\n{key_id}\n", row.platform, row.field).into_bytes()
}

pub(super) fn seal(key: &NamedKey, row: Row<'_>, value: &str) -> Result<String, VaultError> {
    let cipher = Aes256Gcm::new(key.key.expose_secret().into());
    let nonce: Nonce<_> = Nonce::try_generate().map_err(|_no_more_is_known| VaultError::NoRandomness)?;
    let payload = Payload {
        msg: value.as_bytes(),
        aad: &bound_to(row, &key.id),
    };
    let mut bytes = nonce.to_vec();
    // Fails only for values of more than 64 GiB.
    let sealed = cipher
        .encrypt(&nonce, payload)
        .map_err(|_too_large| VaultError::Damaged { row: row.to_string() })?;
    bytes.extend_from_slice(&sealed);
    let (id, check) = (&key.id, &key.check);
    Ok(format!(
        "{FORM}.{id}.{check}.{row}.{}",
        STANDARD_NO_PAD.encode(bytes)
    ))
}

pub(super) fn open(keys: &[NamedKey], row: Row<'_>, sealed: &str) -> Result<SecretString, Unopened> {
    let mut parts = sealed.splitn(5, '.');
    let mut part = || parts.next().ok_or(Unopened::Damaged);
    let (form, key_id, check, sealed_for, encoded) = (part()?, part()?, part()?, part()?, part()?);
    let bytes = STANDARD_NO_PAD
        .decode(encoded)
        .map_err(|_no_base64| Unopened::Damaged)?;
    let (nonce, ciphertext) = bytes.split_at_checked(NONCE_BYTES).ok_or(Unopened::Damaged)?;
    if form != FORM {
        return Err(Unopened::Damaged);
    }
    if sealed_for != row.to_string() {
        return Err(Unopened::Moved {
            sealed_for: sealed_for.chars().take(80).collect(),
        });
    }
    let key_id = || key_id.chars().take(32).collect::<String>();
    let key = keys
        .iter()
        .find(|key| key.id == key_id())
        .ok_or_else(|| Unopened::KeyMissing { key_id: key_id() })?;
    if key.check != check {
        return Err(Unopened::WrongKey { key_id: key_id() });
    }
    let cipher = Aes256Gcm::new(key.key.expose_secret().into());
    let nonce = Nonce::try_from(nonce).map_err(|_another_length| Unopened::Damaged)?;
    let payload = Payload {
        msg: ciphertext,
        aad: &bound_to(row, &key.id),
    };
    let plain = cipher
        .decrypt(&nonce, payload)
        .map_err(|_not_authentic| Unopened::Damaged)?;
    match String::from_utf8(plain) {
        Ok(text) => Ok(text.into()),
        Err(other) => {
            other.into_bytes().zeroize();
            Err(Unopened::Damaged)
        }
    }
}
