//! The broker's log: its stderr, line by line.

pub(crate) mod stderr;

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::log::stderr::log_line;

/// Splits the guest's output into lines and passes each to a sink. Clones share the current line.
#[derive(Clone)]
pub(crate) struct Log {
    sink: Arc<dyn Fn(&str) + Send + Sync>,
    has_events: bool,
    line: Arc<Mutex<Vec<u8>>>,
}

impl Log {
    pub(crate) fn new(sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { sink: Arc::new(sink), has_events: true, line: Arc::default() }
    }

    pub(crate) fn stderr() -> Self {
        Self::new(log_line)
    }

    /// Without the host's own lines, for `TOKEN_BROKER_LOG=off`. The guest reads that variable itself.
    pub(crate) fn without_events(self) -> Self {
        Self { has_events: false, ..self }
    }

    /// Log a line of the host's own, in the guest's format. Each is an error, which every level but `off` shows.
    pub(crate) fn event(&self, event: &str, message: &str) {
        if self.has_events {
            let line = serde_json::json!({ "level": "error", "event": event, "message": message });
            (self.sink)(&line.to_string());
        }
    }

    fn append(&self, bytes: &[u8]) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            // A guest cannot make the host hold an endless line.
            let room = MAX_LINE.saturating_sub(line.len());
            line.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                (self.sink)(String::from_utf8_lossy(&line).trim_end());
                line.clear();
            }
        }
    }
}

impl StdoutStream for Log {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl IsTerminal for Log {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl AsyncWrite for Log {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.append(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Pollable for Log {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Log {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.append(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_LINE)
    }
}

const MAX_LINE: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(writes: &[&[u8]]) -> Vec<String> {
        lines_from(|log| writes.iter().for_each(|bytes| log.append(bytes)))
    }

    fn lines_from(write: impl FnOnce(Log)) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        write(Log::new({
            let lines = Arc::clone(&lines);
            move |line| lines.lock().unwrap().push(line.to_owned())
        }));
        lines.lock().unwrap().clone()
    }

    #[test]
    fn the_host_says_nothing_where_the_log_is_off() {
        let said = lines_from(|log| log.event("e", "m\n"));
        assert_eq!(said, [r#"{"event":"e","level":"error","message":"m\n"}"#]);
        assert!(lines_from(|log| log.without_events().event("e", "m")).is_empty());
    }

    #[test]
    fn a_line_is_handed_on_when_it_ends_however_it_was_written() {
        assert_eq!(lines_of(&[b"a", b"b\nc", b"\n", b"rest"]), ["ab", "c"]);
    }

    #[test]
    fn an_endless_line_is_cut() {
        let filler = vec![b'x'; MAX_LINE];
        let lines = lines_of(&[&filler, &filler, b"\nnext\n"]);
        assert_eq!(lines[0].len(), MAX_LINE);
        assert_eq!(lines[1], "next");
    }
}
