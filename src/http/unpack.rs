//! Unpacking a body within bounds.
//!
//! A gzip bomb of 10 KB becomes 10 MB, and reqwest would unpack it to the end. Here the unpacked bytes are bounded by a
//! number and by their ratio to what came, and the decoder stops at the bound. The whole stream must be there with its
//! checksum: a cut one is [`HttpError::Cut`].

use super::{client::Limits, error::HttpError};
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use std::io::Read;

/// The ratio says nothing of tiny bodies: so many bytes are always allowed.
const ALWAYS: usize = 64 * 1024;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packed {
    No,
    Gzip,
}

impl Packed {
    /// What the headers say; `Err` names an encoding that was not asked for, or one put over another.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, String> {
        let mut packed = Self::No;
        for value in headers.get_all(CONTENT_ENCODING) {
            let text = String::from_utf8_lossy(value.as_bytes())
                .trim()
                .to_ascii_lowercase();
            packed = match (packed, text.as_str()) {
                (packed, "" | "identity") => packed,
                (Self::No, "gzip" | "x-gzip") => Self::Gzip,
                _ => return Err(text.chars().take(40).collect()),
            };
        }
        Ok(packed)
    }
}

/// Unpacks a gzip body of any number of members.
pub(super) fn gunzip(place: &str, body: Bytes, limits: &Limits) -> Result<Bytes, HttpError> {
    // A 204 or an empty answer may carry the header without a stream.
    if body.is_empty() {
        return Ok(body);
    }
    let by_ratio = body.len().saturating_mul(limits.unpack_ratio).max(ALWAYS);
    let (limit_bytes, what) = if by_ratio < limits.body_bytes {
        (by_ratio, "after unpacking, which is too many times what came")
    } else {
        (limits.body_bytes, "after unpacking")
    };
    // The last four bytes say the unpacked length; a hint that may lie, so bounded.
    let hint = body
        .last_chunk::<4>()
        .map_or(0, |tail| usize::try_from(u32::from_le_bytes(*tail)).unwrap_or(0));
    let mut whole = Vec::with_capacity(hint.min(limit_bytes).saturating_add(1));
    let bound = u64::try_from(limit_bytes).unwrap_or(u64::MAX).saturating_add(1);
    let mut decoder = MultiGzDecoder::new(&*body).take(bound);
    if let Err(error) = decoder.read_to_end(&mut whole) {
        let detail = format!("its gzip stream is cut or damaged: {error}");
        return Err(HttpError::Cut {
            place: place.to_owned(),
            received_bytes: body.len(),
            detail,
        });
    }
    if whole.len() > limit_bytes {
        return Err(HttpError::TooLarge {
            place: place.to_owned(),
            limit_bytes,
            what,
        });
    }
    Ok(whole.into())
}
