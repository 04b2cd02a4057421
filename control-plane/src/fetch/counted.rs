//! A connection from which no more than so many bytes are read, whatever they are: HTTP admits any number of interim answers before the
//! one that counts (RFC 9110 section 15.2), TLS any number of records.

use std::{
    error::Error,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Debug)]
pub(super) struct Counted<S> {
    stream: S,
    left: usize,
}

impl<S> Counted<S> {
    pub(super) const fn new(stream: S, most: usize) -> Self {
        Self { stream, left: most }
    }
}

/// Whether an error is that more came.
pub(super) fn is_excess(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| (*error).source()).any(|error| {
        error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::FileTooLarge)
    })
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        match self.left.checked_sub(buffer.filled().len() - before) {
            Some(left) => self.left = left,
            None => {
                buffer.set_filled(before);
                return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn no_more_is_read_than_so_much() {
        let mut bytes = Vec::new();
        assert_eq!(Counted::new(&[1; 10][..], 10).read_to_end(&mut bytes).await.unwrap(), 10);
        let error = Counted::new(&[1; 11][..], 10).read_to_end(&mut bytes).await.unwrap_err();
        assert!(is_excess(&error) && !is_excess(&io::Error::other("x")));
    }
}
