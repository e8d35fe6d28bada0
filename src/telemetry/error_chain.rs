//! An error with all its causes, in one line.

use std::{error::Error, fmt};

/// Shows an error and its causes, joined by `: `; each layer says only what it was doing, so the chain reads as a sentence.
///
/// A cause whose words the line ends with already is left out: some libraries repeat them.
#[derive(Clone, Copy)]
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            let words = cause.to_string();
            if !last.ends_with(&words) {
                write!(f, ": {words}")?;
                last = words;
            }
            next = cause.source();
        }
        Ok(())
    }
}

impl fmt::Debug for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("failed to read the listing")]
    struct Outer(#[source] Middle);
    #[derive(Debug, thiserror::Error)]
    #[error("failed to connect: refused")]
    struct Middle(#[source] Inner);
    #[derive(Debug, thiserror::Error)]
    #[error("refused")]
    struct Inner;

    #[test]
    fn the_chain_is_one_sentence_without_repetition() {
        let error = Outer(Middle(Inner));
        assert_eq!(
            ErrorChain(&error).to_string(),
            "failed to read the listing: failed to connect: refused"
        );
    }
}
