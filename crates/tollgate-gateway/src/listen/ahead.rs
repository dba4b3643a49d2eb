//! `ReadAhead`: fewer reads below TLS. rustls asks its socket for 4 KiB at a time, which is a system call for each quarter
//! of a record; what follows a read that was filled is fetched in one larger piece.
//!
//! It owns memory only between such a read and the last byte of it that was taken: an idle connection has none.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// How much is fetched at once: two records.
const ROOM: usize = 32 * 1024;

/// A stream that is read in larger pieces than it is asked for.
#[derive(Debug)]
pub struct ReadAhead<T> {
    io: T,
    fetched: BytesMut,
    /// The last read was filled: there is more.
    more: bool,
}

impl<T> ReadAhead<T> {
    /// Reads from `io`.
    pub fn new(io: T) -> Self {
        Self { io, fetched: BytesMut::new(), more: false }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ReadAhead<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.fetched.is_empty() {
            if !this.more {
                let wanted = buf.remaining();
                let before = buf.filled().len();
                ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
                this.more = wanted > 0 && buf.filled().len() - before == wanted;
                return Poll::Ready(Ok(()));
            }
            this.fetched.reserve(ROOM);
            let room = this.fetched.capacity();
            let Poll::Ready(fetched) = pin!(this.io.read_buf(&mut this.fetched)).poll(cx) else {
                (this.fetched, this.more) = (BytesMut::new(), false);
                return Poll::Pending;
            };
            this.more = fetched? == room;
        }
        let count = this.fetched.len().min(buf.remaining());
        buf.put_slice(this.fetched.get(..count).unwrap_or_default());
        this.fetched.advance(count);
        if this.fetched.is_empty() && !this.more {
            this.fetched = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ReadAhead<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Yields bytes of a sequence, counting how often it is asked; pending every third time.
    struct Source {
        left: usize,
        next: u8,
        asked: usize,
        pauses: bool,
    }

    impl AsyncRead for Source {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            self.asked += 1;
            if self.pauses && self.asked.is_multiple_of(3) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            for _ in 0..buf.remaining().min(self.left) {
                buf.put_slice(&[self.next]);
                self.next = self.next.wrapping_add(1);
                self.left -= 1;
            }
            Poll::Ready(Ok(()))
        }
    }

    async fn read(left: usize, pauses: bool, step: usize) -> (Vec<u8>, usize, usize) {
        let mut ahead = ReadAhead::new(Source { left, next: 0, asked: 0, pauses });
        let (mut all, mut piece) = (Vec::new(), vec![0; step]);
        loop {
            let count = ahead.read(&mut piece).await.expect("it never fails");
            if count == 0 {
                return (all, ahead.io.asked, ahead.fetched.capacity());
            }
            all.extend_from_slice(&piece[..count]);
        }
    }

    #[tokio::test]
    async fn every_byte_comes_once_and_in_order_and_nothing_is_kept() {
        for left in [0, 1, 100, 4095, 4096, 4097, 12_300, 36_864, 36_865, 300_000] {
            for pauses in [false, true] {
                let (all, _, kept) = read(left, pauses, 4096).await;
                let wanted: Vec<u8> = (0..=255).cycle().take(left).collect();
                assert!(all == wanted, "{left} bytes");
                assert_eq!(kept, 0, "{left} bytes");
            }
        }
    }

    #[tokio::test]
    async fn a_large_body_takes_few_reads() {
        let (_, asked, _) = read(1 << 20, false, 4096).await;
        assert!(asked <= 36, "{asked} reads");
    }

    #[tokio::test]
    async fn what_is_written_passes() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut ahead = ReadAhead::new(near);
        ahead.write_all(b"hello").await.expect("room");
        ahead.shutdown().await.expect("an end");
        let mut seen = Vec::new();
        far.read_to_end(&mut seen).await.expect("bytes");
        assert_eq!(seen, b"hello");
    }
}
