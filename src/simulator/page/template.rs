//! A text with holes, cut once, filled often, plain or as gzip.

use super::hole::{Hole, Shown};
use flate2::{Compress, Compression, Crc, FlushCompress};

/// A text at least this long is worth a deflate block of its own; below, the block's head and the lost look-back cost
/// more than storing saves.
const WORTH_DEFLATING: usize = 192;
/// The longest stored block that deflate knows.
const STORED_MOST: usize = 65_535;
pub(super) const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// An empty final block with fixed codes.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

/// A template that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::simulator) enum BadTemplate {
    /// A hole that nobody fills.
    #[error("the page template names an unknown hole `{0}`")]
    UnknownHole(String),
    /// A hole that does not end.
    #[error("a hole of the page template is not closed: `{0}`")]
    Open(String),
    /// The compressor gave up.
    #[error("a text of the page template cannot be compressed")]
    Compress(#[from] flate2::CompressError),
}

enum Piece {
    Short(Box<str>),
    Long { text: Box<str>, deflated: Box<[u8]> },
    Hole(Hole),
}

/// See the module's head.
pub(super) struct Template {
    pieces: Vec<Piece>,
    plain_bytes: usize,
    gzip_bytes: usize,
}

impl Template {
    /// Cuts `text` at its holes (`{{name}}`).
    ///
    /// # Errors
    /// When a hole is not closed or has no known name.
    pub(super) fn cut(text: &str) -> Result<Self, BadTemplate> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let short = || after.chars().take(40).collect::<String>();
            let (name, behind) = after.split_once("}}").ok_or_else(|| BadTemplate::Open(short()))?;
            let hole = Hole::named(name).ok_or_else(|| BadTemplate::UnknownHole(short()))?;
            push_text(&mut pieces, before)?;
            pieces.push(Piece::Hole(hole));
            rest = behind;
        }
        push_text(&mut pieces, rest)?;
        let holes = pieces.iter().filter(|p| matches!(p, Piece::Hole(_))).count() * 24;
        let plain_bytes = text.len() + holes;
        let gzip_bytes = holes
            + pieces
                .iter()
                .map(|p| match p {
                    Piece::Short(text) => text.len() + 8,
                    Piece::Long { deflated, .. } => deflated.len(),
                    Piece::Hole(_) => 0,
                })
                .sum::<usize>();
        Ok(Self {
            pieces,
            plain_bytes,
            gzip_bytes,
        })
    }

    /// The page as it is.
    pub(super) fn plain(&self, shown: &Shown<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.plain_bytes + 1_024);
        for piece in &self.pieces {
            match piece {
                Piece::Short(text) | Piece::Long { text, .. } => out.extend_from_slice(text.as_bytes()),
                Piece::Hole(hole) => hole.fill(shown, &mut out),
            }
        }
        out
    }

    /// The page as one gzip member.
    pub(super) fn gzip(&self, shown: &Shown<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.gzip_bytes + 1_024);
        let mut crc = Crc::new();
        let mut raw = Vec::with_capacity(4_096);
        out.extend_from_slice(&GZIP_HEAD);
        for piece in &self.pieces {
            match piece {
                Piece::Short(text) => raw.extend_from_slice(text.as_bytes()),
                Piece::Hole(hole) => hole.fill(shown, &mut raw),
                Piece::Long { text, deflated } => {
                    store(&mut out, &mut crc, &mut raw);
                    crc.update(text.as_bytes());
                    out.extend_from_slice(deflated);
                }
            }
        }
        store(&mut out, &mut crc, &mut raw);
        end_gzip(&mut out, &crc);
        out
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) -> Result<(), BadTemplate> {
    if text.is_empty() {
        return Ok(());
    }
    pieces.push(if text.len() < WORTH_DEFLATING {
        Piece::Short(text.into())
    } else {
        Piece::Long {
            text: text.into(),
            deflated: deflate(text.as_bytes())?.into(),
        }
    });
    Ok(())
}

/// `text` as deflate blocks that end on a byte and can stand anywhere in a stream.
pub(super) fn deflate(text: &[u8]) -> Result<Vec<u8>, flate2::CompressError> {
    let mut compress = Compress::new(Compression::new(6), false);
    // A stored block costs five bytes per 64 KiB, so that this is always enough for one call.
    let mut out = Vec::with_capacity(text.len() + text.len() / 1_000 + 256);
    compress.compress_vec(text, &mut out, FlushCompress::Full)?;
    Ok(out)
}

/// Ends a gzip member whose blocks all stand in `out`.
pub(super) fn end_gzip(out: &mut Vec<u8>, crc: &Crc) {
    out.extend_from_slice(&LAST_BLOCK);
    out.extend_from_slice(&crc.sum().to_le_bytes());
    out.extend_from_slice(&crc.amount().to_le_bytes());
}

/// Moves `raw` into `out` as stored blocks. Only right where `out` ends on a byte, as it always does here.
fn store(out: &mut Vec<u8>, crc: &mut Crc, raw: &mut Vec<u8>) {
    for block in raw.chunks(STORED_MOST) {
        let len = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(0);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(block);
    }
    crc.update(raw);
    raw.clear();
}
