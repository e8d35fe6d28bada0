//! What is kept of an answer's body: bounded, and without our own secrets.

use bytes::Bytes;
use memchr::memmem;
use secrecy::{ExposeSecret, SecretString};

/// The longest error body that is kept, in bytes.
const BODY_KEPT: usize = 16 * 1024;
/// A shorter text than this is no token worth hiding, and could stand in any answer.
const SHORTEST_SECRET: usize = 12;

/// `body` with every occurrence of `secret` made unreadable. Platforms are known to repeat what they were sent.
pub(super) fn without(body: Bytes, secret: &SecretString) -> Bytes {
    let secret = secret.expose_secret().as_bytes();
    if secret.len() < SHORTEST_SECRET || memmem::find(&body, secret).is_none() {
        return body;
    }
    let mut clean = Vec::with_capacity(body.len());
    let mut rest: &[u8] = &body;
    while let Some(at) = memmem::find(rest, secret) {
        let (before, after) = rest.split_at(at);
        clean.extend_from_slice(before);
        clean.extend_from_slice(b"***");
        rest = after.get(secret.len()..).unwrap_or_default();
    }
    clean.extend_from_slice(rest);
    clean.into()
}

/// `text` cut to the length that is kept, at a character's end.
pub(super) fn cut(text: &str) -> &str {
    let fits = (0..=BODY_KEPT).rev().find_map(|end| text.get(..end));
    if text.len() <= BODY_KEPT {
        text
    } else {
        fits.unwrap_or_default()
    }
}

/// A body as it is kept beside an error: whole up to 16 KiB, as text.
pub(super) fn kept(body: &[u8]) -> Option<Box<str>> {
    let head = body.get(..BODY_KEPT.min(body.len())).unwrap_or_default();
    let text = String::from_utf8_lossy(head);
    (!text.is_empty()).then(|| cut(&text).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_body_is_cut_between_characters() {
        let long = "在".repeat(10_000);
        let kept = kept(long.as_bytes()).unwrap();
        assert!(kept.len() <= BODY_KEPT + 3, "{}", kept.len());
        assert!(kept.trim_end_matches('\u{fffd}').chars().all(|c| c == '在'));
    }

    #[test]
    fn a_secret_that_is_repeated_is_hidden_everywhere() {
        let secret = SecretString::from("msp_canary-canary");
        let body = Bytes::from_static(b"msp_canary-canary x msp_canary-canary");
        assert_eq!(without(body, &secret), Bytes::from_static(b"*** x ***"));
    }
}
