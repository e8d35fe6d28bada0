//! A stream that ends when the other side talks too much.
//!
//! A server that announces a value of 512 MB, by malice or because something else listens at its address, would be read
//! to the end by the client, in the background, also after whoever asked has given up. So the bytes between two
//! questions are counted.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that may come between two questions. The largest answer is a thousand ids, some 30 KB; fifty of them may be
/// under way at once.
pub const MOST: usize = 4 << 20;

/// See the module.
pub(super) struct Bounded<S> {
    inner: S,
    read: usize,
}

impl<S> Bounded<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, read: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if matches!(polled, Poll::Ready(Ok(()))) {
            let came = buf.filled().len().saturating_sub(before);
            self.read = self.read.saturating_add(came);
            if self.read > MOST {
                let why = format!("an answer of more than {} MiB", MOST >> 20);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.read = 0;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_question_begins_the_count_anew_and_too_much_for_one_ends_the_stream() {
        let (ours, mut theirs) = tokio::io::duplex(2 * MOST);
        let mut ours = Bounded::new(ours);
        let mut buffer = vec![0; MOST];
        for _ in 0..3 {
            ours.write_all(b"?").await.unwrap();
            theirs.write_all(&vec![b'x'; MOST]).await.unwrap();
            ours.read_exact(&mut buffer).await.unwrap();
        }
        theirs.write_all(b"x").await.unwrap();
        let error = ours.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    }
}
