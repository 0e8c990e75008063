//! A connection that does not wait for ever.
//!
//! hyper has one timer for both "no request yet" and "half a header": a keep-alive connection behind a proxy may idle
//! for a minute, but a header must not take that long (slowloris). And hyper has no timer at all for a client that
//! does not read its answer. Both are watched here, below hyper, where bytes are seen.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// What the service above hyper tells the stream below it.
#[derive(Debug, Default)]
pub struct Activity {
    heads: AtomicU64,
    in_flight: AtomicBool,
}

impl Activity {
    /// A whole header has arrived, and its request is being answered.
    pub fn head_arrived(&self) {
        self.in_flight.store(true, Ordering::Release);
        self.heads.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether any request has come.
    pub fn has_served(&self) -> bool {
        self.heads.load(Ordering::Acquire) > 0
    }

    /// The answer is ready to be written.
    pub fn answered(&self) {
        self.in_flight.store(false, Ordering::Release);
    }
}

/// A timer that is off until something arms it.
#[derive(Debug)]
struct Watch {
    span: Duration,
    sleep: Pin<Box<Sleep>>,
    armed: bool,
}

impl Watch {
    fn new(span: Duration) -> Self {
        Watch { span, sleep: Box::pin(tokio::time::sleep(span)), armed: false }
    }

    fn arm(&mut self) {
        if !self.armed {
            self.sleep.as_mut().reset(Instant::now() + self.span);
            self.armed = true;
        }
    }

    fn disarm(&mut self) {
        self.armed = false;
    }

    /// Whether time is up; otherwise the task is woken when it will be.
    fn is_up(&mut self, context: &mut Context<'_>) -> bool {
        self.armed && self.sleep.as_mut().poll(context).is_ready()
    }
}

/// `stream` with deadlines for a header (from its first byte, or from the start of the connection) and for progress
/// in writing. Past either, reading or writing fails with [`io::ErrorKind::TimedOut`], and hyper drops the connection.
#[derive(Debug)]
pub struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
    header: Watch,
    /// How many headers were complete when the header watch was armed.
    armed_at: u64,
    write: Watch,
}

impl<S> Watched<S> {
    pub fn new(stream: S, activity: Arc<Activity>, header_timeout: Duration, write_timeout: Duration) -> Self {
        let mut header = Watch::new(header_timeout);
        header.arm();
        Watched { stream, activity, header, armed_at: 0, write: Watch::new(write_timeout) }
    }

    fn watch_header(&mut self, context: &mut Context<'_>, bytes_arrived: bool) -> io::Result<()> {
        let heads = self.activity.heads.load(Ordering::Acquire);
        if self.header.armed && heads != self.armed_at {
            self.header.disarm();
        }
        if bytes_arrived && !self.header.armed && !self.activity.in_flight.load(Ordering::Acquire) {
            self.armed_at = heads;
            self.header.arm();
        }
        if self.header.is_up(context) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the request's header did not arrive in time"));
        }
        Ok(())
    }

    fn watch_write<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match written {
            Poll::Ready(result) => {
                self.write.disarm();
                Poll::Ready(result)
            }
            Poll::Pending => {
                self.write.arm();
                if self.write.is_up(context) {
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "the client does not read its answer",
                    )));
                }
                Poll::Pending
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buf);
        if let Poll::Ready(Err(_)) = read {
            return read;
        }
        let bytes_arrived = buf.filled().len() > before;
        if let Err(error) = self.watch_header(context, bytes_arrived) {
            return Poll::Ready(Err(error));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch_write(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch_write(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.watch_write(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch_write(context, closed)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const HEADER: Duration = Duration::from_secs(10);
    const WRITE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_header_that_trickles_is_cut_off_ten_seconds_after_its_first_byte() {
        let (mut client, server) = duplex(64);
        let activity = Arc::new(Activity::default());
        let mut server = Watched::new(server, Arc::clone(&activity), HEADER, WRITE);
        let started = Instant::now();
        let trickle = tokio::spawn(async move {
            while client.write_all(b"G").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        });
        let mut sink = Vec::new();
        let error = server.read_to_end(&mut sink).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed().as_secs(), 10);
        drop(server);
        trickle.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_not_the_header_watch_s_business() {
        let (mut client, server) = duplex(64);
        let activity = Arc::new(Activity::default());
        let mut server = Watched::new(server, Arc::clone(&activity), HEADER, WRITE);
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut head = [0; 18];
        server.read_exact(&mut head).await.unwrap();
        activity.head_arrived();
        activity.answered();
        let idle = tokio::time::timeout(Duration::from_secs(60), server.read_u8()).await;
        assert!(idle.is_err(), "the read is still waiting, as an idle connection may");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_cut_off() {
        let (_client, server) = duplex(16);
        let mut server = Watched::new(server, Arc::default(), HEADER, WRITE);
        let started = Instant::now();
        let error = server.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed().as_secs(), 30);
    }
}
