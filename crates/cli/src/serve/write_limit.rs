//! A time limit for a client to read its answers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A connection whose writes fail when the client does not read all data within a limit.
///
/// The time starts when a write has to wait and ends when all data is written: reading a byte now and then does not
/// extend it.
pub(crate) struct WriteLimit<S> {
    stream: S,
    limit: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteLimit<S> {
    pub(crate) fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, waiting: None }
    }

    fn bounded<T>(&mut self, step: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if step.is_ready() {
            return step;
        }
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        waiting.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteLimit<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteLimit<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let step = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bounded(step, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let step = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.bounded(step, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when nothing is left to be written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let step = Pin::new(&mut self.stream).poll_flush(context);
        if step.is_ready() {
            self.waiting = None;
        }
        self.bounded(step, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let step = Pin::new(&mut self.stream).poll_shutdown(context);
        self.bounded(step, context)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::Full;
    use hyper::body::Bytes;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioIo, TokioTimer};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_pipelines_and_never_reads_is_left_after_the_limit() {
        let (mut client, server) = duplex(1024);
        let began = Instant::now();
        let service = service_fn(|_| async {
            Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from(vec![b'x'; 2048]))))
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(LIMIT)
            .serve_connection(TokioIo::new(WriteLimit::new(server, LIMIT)), service);
        let asked = async { while client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.is_ok() {} };
        assert!(tokio::join!(served, asked).0.is_err());
        assert_eq!(began.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_byte_now_and_then_gains_nothing() {
        let (mut client, server) = duplex(64);
        let mut server = WriteLimit::new(server, LIMIT);
        let began = Instant::now();
        let dripping = async {
            while client.read_u8().await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        };
        let write = async { server.write_all(&[b'x'; 1024]).await.map_err(|error| error.kind()) };
        tokio::select! {
            written = write => assert_eq!(written, Err(io::ErrorKind::TimedOut)),
            () = dripping => panic!("the connection ended first"),
        }
        assert_eq!(began.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_everything_in_time_has_the_whole_limit_for_each_answer() {
        let (mut client, server) = duplex(64);
        let mut server = WriteLimit::new(server, LIMIT);
        let reading = async {
            for _ in 0..4 {
                sleep(LIMIT / 2).await;
                client.read_exact(&mut [0; 128]).await.unwrap();
            }
        };
        let writing = async {
            for _ in 0..4 {
                server.write_all(&[b'x'; 128]).await.unwrap();
                server.flush().await.unwrap();
            }
        };
        tokio::join!(reading, writing);
    }
}
