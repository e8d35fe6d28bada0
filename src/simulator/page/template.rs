//! A text with holes, cut once, filled often.

use super::hole::{Hole, Shown};

/// A template that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::simulator) enum BadTemplate {
    /// A hole that nobody fills.
    #[error("the page template names an unknown hole `{0}`")]
    UnknownHole(String),
    /// A hole that does not end.
    #[error("a hole of the page template is not closed: `{0}`")]
    Open(String),
}

enum Piece {
    Text(Box<str>),
    Hole(Hole),
}

/// See the module's head.
pub(super) struct Template {
    pieces: Vec<Piece>,
    plain_bytes: usize,
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
            push_text(&mut pieces, before);
            pieces.push(Piece::Hole(hole));
            rest = behind;
        }
        push_text(&mut pieces, rest);
        let holes = pieces.iter().filter(|p| matches!(p, Piece::Hole(_))).count() * 24;
        let plain_bytes = text.len() + holes;
        Ok(Self { pieces, plain_bytes })
    }

    /// The page as it is.
    pub(super) fn plain(&self, shown: &Shown<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.plain_bytes + 1_024);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Hole(hole) => hole.fill(shown, &mut out),
            }
        }
        out
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.into()));
    }
}
